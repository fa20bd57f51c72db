"""Networks of the user's own: wrapped objects, and functions in files."""

import random
import sys
from hashlib import sha256
from types import ModuleType

import numpy as np
import pytest
import torch
from torch import nn

import thingsvision as tv
from thingsvision.errors import InvalidArgument, ThingsvisionError, UnknownName, WeightsError
from thingsvision.preprocessing import Preprocessing
from thingsvision.zoo import describe_model, load_model, wrap_model


class Mine(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3)

    def forward(self, x):
        return self.conv(x)


def test_a_network_of_the_user():
    model = Mine()
    network = wrap_model(model, Preprocessing(resize=16))
    assert network.name == "local/Mine" and network.model is model
    assert network.weights == {"kind": "the user's model"}
    assert network.backend.device == "cpu"  # where it is
    captures = network.modules().resolve(["conv"])
    batch = np.zeros((2, 16, 16, 3), np.float32)
    array = network.backend.run(model, batch, captures, {})["conv"]
    assert array.shape == (2, 4, 14, 14)
    assert np.allclose(array, model.conv.bias.detach().numpy()[None, :, None, None])
    assert wrap_model(model, Preprocessing(), name="V1 model").name == "local/V1 model"


def test_wrapping_leaves_training_and_device_alone():
    model = Mine().train()
    for device in (None, "cpu"):
        wrap_model(model, Preprocessing(), device=device)
        assert model.training and model.conv.weight.device.type == "cpu"
    with torch.device("meta"):
        outline = Mine()
    assert wrap_model(outline, Preprocessing()).modules().method == "meta device"
    with pytest.raises(InvalidArgument, match="'tpu'"):
        wrap_model(model, Preprocessing(), device="tpu")
    with pytest.raises(InvalidArgument, match="meta"):
        wrap_model(model, Preprocessing(), device="meta")
    assert not model.conv.weight.is_meta


@pytest.mark.parametrize("thing", [None, "alexnet", nn, nn.Linear, lambda x: x])
def test_what_is_no_network_is_refused(thing):
    with pytest.raises(InvalidArgument, match=r"allowed is a keras\.Model or a torch\.nn\.Module"):
        wrap_model(thing, Preprocessing())


def test_a_preprocessing_is_needed():
    with pytest.raises(InvalidArgument, match="preprocessing is None; it says what"):
        wrap_model(Mine(), None)


def test_parameters_are_counted():
    assert wrap_model(Mine(), Preprocessing()).card.parameters == 4 * 3 * 9 + 4
    assert wrap_model(nn.LazyLinear(3), Preprocessing()).card.parameters is None


def test_a_model_of_keras():
    keras = pytest.importorskip("keras")
    layers = [keras.layers.Input((16, 16, 3)), keras.layers.Conv2D(4, 3, name="conv")]
    model = keras.Sequential(layers)
    network = wrap_model(model, Preprocessing(divisor=1.0), name="mine")
    assert network.card.parameters == 4 * 3 * 9 + 4
    images = np.random.default_rng(0).integers(0, 256, (2, 16, 16, 3), np.uint8)
    found = tv.extract_features(network, images, "conv")["conv"]
    expected = keras.ops.convert_to_numpy(model(images.astype(np.float32)))
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-3)


def test_a_keras_model_goes_to_keras_though_it_is_a_module_of_torch_too(monkeypatch):
    """As on Keras' torch engine; a made-up Keras, so that none is needed."""
    keras, backend = ModuleType("keras"), ModuleType("thingsvision.backends.keras")
    keras.Model = type("Model", (nn.Module,), {"built": False})
    backend.KerasBackend = lambda device: ("the backend of Keras", device)
    monkeypatch.setitem(sys.modules, "keras", keras)
    monkeypatch.setitem(sys.modules, "thingsvision.backends.keras", backend)
    assert wrap_model(keras.Model(), Preprocessing()).backend == ("the backend of Keras", "auto")
    assert wrap_model(Mine(), Preprocessing()).backend.name == "torch"


NET = """
import thingsvision as tv
import torch
from torch import nn


class Net(nn.Module):
    def __init__(self, width=4):
        super().__init__()
        self.conv = nn.Conv2d(3, width, 3)
        self.pool = nn.AdaptiveAvgPool2d(1)

    def forward(self, x):
        return self.pool(self.conv(x)).flatten(1)


def make():
    return tv.wrap_model(Net(), tv.Preprocessing(resize=16, crop=12), name="my net")

"""


@pytest.fixture
def write(tmp_path, monkeypatch):
    """Write a file of the user into the current folder; give its spelling for a function."""
    monkeypatch.chdir(tmp_path)

    def write(more="", function="make", file="nets.py", code=NET):
        (tmp_path / file).parent.mkdir(exist_ok=True)
        (tmp_path / file).write_text(code + more, encoding="utf-8")
        return f"{file}:{function}"

    return write


def test_a_function_in_a_file_makes_the_network(write, tmp_path):
    name = write()
    network = load_model(name, seed=3)
    assert network.name == "local/my net" and network.preprocessing.crop == 12
    with torch.random.fork_rng():
        torch.manual_seed(3)
        conv = nn.Conv2d(3, 4, 3)
    assert torch.equal(network.model.conv.weight, conv.weight)
    assert network.weights == {
        "kind": "the user's model", "made_by": name, "seed": 3,
        "sha256_of_file": sha256((tmp_path / "nets.py").read_bytes()).hexdigest(),
    }  # fmt: skip
    images = np.zeros((2, 20, 20, 3), np.uint8)
    features = tv.extract_features(network, images, "conv")["conv"]
    assert features.shape == (2, 4, 10, 10)
    assert np.allclose(features, conv.bias.detach().numpy()[None, :, None, None])
    assert features.provenance["weights"]["made_by"] == name
    assert load_model(tmp_path.joinpath("nets.py").as_posix() + ":make").name == "local/my net"


def global_states():
    numpy = np.random.get_state()[1].tolist()  # noqa: NPY002
    return random.getstate(), numpy, torch.get_rng_state().tolist()


def test_the_same_seed_gives_the_same_network_and_leaves_no_trace(write):
    # Keras draws from the generator of Python, others from NumPy's.
    name = write(
        "import random, numpy\n"
        "def drawn():\n"
        "    network = make()\n"
        "    network.model.drawn = random.random(), numpy.random.rand()\n"
        "    return network\n",
        "drawn",
    )
    states = global_states()
    path, modules = list(sys.path), set(sys.modules)
    first, again, other = (load_model(name, seed=seed) for seed in (0, 0, 1))
    assert first.digest == again.digest != other.digest
    assert first.model.drawn == again.model.drawn != other.model.drawn
    assert global_states() == states
    assert sys.path == path
    assert {
        m for m in set(sys.modules) - modules if not m.startswith("thingsvision_file_")
    } == set()


def test_a_function_is_given_the_options_that_it_takes(write):
    name = write(
        "def full(pretrained, seed=9, device=None, init=None, weights=None):\n"
        "    network = make()\n"
        "    network.model.given = pretrained, seed, device, init, weights\n"
        "    return network\n",
        "full",
    )

    def given(**options):
        return load_model(name, **options).model.given

    assert given(device="cpu") == (True, 0, "cpu", None, None)
    assert given(pretrained=False, seed=2, init="orthogonal")[:2] == (False, 2)
    assert given(pretrained=False, init="orthogonal")[3] == "orthogonal"
    assert given(weights="of_epoch_7")[4] == "of_epoch_7"
    assert load_model(name, weights="of_epoch_7").weights["weights"] == "of_epoch_7"
    everything = write("def all_of_them(**options):\n    return make()\n", "all_of_them")
    assert load_model(everything, pretrained=False).weights["pretrained"] is False


@pytest.mark.parametrize(
    ("options", "refused"),
    [
        ({"pretrained": False}, r"pretrained=False was asked for.*takes no argument 'pretrained'"),
        ({"weights": "best"}, r"weights='best' was asked for.*takes no argument 'weights'"),
    ],
)
def test_options_that_a_function_does_not_take_are_refused(write, options, refused):
    with pytest.raises(InvalidArgument, match=refused):
        load_model(write(), **options)


def test_weights_of_a_file_go_into_the_network(write, tmp_path):
    name = write()
    trained = load_model(name, seed=7)
    torch.save({"state_dict": trained.model.state_dict()}, tmp_path / "mine.pth")
    network = load_model(name, weights="mine.pth")
    assert network.digest == trained.digest != load_model(name).digest
    assert network.weights["kind"] == "file" and network.weights["file"] == "mine.pth"
    torch.save({"conv.weight": torch.zeros(5, 3, 3, 3)}, tmp_path / "other.pth")
    with pytest.raises(WeightsError, match=r"1 missing: conv\.bias.\n1 of another shape: conv\.we"):
        load_model(name, weights="other.pth")


def test_no_trained_weights_are_fetched_where_they_are_not_needed(write, tmp_path):
    name = write(
        "def fetched(pretrained=True):\n"
        "    assert not pretrained, 'a download'\n"
        "    return make()\n",
        "fetched",
    )
    with pytest.raises(ThingsvisionError, match="AssertionError: a download"):
        load_model(name)
    assert describe_model(name).name == "local/my net"
    assert load_model(name, device="meta").modules().method == "meta device"
    torch.save(load_model(name, pretrained=False).model.state_dict(), tmp_path / "mine.pth")
    assert load_model(name, weights="mine.pth").weights["kind"] == "file"


def test_files_import_their_own_neighbours(write, tmp_path):
    code = (
        "from layers import SIDE\nimport thingsvision as tv\nfrom torch import nn\n"
        "def make(): return tv.wrap_model(nn.ReLU(), tv.Preprocessing(resize=SIDE))\n"
    )
    for folder, side in (("a", 11), ("b", 22)):
        name = write(file=f"{folder}/nets.py", code=code)
        (tmp_path / folder / "layers.py").write_text(f"SIDE = {side}")
        assert load_model(name).preprocessing.resize == side
    assert "layers" not in sys.modules


@pytest.mark.parametrize(
    ("code", "said"),
    [
        ("def make():\n    return 1 / 0\n", "nets.py, line 2: ZeroDivisionError: division by zero"),
        ("\n\nimport no_such_thing\n", "nets.py, line 3: ModuleNotFoundError: No module named"),
        ("def make():\n    retrun 1\n", "nets.py, line 2: SyntaxError: invalid syntax"),
        ("import sys\nsys.exit('bye')\n", "nets.py, line 2: SystemExit: bye"),
        (
            "import thingsvision as tv\ndef make():\n    return tv.wrap_model('resnet', None)\n",
            "nets.py, line 3: InvalidArgument: The model is a str",
        ),
    ],
)
def test_what_goes_wrong_in_a_file_is_shown_with_its_line(write, code, said):
    with pytest.raises(ThingsvisionError) as caught:
        load_model(write(code=code))
    assert str(caught.value).startswith(said)


def test_a_bare_model_is_refused_with_an_example_that_runs(write):
    name = write("def bare():\n    return Net()\n", "bare")
    with pytest.raises(
        InvalidArgument, match=r"bare\(\) in nets\.py returned a Net, not"
    ) as caught:
        load_model(name)
    assert "cannot be guessed" in str(caught.value)
    example = str(caught.value).partition("For example:\n")[2].replace("\n    ", "\n")
    code = NET + example.replace("...  # your model, with its weights", "Net()")
    assert load_model(write(code=code, function="bare")).preprocessing.crop == 224


def test_spellings_that_name_no_function(write):
    name = write("net = Net()\nwidth = 3\ndef number(): return 3\n", "mak")
    with pytest.raises(UnknownName, match=r"no function in nets\.py 'mak'\. Nearest: make, number"):
        load_model(name)
    with pytest.raises(InvalidArgument, match=r"nets\.py:FUNCTION\. It defines make, number"):
        load_model("nets.py")
    with pytest.raises(InvalidArgument, match=r"no file 'absent\.py'"):
        load_model("absent.py:make")
    for thing, kind in (("net", "Net"), ("width", "int")):
        with pytest.raises(InvalidArgument, match=f"{thing} in nets.py is a {kind}, not a func"):
            load_model(f"nets.py:{thing}")
    with pytest.raises(InvalidArgument, match=r"number\(\) in nets\.py returned a int, not a netw"):
        load_model("nets.py:number")
