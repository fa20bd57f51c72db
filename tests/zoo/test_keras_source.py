"""The Keras source, against Keras itself: preprocessing, sizes, weights, activations."""

import inspect
import random
import subprocess
import sys
import threading
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from zipfile import ZipFile

import numpy as np
import pytest

pytest.importorskip("keras")

from PIL import Image

import thingsvision as tv
from thingsvision.backends.keras_engine import keras
from thingsvision.errors import InvalidArgument, UnknownName, WeightsError
from thingsvision.preprocessing import preprocess
from thingsvision.testing import check_source
from thingsvision.zoo import Choice, describe_model, list_models, load_model
from thingsvision.zoo.keras import SOURCE
from thingsvision.zoo.source import INITIALISATIONS

APPLICATIONS = keras.applications
NAMES = [name for name in dir(APPLICATIONS) if name[0].isupper()]
FILES = sys.modules[keras.utils.get_file.__module__]

SLOW = pytest.mark.slow

load = partial(load_model, device="cpu")
make = partial(load, pretrained=False)


def module_of(name):
    """Find the public module of an application, e.g. keras.applications.vgg16."""
    own = getattr(APPLICATIONS, name).__module__.rpartition(".")[2]
    return getattr(APPLICATIONS, own)


def weights_of(model):
    return [keras.ops.convert_to_numpy(variable) for variable in model.weights]


def equal(one, other):
    pairs = zip(weights_of(one), weights_of(other), strict=True)
    return all(np.array_equal(mine, theirs) for mine, theirs in pairs)


@pytest.fixture
def cache(tmp_path, monkeypatch):
    """Let Keras keep its downloads in a folder of the test."""
    folder = tmp_path / "cache"
    (folder / "models").mkdir(parents=True)
    monkeypatch.setattr(FILES.config, "keras_home", lambda: str(folder))
    return folder / "models"


def test_keras_is_asked_what_it_has():
    assert sorted(SOURCE.names()) == sorted(NAMES)
    assert len(NAMES) >= 40
    assert list_models(source="keras") == [f"keras/{name}" for name in SOURCE.names()]


def test_an_application_that_is_new_is_there(monkeypatch):
    def of_today(**options):
        return APPLICATIONS.MobileNet(**options)

    of_today.__module__ = APPLICATIONS.MobileNet.__module__
    of_today.__signature__ = inspect.signature(APPLICATIONS.MobileNet)
    monkeypatch.setattr(APPLICATIONS, "NetOfToday", of_today, raising=False)
    assert "keras/NetOfToday" in list_models(source="keras")
    assert describe_model("keras/NetOfToday").preprocessing.crop == 224


def test_all_cards_need_no_download(monkeypatch):
    from thingsvision.zoo import keras as source

    monkeypatch.setattr(FILES, "urlretrieve", lambda *_: pytest.fail("it downloads"))
    source._size.cache_clear()
    source._kind.cache_clear()
    cards = [SOURCE.card(name) for name in SOURCE.names()]
    for name, card in zip(SOURCE.names(), cards, strict=True):
        assert card.name == f"keras/{name}"
        assert card.weights == "imagenet" and card.all_weights == ("imagenet",)
        assert not card.refusal
        assert "arxiv.org" in card.citation and "\n" not in card.citation
        assert card.task and card.licence and card.training_data and card.url


@pytest.mark.parametrize("name", NAMES)
def test_preprocessing_equals_preprocess_input_bit_for_bit(name):
    record = describe_model(f"keras/{name}").preprocessing
    random_levels = np.random.default_rng(0).permuted(np.tile(np.arange(256), (6, 1)), axis=1)
    pixels = random_levels.astype(np.uint8).reshape(2, 3, 256).transpose(0, 2, 1).copy()
    found = preprocess(record.override(resize=None, crop=None), Image.fromarray(pixels))
    function = module_of(name).preprocess_input
    wanted = function(pixels.astype(np.float32))
    assert found.dtype == wanted.dtype == np.float32
    assert np.array_equal(found, wanted)
    as_tensor = function(keras.ops.convert_to_tensor(pixels.astype(np.float32)))
    assert np.array_equal(found, keras.ops.convert_to_numpy(as_tensor))


def test_preprocessing_that_is_not_understood_is_a_refusal(monkeypatch):
    monkeypatch.setattr(
        sys.modules[APPLICATIONS.VGG16.__module__], "preprocess_input", lambda x, data_format: x / 2
    )
    assert "preprocess_input is not understood" in describe_model("keras/VGG16").refusal
    with pytest.raises(InvalidArgument, match="wrap_model"):
        make("keras/VGG16")
    assert not describe_model("keras/VGG19").refusal


def test_resize_and_crop_are_stated_and_can_be_changed():
    network = make("keras/MobileNetV3Small")
    assert network.preprocessing.resize == network.preprocessing.crop == 224
    assert "chosen here" in network.preprocessing.origin
    squashed = network.preprocessed(resize=(64, 64), crop=None)
    assert "overridden: resize=(64, 64)" in squashed.preprocessing.origin
    images = np.zeros((1, 50, 90, 3), np.uint8)
    assert tv.extract_features(squashed, images, "conv")["conv"].shape == (1, 32, 32, 16)


def test_the_source_keeps_its_promises():
    check_source(SOURCE, "MobileNet")


@pytest.mark.parametrize(
    "order",
    [("keras", "torchvision"), pytest.param(("tensorflow", "keras", "torchvision"), marks=SLOW)],
)
def test_keras_and_torchvision_live_in_one_process(order):
    """Triton, which torchvision imports, ends a process that has TensorFlow already."""
    imports = {
        "keras": "import thingsvision.zoo.keras",
        "torchvision": "import thingsvision.zoo.torchvision",
        "tensorflow": "import tensorflow",
    }
    code = "; ".join(imports[name] for name in order)
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-500:]
    if order[0] == "keras":
        assert done.stdout == done.stderr == ""


def test_classes_are_those_that_keras_has_downloaded(cache):
    assert describe_model("keras/VGG16").classes == ()
    (cache / "imagenet_class_index.json").write_text('{"0": ["n1", "tench"], "1": ["n2", "cat"]}')
    assert describe_model("keras/VGG16").classes == ("tench", "cat")


def test_unknown_names_are_refused_with_the_nearest():
    with pytest.raises(UnknownName, match="keras/ResNet50"):
        load("keras/ResNet500")
    with pytest.raises(UnknownName, match="imagenet"):
        load("keras/MobileNet.imagenet21k")


def test_building_leaves_the_process_as_it_was():
    import tensorflow as tf

    first = make("keras/EfficientNetB0", seed=3)
    own = keras.layers.Rescaling(2.0).name
    state, numpy_state = random.getstate(), np.random.get_state()[1].tobytes()  # noqa: NPY002
    keras_seed = keras.random.SeedGenerator(5).state.numpy().tobytes()
    tf.random.set_seed(1)
    drawn = tf.random.uniform(()).numpy()
    tf.random.set_seed(1)
    second = make("keras/EfficientNetB0", seed=3)
    assert tf.random.uniform(()).numpy() == drawn
    assert random.getstate() == state
    assert np.random.get_state()[1].tobytes() == numpy_state  # noqa: NPY002
    assert keras.random.SeedGenerator(5).state.numpy().tobytes() == keras_seed
    assert [layer.name for layer in first.model.layers] == [
        each.name for each in second.model.layers
    ]
    number = int(own.rpartition("_")[2]) if own[-1].isdigit() else 0
    assert keras.layers.Rescaling(2.0).name == f"rescaling_{number + 1}"
    assert equal(first.model, second.model) and first.digest == second.digest
    assert first.structure == second.structure


def test_random_weights_are_those_that_keras_draws():
    random.seed(7)
    wanted = APPLICATIONS.MobileNet(weights=None)
    random.seed()
    assert equal(make("keras/MobileNet", seed=7).model, wanted)


# For a shape (height, width, in, out): the mean of squares, and the largest absolute value.
FORMULAS = {
    "kaiming_normal": (lambda i, o: 2 / i, None),
    "kaiming_uniform": (lambda i, o: 2 / i, lambda i, o: (6 / i) ** 0.5),
    "xavier_normal": (lambda i, o: 2 / (i + o), None),
    "xavier_uniform": (lambda i, o: 2 / (i + o), lambda i, o: (6 / (i + o)) ** 0.5),
}


@pytest.mark.parametrize("init", INITIALISATIONS)
def test_initialisations_follow_the_formulas_of_torch(init):
    network = make("keras/MobileNet", init=init, seed=2)
    assert network.weights["init"] == init
    assert network.digest == make("keras/MobileNet", init=init, seed=2).digest
    # A pointwise convolution, and a depthwise one, whose filters see one channel of 3 × 3.
    for name, fan_in, fan_out in (("conv_pw_11", 512, 512), ("conv_dw_11", 9, 512 * 9)):
        kernel = keras.ops.convert_to_numpy(network.model.get_layer(name).kernel)
        if init == "orthogonal":
            square = kernel.reshape(-1, 512) if name == "conv_pw_11" else kernel.reshape(9, 512)
            gram = square @ square.T
            assert np.allclose(gram, np.eye(len(gram)), atol=1e-5)
            continue
        variance, bound = FORMULAS[init]
        assert np.isclose(np.mean(kernel**2), variance(fan_in, fan_out), rtol=0.06)
        if bound:
            assert np.abs(kernel).max() <= bound(fan_in, fan_out) * (1 + 1e-6)
        else:  # Keras' own classes would truncate at two standard deviations
            assert np.abs(kernel).max() > 2.8 * np.sqrt(variance(fan_in, fan_out))
    norm = network.model.get_layer("conv_dw_11_bn")
    assert np.all(keras.ops.convert_to_numpy(norm.gamma) == 1) and np.all(
        keras.ops.convert_to_numpy(norm.moving_variance) == 1
    )
    assert np.all(keras.ops.convert_to_numpy(network.model.get_layer("conv_preds").bias) == 0)


@pytest.fixture(scope="module")
def mobilenet():
    model = APPLICATIONS.MobileNetV3Small(weights=None)
    for variable in model.weights:  # ones and zeros would hide what was not loaded
        values = np.random.default_rng(len(variable.path)).random(variable.shape, np.float32)
        variable.assign(values.astype(variable.dtype))
    return model


@pytest.mark.parametrize("file", ["mine.weights.h5", "mine.h5", "mine.keras", "weights only.h5"])
def test_files_of_every_kind_are_loaded(mobilenet, tmp_path, file):
    path = tmp_path / file
    if file.endswith(".weights.h5"):
        mobilenet.save_weights(path)
    else:
        mobilenet.save(tmp_path / file)
    if file.startswith("weights only"):  # as Keras 2 wrote them
        import h5py

        with h5py.File(path) as whole, h5py.File(tmp_path / "old.h5", "w") as old:
            for name in whole["model_weights"]:
                whole.copy(f"model_weights/{name}", old)
            old.attrs.update(whole["model_weights"].attrs)
        path = tmp_path / "old.h5"
    network = load("keras/MobileNetV3Small", weights=path)
    assert equal(network.model, mobilenet)
    assert network.weights["kind"] == "file" and network.weights["file"] == str(path)
    assert network.weights["preprocessing"] == "assumed: that of imagenet"
    assert network.name == "keras/MobileNetV3Small"


@pytest.mark.parametrize("file", ["ten.h5", pytest.param("ten.weights.h5", marks=SLOW)])
def test_a_file_with_another_number_of_classes_is_built_to_fit(tmp_path, file):
    model = APPLICATIONS.MobileNetV3Small(weights=None, classes=10)
    (model.save_weights if "weights" in file else model.save)(tmp_path / file)
    network = load("keras/MobileNetV3Small", weights=tmp_path / file)
    assert network.model.output_shape == (None, 10) and equal(network.model, model)


@pytest.mark.parametrize("file", ["other.weights.h5", "other.h5"])
def test_what_does_not_fit_is_listed(tmp_path, file):
    other = APPLICATIONS.MobileNetV3Small(weights=None, alpha=0.75)
    (other.save_weights if "weights" in file else other.save)(tmp_path / file)
    with pytest.raises(WeightsError, match=r"do not fit") as caught:
        load("keras/MobileNetV3Small", weights=tmp_path / file)
    assert "of another shape: " in str(caught.value) and "more" in str(caught.value)
    assert "in place of" in str(caught.value)


@pytest.mark.parametrize("file", ["other.weights.h5", "other.h5"])
def test_missing_and_unexpected_weights_are_listed(tmp_path, file):
    inputs = keras.Input((None, None, 3))
    outputs = keras.layers.Conv2D(4, 3, name="mine")(inputs)
    other = keras.Model(inputs, keras.layers.Conv2D(4, 3, name="again")(outputs))
    (other.save_weights if "weights" in file else other.save)(tmp_path / file)
    with pytest.raises(WeightsError, match="missing: ") as caught:
        load("keras/MobileNetV3Small", weights=tmp_path / file)
    assert "more" in str(caught.value) and "wrap_model" in str(caught.value)
    if file == "other.h5":
        assert "4 unexpected: mine/" in str(caught.value)


def test_broken_files_are_refused_by_name(mobilenet, tmp_path):
    path = tmp_path / "cut.weights.h5"
    mobilenet.save_weights(path)
    path.write_bytes(path.read_bytes()[:1000])
    (tmp_path / "text.h5").write_text("hello")
    with ZipFile(tmp_path / "photos.keras", "w") as archive:
        archive.writestr("photo.txt", "hello")
    for file in (path, tmp_path / "text.h5", tmp_path / "photos.keras"):
        with pytest.raises(WeightsError, match=f"{file.name}.*broken or none of Keras"):
            load("keras/MobileNetV3Small", weights=file)
    with pytest.raises(WeightsError, match=r"There is no weights file .*absent\.weights\.h5"):
        load("keras/MobileNetV3Small", weights=str(tmp_path / "absent.weights.h5"))
    with pytest.raises(WeightsError, match="no weights file 'absent.keras'"):
        load("keras/MobileNetV3Small", weights="absent.keras")


def test_of_an_archive_only_the_weights_are_read(mobilenet, tmp_path):
    mobilenet.save(tmp_path / "good.keras")
    with ZipFile(tmp_path / "good.keras") as good, ZipFile(tmp_path / "bad.keras", "w") as bad:
        bad.writestr("config.json", '{"class_name": "__lambda__", "config": "what could run"}')
        bad.writestr("model.weights.h5", good.read("model.weights.h5"))
    assert equal(load("keras/MobileNetV3Small", weights=tmp_path / "bad.keras").model, mobilenet)


def trained_efficientnet(folder, monkeypatch):
    """Build what Keras builds for its trained weights, here with random ones in their place."""
    start = folder / "start.weights.h5"
    APPLICATIONS.EfficientNetB0(weights=None).save_weights(start)
    with monkeypatch.context() as patch:
        patch.setattr(FILES, "get_file", lambda *_, **__: str(start))
        return APPLICATIONS.EfficientNetB0(weights="imagenet")


@pytest.mark.parametrize("ending", ["h5", pytest.param("weights.h5", marks=SLOW)])
def test_efficientnet_is_built_as_its_file_was(tmp_path, monkeypatch, ending):
    trained = trained_efficientnet(tmp_path, monkeypatch)
    plain = APPLICATIONS.EfficientNetB0(weights=None)
    picture = np.random.default_rng(0).random((1, 224, 224, 3), np.float32) * 255

    def output(model):
        return keras.ops.convert_to_numpy(model(picture, training=False))

    outputs = []
    for what, model in (("trained", trained), ("random", plain)):
        path = tmp_path / f"{what}.{ending}"
        (model.save_weights if "weights" in ending else model.save)(path)
        network = load("keras/EfficientNetB0", weights=path)
        assert network.weights["architecture"] == f"as for {what} weights"
        found = output(network.model)
        assert np.array_equal(found, output(model))
        outputs.append(len(network.model.layers))
    assert outputs[0] == outputs[1] + 1


class Server:
    """Serve a folder on loopback."""

    def __init__(self, folder):
        handler = type("H", (SimpleHTTPRequestHandler,), {"log_message": lambda *_: None})
        self.server = ThreadingHTTPServer(("127.0.0.1", 0), partial(handler, directory=folder))
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        self.url = f"http://127.0.0.1:{self.server.server_port}/"

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.server.shutdown()
        self.server.server_close()


FILE = "weights_mobilenet_v3_small_224_1.0_float.h5"


@pytest.fixture
def published(tmp_path, monkeypatch, mobilenet):
    """Publish made-up weights of MobileNetV3Small on loopback, with their digest."""
    import hashlib

    folder = tmp_path / "server"
    folder.mkdir()
    mobilenet.save(folder / FILE)
    module = sys.modules[APPLICATIONS.MobileNetV3Small.__module__]
    digest = hashlib.md5((folder / FILE).read_bytes()).hexdigest()
    old = module.WEIGHTS_HASHES["small_224_1.0_float"]
    monkeypatch.setitem(module.WEIGHTS_HASHES, "small_224_1.0_float", (digest, *old[1:]))
    with Server(folder) as server:
        monkeypatch.setattr(module, "BASE_WEIGHT_PATH", server.url)
        yield folder / FILE, server.url


def test_trained_weights_are_downloaded_and_kept(published, cache, mobilenet, capfd):
    network = load("keras/MobileNetV3Small")
    assert equal(network.model, mobilenet)
    assert network.name == "keras/MobileNetV3Small.imagenet"
    assert network.weights == {
        "kind": "pretrained", "weights": "imagenet", "url": published[1] + FILE
    }  # fmt: skip
    assert (cache / FILE).is_file()
    assert capfd.readouterr().out == ""
    published[0].unlink()
    assert load("keras/MobileNetV3Small").digest == network.digest


def test_what_is_not_the_published_file_is_refused(published, cache):
    published[0].write_bytes(b"something else")
    with pytest.raises(WeightsError, match="not what was expected"):
        load("keras/MobileNetV3Small")
    assert not (cache / FILE).exists()


def test_without_a_connection_the_error_says_where_the_file_goes(cache, monkeypatch):
    from urllib.error import URLError

    def offline(origin, target, *_):
        asked.append((origin, target))
        raise URLError("no route")

    asked = []
    monkeypatch.setattr(FILES, "urlretrieve", offline)
    with pytest.raises(WeightsError) as caught:
        load("keras/MobileNet")
    [(origin, target)] = asked
    assert origin in str(caught.value) and repr(target) in str(caught.value)
    assert "(no route)" in str(caught.value) and "pretrained=False" in str(caught.value)


def test_a_broken_file_in_the_cache_is_named(cache):
    (cache / "mobilenet_1_0_224_tf.h5").write_bytes(b"half of it")
    with pytest.raises(WeightsError, match=r"mobilenet_1_0_224_tf\.h5.*Delete the file"):
        load("keras/MobileNet")


def test_features_equal_keras_alone():
    network = make("keras/MobileNetV2", seed=1)
    pictures = np.random.default_rng(0).integers(0, 256, (2, 224, 224, 3), np.uint8)
    modules = ["block_1_expand", "block_12_add", "predictions"]
    features = tv.extract_features(network, pictures, modules)
    outputs = [network.model.get_layer(name).output for name in modules]
    inputs = APPLICATIONS.mobilenet_v2.preprocess_input(pictures.astype(np.float32))
    wanted = keras.Model(network.model.inputs[0], outputs)(inputs, training=False)
    for name, array in zip(modules, wanted, strict=True):
        assert np.array_equal(np.asarray(features[name]), keras.ops.convert_to_numpy(array))


QUICK = ("MobileNet", "MobileNetV3Small", "EfficientNetB0")


@pytest.mark.parametrize("name", [n if n in QUICK else pytest.param(n, marks=SLOW) for n in NAMES])
def test_three_modules_of_every_application_equal_the_full_forward(name):
    network = SOURCE.load(name, Choice(pretrained=False, device="cpu"))
    model, size = network.model, network.preprocessing.crop
    own = model.input_shape[1:3]
    assert own in ((size, size), (None, None))
    if own == (None, None):
        size = 96
    batch = np.random.default_rng(0).random((2, size, size, 3), np.float32)
    layers = [layer.name for layer in model.layers if "Input" not in type(layer).__name__]
    names = [layers[1], layers[len(layers) // 2], layers[-1]]
    captures = network.modules((size, size)).resolve(names)
    found = network.backend.run(model, batch, captures, {})
    outputs = [model.get_layer(layer).output for layer in names]
    wanted = keras.Model(model.inputs[0], outputs)(batch, training=False)
    for layer, array in zip(names, wanted, strict=True):
        array = keras.ops.convert_to_numpy(array)
        assert np.abs(found[layer] - array).max() <= 1e-5 * np.abs(array).max()
    keras.backend.clear_session()
