"""What a run of the Keras backend leaves as it was, what is random, and what is refused."""

import random
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

keras = pytest.importorskip("keras")

import keras_models as models  # noqa: E402
from keras import layers, ops  # noqa: E402
from keras_models import SIZE, pictures  # noqa: E402

from thingsvision.backends.keras import KerasBackend  # noqa: E402
from thingsvision.errors import InvalidArgument, ModuleError  # noqa: E402

BACKEND = KerasBackend("cpu")


def run(model, modules, batch=None, **options):
    batch = pictures() if batch is None else batch
    captures = BACKEND.modules(model, batch.shape[1:3]).resolve(modules)
    return BACKEND.run(model, batch, captures, {}, **options)


def through(*content):
    images = x = keras.Input((*SIZE, 3))
    for layer in content:
        x = layer(x)
    return keras.Model(images, x)


class Own(keras.Model):
    """A model whose course is a function, called with its layers and the images."""

    def __init__(self, course, *content):
        super().__init__()
        self.content = list(content)
        self.course = course

    def call(self, images):
        return self.course(self.content, images)


def own(course, *content):
    model = Own(course, *content)
    model(pictures(1))
    return model


class PythonNoise(layers.Layer):
    def call(self, x):
        return x + np.random.standard_normal() + random.random()  # noqa: NPY002


class KerasNoise(layers.Layer):
    """From the generator that Keras keeps for all."""

    def call(self, x):
        return x + keras.random.normal((4,))


class TensorFlowNoise(layers.Layer):
    def call(self, x):
        import tensorflow as tf

        return x + tf.random.normal((4,))


@pytest.mark.parametrize("noise", [models.Noise, PythonNoise, KerasNoise, TensorFlowNoise])
def test_random_networks_take_the_seed(noise):
    model = through(layers.Conv2D(4, 3, name="conv"), noise(name="noise"))
    first, again, other = (run(model, ["noise"], seed=seed)["noise"] for seed in (5, 5, 6))
    assert np.array_equal(first, again)
    assert not np.allclose(first, other)
    assert np.array_equal(first, run(model, ["noise"], seed=5, full=True)["noise"])


def test_two_generators_give_different_numbers():
    model = through(models.Noise(name="a"), models.Noise(name="b"))
    arrays = run(model, ["a", "b"])
    noise = arrays["a"] - pictures(), arrays["b"] - arrays["a"]
    assert not np.allclose(*noise, atol=1e-3)


def drawn():
    import tensorflow as tf

    return [
        random.random(),
        np.random.random(),  # noqa: NPY002
        float(keras.random.normal(())),
        float(tf.random.normal(())),
    ]


def test_random_numbers_go_on_as_if_nothing_had_run():
    conv = layers.Conv2D(4, 3)
    model = through(conv, PythonNoise(), KerasNoise(), TensorFlowNoise(), layers.ReLU(name="last"))
    captures = BACKEND.modules(model, SIZE).resolve(["last"])
    keras.utils.set_random_seed(3)
    drawn()
    expected = drawn()
    keras.utils.set_random_seed(3)
    drawn()
    BACKEND.run(model, pictures(), captures, {}, seed=3)
    BACKEND.modules(model, SIZE)
    assert drawn() == expected


def test_what_a_layer_counts_is_put_back():
    model = models.awkward()
    before = [np.array(ops.copy(variable)) for variable in model.variables]
    first = run(model, ["counter"], full=True)["counter"]
    assert np.array_equal(first, run(model, ["counter"])["counter"])
    for variable, value in zip(model.variables, before, strict=True):
        assert np.array_equal(np.array(ops.copy(variable)), value), variable.path


def test_losses_do_not_pile_up():
    model = through(layers.Conv2D(4, 3, name="conv", activity_regularizer="l2"))
    model(pictures())
    before = [float(loss) for loss in model.losses]
    run(model, ["conv"])
    assert [float(loss) for loss in model.losses] == before != []


def numpy_state():
    return np.random.get_state()[1].tolist()  # noqa: NPY002


def test_everything_is_back_after_an_error():
    import tensorflow as tf

    plain = layers.Layer.__call__
    is_broken = []

    def course(content, images):
        if is_broken:
            raise RuntimeError("the network's own")
        return content[0](images)

    model = own(course, layers.Conv2D(2, 3))
    expected = run(model, ["content.0"])["content.0"]
    captures = BACKEND.modules(model, SIZE).resolve(["output"])
    states = random.getstate(), numpy_state()
    is_broken.append(True)
    with pytest.raises(RuntimeError, match="the network's own"):
        BACKEND.run(model, pictures(), captures, {})
    with pytest.raises(ModuleError, match="it says: .*the network's own"):
        BACKEND.modules(model, SIZE)
    assert layers.Layer.__call__ is plain
    assert (random.getstate(), numpy_state()) == states
    options = tf.config.optimizer.get_experimental_options()
    assert not options.get("disable_meta_optimizer")
    is_broken.clear()
    assert np.array_equal(run(model, ["content.0"])["content.0"], expected)


def test_a_model_cannot_swallow_the_end_of_the_pass():
    reached = []

    def course(content, images):
        try:
            x = content[0](images)
        except Exception:
            x = images
        reached.append(x)
        return content[1](x)

    model = own(course, layers.Conv2D(2, 3), layers.ReLU())
    captures = BACKEND.modules(model, SIZE).resolve(["content.0"])
    reached.clear()
    BACKEND.run(model, pictures(), captures, {})
    assert not reached


def test_other_numbers_of_calls_than_surveyed_are_refused():
    def course(content, images):
        x = content[0](images)
        return content[0](x) if float(ops.max(images)) > 5 else x

    model = own(course, layers.ReLU())
    assert np.array_equal(run(model, ["content.0"], full=True)["content.0"], pictures())
    with pytest.raises(ModuleError, match=r"content\.0 \(2 calls, not 1\)"):
        run(model, ["content.0"], pictures() * 9, full=True)


def test_shapes_that_follow_the_content_are_refused():
    def course(content, images):
        return content[0](images[:, : 4 if float(ops.max(images)) > 5 else 2])

    model = own(course, layers.ReLU())
    with pytest.raises(ModuleError, match="not .* as surveyed"):
        run(model, ["content.0"], pictures() * 9)


class Each(layers.Layer):
    """Calls a layer for each row of a table, in a loop of the engine: tensors have no numbers."""

    def __init__(self, inner, **options):
        super().__init__(**options)
        self.inner = inner

    def build(self, shape):
        self.inner.build(shape)

    def call(self, x):
        rows = ops.vectorized_map(self.inner, ops.transpose(x, (1, 0, 2)))
        return ops.transpose(rows, (1, 0, 2))


def test_layers_inside_a_loop_of_the_engine_are_refused_by_name():
    each = Each(layers.Dense(2), name="each")
    model = through(layers.Reshape((SIZE[0], -1)), each)
    whole = run(model, ["each"])["each"]
    assert np.array_equal(whole, ops.convert_to_numpy(model(pictures())))
    with pytest.raises(ModuleError, match=r"each\.inner.*Ask for"):
        run(model, ["each.inner"], full=True)


def test_time_steps_of_a_recurrent_layer_are_refused_as_one():
    rnn = layers.RNN(layers.SimpleRNNCell(3), name="rnn")
    model = through(layers.Reshape((SIZE[0], -1)), rnn)
    assert run(model, ["rnn"], full=True)["rnn"].shape == (3, 3)
    with pytest.raises(ModuleError, match=r"rnn\.cell"):
        run(model, ["rnn.cell"], full=True)


def refusal(model, module="output", size=SIZE):
    with pytest.raises(ModuleError) as caught:
        BACKEND.modules(model, size).resolve([module])
    return str(caught.value)


def test_refusals():
    unbuilt = keras.Sequential([layers.Conv2D(2, 3)])
    assert "is not built" in refusal(unbuilt)
    assert "model.build((None, height, width, 3))" in refusal(unbuilt)
    half = own(lambda content, images: ops.relu(images), layers.Dense(2, name="late"))
    half.course = lambda content, images: content[0](images)
    assert "'content.0' is not built" in refusal(half)
    assert not half.content[0].built
    graph = through(layers.Conv2D(2, 3, name="conv"))
    captures = BACKEND.modules(graph, SIZE).resolve(["conv"])
    graph.get_layer("conv").built = False
    with pytest.raises(ModuleError, match="'conv' is not built"):
        BACKEND.run(graph, pictures(), captures, {})
    a, b = keras.Input((4, 4, 3), name="left"), keras.Input((4, 4, 3), name="right")
    assert "has 2 inputs (left, right)" in refusal(keras.Model([a, b], layers.Add()([a, b])))
    fixed = through(layers.Flatten(), layers.Dense(2))
    assert "gives 8 × 8 × 3" in refusal(fixed, size=(8, 8))
    assert "is a Dense; allowed is a keras.Model" in refusal(layers.Dense(2))
    model = models.functional()
    assert "Nearest: conv1 (14×18×4)" in refusal(model, "con1")
    assert "relu:0 … relu:1" in refusal(model, "relu:2")
    assert "never called" in refusal(models.subclassed(), "unused")


def test_devices():
    assert KerasBackend("auto").device in ("cpu", "gpu:0")
    with pytest.raises(InvalidArgument, match=r"device is 'gpu:7'; .* auto, .*cpu"):
        KerasBackend("gpu:7")
    bare, model = KerasBackend("meta"), models.functional()
    captures = bare.modules(model, SIZE).resolve(["fc"])
    with pytest.raises(InvalidArgument, match="cannot be run"):
        bare.run(model, pictures(), captures, {})


def test_the_digest_is_that_of_the_weights():
    model = models.functional()
    before = BACKEND.digest(model)
    weights = model.get_weights()
    copy = models.functional()
    copy.set_weights(weights)
    assert BACKEND.digest(copy) == before  # though Keras numbers its layers otherwise
    weights[0][0, 0, 0, 0] += 1e-7 + weights[0][0, 0, 0, 0]
    copy.set_weights(weights)
    assert BACKEND.digest(copy) != before
    assert BACKEND.digest(model) == before


def test_the_structure_tells_settings_and_connections():
    def make(units=3, twice=False, factor=2):
        keras.backend.clear_session()
        images = keras.Input((*SIZE, 3))
        relu, x = layers.ReLU(name="relu"), layers.Lambda(lambda t: t * factor, name="l")(images)
        x = relu(relu(x)) if twice else relu(x)
        return BACKEND.structure(keras.Model(images, layers.Dense(units, name="fc")(x)))

    assert make() == make()
    assert len({make(), make(4), make(twice=True), make(factor=3)}) == 4


def test_the_structure_is_the_same_in_another_process():
    script = (
        "import sys, keras; sys.path.append(sys.argv[1]); import keras_models as models\n"
        "from thingsvision.backends.keras import KerasBackend\n"
        "for build in (models.functional, models.subclassed):\n"
        "    print(KerasBackend().structure(build()))"
    )
    command = [sys.executable, "-W", "ignore", "-c", script, str(Path(__file__).parent)]
    other = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    keras.backend.clear_session()
    here = [BACKEND.structure(build()) for build in (models.functional, models.subclassed)]
    assert "\n".join([*here, ""]) == other
