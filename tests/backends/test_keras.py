"""What the Keras backend captures, compared with what Keras itself computes."""

import gc
import threading
import weakref

import numpy as np
import pytest

keras = pytest.importorskip("keras")

import keras_models as models  # noqa: E402
from keras import layers, ops  # noqa: E402
from keras_models import SIZE, pictures  # noqa: E402

from thingsvision.backends import keras_graph  # noqa: E402
from thingsvision.backends.keras import KerasBackend  # noqa: E402
from thingsvision.errors import ModuleError  # noqa: E402
from thingsvision.reduction import flatten  # noqa: E402

BACKEND = KerasBackend("cpu")


def run(model, modules, batch=None, reductions=None, **options):
    batch = pictures() if batch is None else batch
    captures = BACKEND.modules(model, batch.shape[1:3]).resolve(modules)
    return BACKEND.run(model, batch, captures, reductions or {}, **options)


def through(*content, size=SIZE):
    """A functional model of layers in a row."""
    images = x = keras.Input((*size, 3))
    for layer in content:
        x = layer(x)
    return keras.Model(images, x)


def by_keras(model, name, batch):
    """The output of a layer of the graph, by a model that Keras makes of it."""
    part = keras.Model(model.inputs, model.get_layer(name).output)
    return ops.convert_to_numpy(part([batch], training=False))


@pytest.mark.parametrize("build", [models.functional, models.sequential, models.transformer])
def test_every_layer_is_to_the_bit_what_keras_computes(build):
    model = build()
    batch = pictures(3, model.inputs[0].shape[1:3])
    names = [layer.name for layer in model.layers if layer.name != "relu"]
    names = [name for name in names if not isinstance(model.get_layer(name), layers.InputLayer)]
    arrays = run(model, names, batch)
    for name in names:
        assert np.array_equal(arrays[name], by_keras(model, name, batch)), name
        assert np.array_equal(arrays[name], run(model, [name], batch)[name]), name


def test_keras_applications_agree_with_predict():
    model = models.untidied(
        keras.applications.MobileNetV2(weights=None, input_shape=(32, 32, 3), alpha=0.35)
    )
    batch = pictures(2, (32, 32))
    arrays = run(model, ["block_2_add", "block_8_expand_BN", "output", "penultimate"], batch)
    for name in ("block_2_add", "block_8_expand_BN"):
        assert np.array_equal(arrays[name], by_keras(model, name, batch))
    np.testing.assert_allclose(arrays["output"], model.predict(batch, verbose=0), atol=1e-5)
    pooled = by_keras(model, "global_average_pooling2d", batch)
    assert np.array_equal(arrays["penultimate"], pooled)


def test_calls_of_a_shared_layer_are_counted_in_their_order():
    model, batch = models.functional(), pictures()
    arrays = run(model, ["relu:*", "relu", "norm", "conv2"], batch)
    assert np.array_equal(arrays["relu:0"], np.maximum(arrays["norm"], 0))
    assert np.array_equal(arrays["relu:1"], np.maximum(arrays["conv2"], 0))
    assert np.array_equal(arrays["relu"], arrays["relu:1"])


def test_nested_models_by_path():
    model, batch = models.nested(), pictures()
    survey = BACKEND.modules(model, SIZE)
    assert [module.name for module in survey.modules] == [
        "stem", "stem.conv", "stem.relu", "block", "block.relu", "block.conv", "pool", "fc",
    ]  # fmt: skip
    arrays = run(model, ["stem.conv", "stem", "block:*", "block.conv:*"], batch)
    stem, block = model.get_layer("stem"), model.get_layer("block")
    conv = ops.convert_to_numpy(stem.get_layer("conv")(batch))
    assert np.array_equal(arrays["stem.conv"], conv)
    once = ops.convert_to_numpy(block(np.maximum(conv, 0)))
    assert np.array_equal(arrays["block:0"], once)
    assert np.array_equal(arrays["block.conv:0"], once)
    assert np.array_equal(arrays["block:1"], ops.convert_to_numpy(block(once)))


def test_subclassed_models_by_attribute():
    model, batch = models.subclassed(), pictures()
    arrays = run(model, ["conv", "blocks.*", "heads.small", "hidden", "relu:0", "output"], batch)
    conv = ops.convert_to_numpy(model.conv(batch))
    assert np.array_equal(arrays["conv"], conv)
    assert np.array_equal(arrays["relu:0"], np.maximum(conv, 0))
    assert np.array_equal(
        arrays["blocks.0"], ops.convert_to_numpy(model.blocks[0](np.maximum(conv, 0)))
    )
    assert np.array_equal(arrays["output"], ops.convert_to_numpy(model(batch)))
    assert np.array_equal(arrays["heads.small"], arrays["output"])
    by_name = run(model, [model.conv.name], batch)
    assert np.array_equal(by_name[model.conv.name], conv)


def test_a_layer_that_occurs_twice_has_two_addresses():
    shared = layers.ReLU()

    class Twice(keras.Model):
        def __init__(self):
            super().__init__()
            self.first = self.second = shared
            self.parts = [shared, layers.Conv2D(2, 3)]

        def call(self, x):
            return self.second(self.parts[1](self.first(x)))

    model = Twice()
    model(pictures(1))
    survey = BACKEND.modules(model, SIZE)
    assert [(m.name, m.calls) for m in survey.modules] == [("first", 2), ("parts.1", 1)]


@pytest.mark.parametrize("build", [models.functional, models.subclassed])
def test_the_pass_stops_after_the_deepest_wanted_call(build, monkeypatch):
    model, batch = build(), pictures(2)
    captures = BACKEND.modules(model, SIZE).resolve(["relu:0"])
    entered = []
    dense = layers.Dense.call
    monkeypatch.setattr(
        layers.Dense, "call", lambda self, *args, **kw: entered.append(1) or dense(self, *args)
    )
    BACKEND.run(model, batch, captures, {})
    assert not entered
    BACKEND.run(model, batch, captures, {}, full=True)
    assert entered


class Noted(layers.Layer):
    """Notes when its Python code runs, which in a graph is when the graph is made."""

    factor = 1.0

    def call(self, x):
        MADE.append(x.shape)
        return x * self.factor


MADE = []


def test_a_graph_is_made_once_whatever_the_number_of_images():
    model = through(Noted(name="noted"), layers.Conv2D(2, 3), layers.ReLU(name="relu"))
    captures = BACKEND.modules(model, SIZE).resolve(["relu"])
    MADE.clear()
    for count in (4, 4, 3, 1):
        BACKEND.run(model, pictures(count), captures, {})
    assert len(MADE) == 1


def test_a_graph_sees_new_weights_and_new_settings():
    model = through(Noted(name="noted"), layers.Conv2D(2, 3, name="conv"))
    batch = pictures()
    captures = BACKEND.modules(model, SIZE).resolve(["conv"])

    def agrees():
        found = BACKEND.run(model, batch, captures, {})["conv"]
        return np.array_equal(found, ops.convert_to_numpy(model(batch)))

    assert agrees()
    kernel = model.get_layer("conv").kernel
    kernel.assign(ops.convert_to_numpy(kernel.value * 2) + 1)
    assert agrees()
    model.get_layer("noted").factor = 3.0
    assert agrees()
    for activation in (lambda x: x * 0, lambda x: x * 5):
        model.get_layer("conv").activation = activation
        assert agrees()
        model.get_layer("conv").activation = None  # the function's place in memory is free again
        del activation


def test_graphs_go_with_their_model():
    model = through(layers.Conv2D(2, 3, name="conv"), layers.Lambda(lambda x: x * 2))
    run(model, ["conv"])
    assert model in keras_graph._GRAPHS
    gone = weakref.ref(model)
    del model
    gc.collect()
    assert gone() is None


@pytest.mark.parametrize(
    ("ending", "expected"),
    [
        ([layers.Dense(3, activation="softmax", name="fc")], "fc"),
        ([layers.Dense(7), layers.Dense(3, name="fc"), layers.Activation("softmax")], "fc"),
        ([layers.Dense(3, name="fc"), layers.Dropout(0.5), layers.Softmax()], "fc"),
        ([keras.Sequential([layers.Dense(3, name="fc")], name="head")], "head.fc"),
        ([layers.Dense(3, name="fc"), layers.Rescaling(2.0)], None),
        ([layers.Dense(3, name="fc"), layers.Softmax(), layers.BatchNormalization()], None),
        ([], None),
    ],
)
def test_penultimate(ending, expected):
    model = through(layers.Conv2D(4, 5), layers.GlobalAveragePooling2D(name="pool"), *ending)
    survey = BACKEND.modules(model, SIZE)
    assert survey.classifier == expected
    if expected is None:
        with pytest.raises(ModuleError, match="no 'penultimate' module"):
            survey.resolve(["penultimate"])
    elif len(model.layers) == 4 or "head" in expected:
        arrays = run(model, ["penultimate", "pool"])
        assert np.array_equal(arrays["penultimate"], arrays["pool"])


def test_several_outputs_by_their_paths():
    model = models.awkward()
    arrays = run(model, ["conv", "parts[mean]", "parts[both][0]", "parts[both][1]"])
    np.testing.assert_allclose(arrays["parts[mean]"], arrays["conv"].mean((1, 2)), rtol=1e-5)
    assert np.array_equal(arrays["parts[both][0]"], arrays["conv"].max((1, 2)))
    assert np.array_equal(arrays["parts[both][1]"], arrays["conv"])
    with pytest.raises(ModuleError, match=r"returns several arrays; choose one: parts\[mean\]"):
        run(model, ["parts"])
    with pytest.raises(ModuleError, match="does not return one row per stimulus"):
        run(model, ["parts[table]"])


def axes(model, size=SIZE):
    found = {}
    for capture in BACKEND.modules(model, size).resolve(["*"]):
        found[capture.address] = capture.axes[1:]
    return found


def test_axes_are_named():
    found = axes(models.functional())  # of a fixed size, measured all the same
    maps = ("height", "width", "channel")
    assert found["relu"] == found["twofold"] == found["conv2"] == maps
    assert found["pool"] == found["fc"] == ("feature",)
    found = axes(models.transformer(), (16, 16))
    assert found["patches"] == maps
    assert found["tokens"] == found["norm"] == found["attention"] == ("token", "channel")
    free = keras.Sequential([keras.Input((None, None, 3)), layers.Permute((3, 1, 2), name="p")])
    assert axes(free)["p"] == ("channel", "height", "width")


def test_channels_first():
    last = through(layers.Conv2D(4, 3, name="conv"), layers.ReLU(name="relu"))
    images = keras.Input((3, *SIZE))
    conv = layers.Conv2D(4, 3, name="conv", data_format="channels_first")
    first = keras.Model(images, layers.ReLU(name="relu")(conv(images)))
    first.set_weights(last.get_weights())
    a, b = run(last, ["relu"])["relu"], run(first, ["relu"])["relu"]
    np.testing.assert_allclose(a, b.transpose(0, 2, 3, 1), rtol=1e-5, atol=1e-6)
    assert axes(first)["relu"] == ("channel", "height", "width")


def test_names_with_dots():
    model = through(layers.Conv2D(2, 3, name="conv.1"), layers.ReLU(name="a:b"))
    arrays = run(model, ["conv.1", "a:b"])
    assert np.array_equal(np.maximum(arrays["conv.1"], 0), arrays["a:b"])
    inner = keras.Sequential([layers.ReLU(name="b")], name="a")
    with pytest.raises(ModuleError, match="Two layers of the model have the address 'a.b'"):
        run(through(inner, layers.ReLU(name="a.b")), ["a.b"])


def test_a_compiled_model_and_a_trained_one_are_the_same():
    model = models.functional()
    before = run(model, ["norm", "fc"])
    model.compile("sgd", "mse")
    model.predict(pictures(), verbose=0)
    for address, array in run(model, ["norm", "fc"]).items():
        assert np.array_equal(before[address], array)


def test_reductions_get_private_copies():
    model, batch = models.functional(), pictures()
    whole = run(model, ["conv1"], batch)["conv1"]
    flat = run(model, ["conv1"], batch, reductions={"conv1": flatten})["conv1"]
    assert np.array_equal(whole.reshape(len(batch), -1), flat)
    whole[:] = 0  # may be written to
    assert flat.any()


def test_calls_from_other_threads_are_not_taken():
    results = []

    class Meanwhile(models.Subclassed):
        def call(self, images):
            other = np.zeros((5, *SIZE, 3), np.float32)
            worker = threading.Thread(target=lambda: results.append(self.conv(other)))
            worker.start()
            worker.join()
            return super().call(images)

    model, batch = Meanwhile(), pictures()
    model(batch)
    found = run(model, ["conv"], batch, full=True)["conv"]
    assert np.array_equal(found, ops.convert_to_numpy(model.conv(batch)))
    assert results[-1].shape[0] == 5
