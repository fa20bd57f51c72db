"""Finding models: lists, spellings, nearest names, sources that are broken or not installed."""

import warnings
from importlib.metadata import EntryPoint

import pytest
from torch import nn

from thingsvision.backends.torch import TorchBackend
from thingsvision.errors import (
    InvalidArgument,
    MissingPackage,
    ThingsvisionError,
    ThingsvisionWarning,
    UnknownName,
    unknown,
)
from thingsvision.optional import EXTRAS
from thingsvision.preprocessing import Preprocessing
from thingsvision.registry import Registry
from thingsvision.zoo import Network, catalogue, describe_model, list_models, load_model
from thingsvision.zoo.catalogue import find_model, is_weights_file, missing_sources
from thingsvision.zoo.source import ModelCard


class Plugin:
    """A source as another package would bring it."""

    def __init__(self, label="mine", models=("alexnet", "tiny", "dotted.name"), weights=()):
        self.label, self.models, self.weights = label, list(models), tuple(weights)

    def names(self):
        return self.models

    def card(self, name, weights=None):
        if weights is not None and self.weights and weights not in self.weights:
            raise unknown("set of weights", weights, self.weights)
        return ModelCard(
            f"{self.label}/{name}", weights=weights, all_weights=self.weights,
            preprocessing=Preprocessing(),
        )  # fmt: skip

    def load(self, name, choice):
        card = self.card(name, choice.weights)
        return Network(
            card.name, nn.Identity(), TorchBackend("cpu"), Preprocessing(), card,
            {"kind": "random", "seed": choice.seed},
        )  # fmt: skip


class Unruly(Plugin):
    def names(self):
        raise ZeroDivisionError("an error of its own")


PLUGIN = Plugin()
UNRULY = Unruly()
FRAMED = Plugin("framed", ["resnet50", "zippy"], ["imagenet"])


def sources(monkeypatch, builtins=None, needs=None, plugins=()):
    """Put made-up sources in the place of those that there are."""
    group = "thingsvision.sources"
    points = [EntryPoint(name, value, group) for name, value in plugins]
    monkeypatch.setattr("thingsvision.registry.entry_points", lambda group: points)
    torchvision = {"torchvision": "thingsvision.zoo.torchvision:SOURCE"}
    registry = Registry("model source", torchvision | (builtins or {}), group, needs)
    monkeypatch.setattr(catalogue, "SOURCES", registry)
    return registry


@pytest.fixture
def plugins(monkeypatch):
    """Two installed plugins, of which one is broken."""
    broken = ("broken", "no_such_package:SOURCE")
    return sources(monkeypatch, plugins=[("mine", f"{__name__}:PLUGIN"), broken])


def test_patterns():
    assert "torchvision/alexnet" in list_models("alexnet")
    found = ["torchvision/resnet101", "torchvision/resnet152"]
    assert list_models("torchvision/resnet1??") == found
    assert list_models("resnet1??", source="torchvision") == found
    assert set(found) <= set(list_models("resnet1??"))
    assert {"torchvision/efficientnet_b0", "checkpoints/efficientnet_lite0"} <= set(
        list_models("*/efficientnet_?*0")
    )
    assert list_models("no such model") == []
    everything = list_models()
    assert len(everything) == len(set(everything)) > 110
    assert list_models(source="checkpoints") == list_models("checkpoints/*")
    with pytest.raises(UnknownName, match="Nearest: torchvision"):
        list_models(source="torchvison")


@pytest.mark.parametrize(
    ("spelling", "model", "weights"),
    [
        ("alexnet", "alexnet", None),
        ("torchvision/alexnet", "alexnet", None),
        ("resnet50.IMAGENET1K_V2", "resnet50", "IMAGENET1K_V2"),  # whoever has the weights
        ("torchvision/resnet50.IMAGENET1K_V1", "resnet50", "IMAGENET1K_V1"),
    ],
)
def test_spellings(spelling, model, weights):
    source, *found = find_model(spelling)
    assert found == [model, weights]
    assert model in source.names()


@pytest.mark.parametrize(
    ("spelling", "near"),
    [
        ("resnt50", "torchvision/resnet50, framed/resnet50"),
        ("framed/resnt50", "framed/resnet50, torchvision/resnet50"),
        ("torchvision/alxnet", "torchvision/alexnet"),
        ("torchvison/alexnet", "torchvision/alexnet"),
        ("framed/alexnet", "torchvision/alexnet"),
        ("alxnet.IMAGENET1K_V1", "torchvision/alexnet"),
    ],
)
def test_unknown_names_show_the_nearest_of_all_sources(monkeypatch, spelling, near):
    sources(monkeypatch, {"framed": f"{__name__}:FRAMED"})
    with pytest.raises(UnknownName) as caught:
        describe_model(spelling)
    assert f"{spelling!r}. Nearest: {near}" in str(caught.value)


def test_a_source_that_is_not_installed_is_named_with_its_extra(monkeypatch):
    # The package is not there, and its source could not be imported.
    monkeypatch.setitem(EXTRAS, "no_such_framework", ("frame", "networks of a framework"))
    sources(monkeypatch, {"framed": "no.such:SOURCE"}, {"framed": "no_such_framework"})
    with pytest.raises(UnknownName, match=r"torchvision/resnet50.*\'framed\' is not installed: pip "
                       r"install \"\.\[frame\]\""):  # fmt: skip
        load_model("resnt50")
    message = r"'no_such_framework', needed for networks of a framework.*pip install \"\.\[frame\]"
    with pytest.raises(MissingPackage, match=message):
        load_model("framed/zippy")
    assert missing_sources() == ["The source 'framed' is not installed: pip install \".[frame]\"."]
    assert load_model("alexnet", device="meta", pretrained=False).name == "torchvision/alexnet"


def test_a_broken_framework_leaves_the_other_sources_alone(monkeypatch, tmp_path):
    (tmp_path / "framework_in_pieces.py").write_text("raise OSError('libcuda.so is of stone')")
    monkeypatch.syspath_prepend(tmp_path)
    package = "framework_in_pieces"
    sources(monkeypatch, {"framed": f"{package}:SOURCE"}, {"framed": package})
    with pytest.warns(ThingsvisionWarning, match="'framed'.*is broken: OSError: libcuda"):
        assert list_models("alexnet") == ["torchvision/alexnet"]
    with pytest.raises(ThingsvisionError, match="Install that package anew"):
        list_models(source="framed")


def test_a_plugin_whose_names_fail_is_a_warning(monkeypatch):
    sources(monkeypatch, plugins=[("mine", f"{__name__}:PLUGIN"), ("bad", f"{__name__}:UNRULY")])
    with pytest.warns(ThingsvisionWarning, match="'bad' .*is broken: ZeroDivisionError: an error"):
        assert list_models("t*ny") == ["mine/tiny"]
    with pytest.warns(ThingsvisionWarning, match="'bad'"):
        assert load_model("tiny").name == "mine/tiny"
    with pytest.raises(ThingsvisionError, match="'bad' .*Update or uninstall"):
        load_model("bad/tiny")


def test_weights_tell_which_of_several_sources_is_meant(monkeypatch):
    sources(monkeypatch, {"framed": f"{__name__}:FRAMED"})
    source, *found = find_model("resnet50.imagenet")
    assert source is FRAMED and found == ["resnet50", "imagenet"]
    assert find_model("resnet50.IMAGENET1K_V2")[0] is not FRAMED
    for spelling in ("resnet50", "resnet50.nobody_has_these"):
        spelled = f"torchvision/{spelling}, framed/{spelling}"
        with pytest.raises(InvalidArgument, match=f"Choose: {spelled}"):
            find_model(spelling)
    with pytest.raises(UnknownName, match="set of weights 'nobody_has_these'"):
        load_model("framed/resnet50.nobody_has_these")


def test_plugins_are_sources_and_a_broken_one_is_a_warning(plugins):
    with pytest.warns(UserWarning, match="'broken' .*no_such_package.*is broken"):
        names = list_models("tin?")
    assert names == ["mine/tiny"]
    assert load_model("mine/tiny", pretrained=False, seed=4).weights["seed"] == 4
    assert describe_model("mine/dotted.name").weights is None
    assert describe_model("mine/dotted.name").name == "mine/dotted.name"
    assert describe_model("mine/tiny.best.v2").weights == "best.v2"


def test_a_name_that_several_sources_have_is_refused_with_the_spellings(plugins):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with pytest.raises(InvalidArgument, match="torchvision/alexnet, mine/alexnet"):
            load_model("alexnet", pretrained=False)
        assert load_model("tiny").name == "mine/tiny"


def test_contradictions_are_refused(tmp_path):
    with pytest.raises(InvalidArgument, match="'IMAGENET1K_V1', weights= for 'IMAGENET1K_V2'"):
        load_model("torchvision/resnet50.IMAGENET1K_V1", weights="IMAGENET1K_V2")
    for options in ({"weights": "DEFAULT"}, {"weights": tmp_path / "mine.pth"}):
        with pytest.raises(InvalidArgument, match="pretrained=False asks for random"):
            load_model("torchvision/resnet18", pretrained=False, **options)
    with pytest.raises(InvalidArgument, match="pretrained=False asks for random"):
        load_model("torchvision/resnet18.IMAGENET1K_V1", pretrained=False)
    with pytest.raises(InvalidArgument, match="'tpu'"):
        load_model("alexnet", pretrained=False, device="tpu")


def test_files_of_weights_and_names_of_weights(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "here").write_bytes(b"")
    for name in ("a.pth", "A.PT", "x.safetensors", "dir/x", "here", tmp_path / "anything"):
        assert is_weights_file(name)
    for name in ("IMAGENET1K_V1", "augreg_in21k", "laion2b_s34b_b79k"):
        assert not is_weights_file(name)


def test_preprocessing_of_the_user_is_used():
    record = Preprocessing(resize=32, crop=32)
    network = load_model("alexnet", pretrained=False, preprocessing=record)
    assert network.preprocessing == record and network.example_size == (32, 32)
    changed = network.preprocessed(crop=64)
    assert changed.model is network.model and changed.example_size == (64, 64)
    assert "crop=64" in changed.preprocessing.origin


def test_a_survey_is_made_once_for_each_size():
    network = load_model("alexnet", device="meta")
    assert network.modules() is network.modules((224, 224))
    assert network.modules((100, 120)) is not network.modules()
    assert network.modules((100, 120)).resolve(["features.0"])[0].shape == (64, 24, 29)
