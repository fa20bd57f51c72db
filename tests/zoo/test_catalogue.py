"""Finding models: lists, spellings, plugins, networks of the user."""

import warnings
from importlib.metadata import EntryPoint

import numpy as np
import pytest
import torch
from torch import nn

from thingsvision.backends.torch import TorchBackend
from thingsvision.errors import InvalidArgument, UnknownName
from thingsvision.preprocessing import Preprocessing
from thingsvision.registry import Registry
from thingsvision.zoo import (
    SOURCES,
    Network,
    catalogue,
    describe_model,
    list_models,
    load_model,
    wrap_model,
)
from thingsvision.zoo.catalogue import find_model, is_weights_file
from thingsvision.zoo.source import ModelCard


class Plugin:
    """A source as another package would bring it."""

    def names(self):
        return ["alexnet", "tiny", "dotted.name"]

    def card(self, name, weights=None):
        return ModelCard(f"mine/{name}", weights=weights, preprocessing=Preprocessing())

    def load(self, name, choice):
        card = self.card(name, choice.weights)
        return Network(
            card.name, nn.Identity(), TorchBackend("cpu"), Preprocessing(), card,
            {"kind": "random", "seed": choice.seed},
        )  # fmt: skip


PLUGIN = Plugin()


@pytest.fixture
def plugins(monkeypatch):
    """Two installed plugins, of which one is broken."""
    group = "thingsvision.sources"
    points = [
        EntryPoint("mine", f"{__name__}:PLUGIN", group),
        EntryPoint("broken", "no_such_package:SOURCE", group),
    ]
    monkeypatch.setattr("thingsvision.registry.entry_points", lambda group: points)
    registry = Registry("model source", dict(SOURCES._builtins), group)
    monkeypatch.setattr(catalogue, "SOURCES", registry)
    return registry


def test_patterns():
    assert list_models("alexnet") == ["torchvision/alexnet"]
    assert list_models("resnet1??") == ["torchvision/resnet101", "torchvision/resnet152"]
    assert list_models("checkpoints/*") == ["checkpoints/efficientnet_lite0"]
    assert list_models("*/efficientnet_?*0") == [
        "torchvision/efficientnet_b0", "checkpoints/efficientnet_lite0",
    ]  # fmt: skip
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
        ("resnet50.IMAGENET1K_V2", "resnet50", "IMAGENET1K_V2"),
        ("torchvision/resnet50.IMAGENET1K_V1", "resnet50", "IMAGENET1K_V1"),
        ("efficientnet_lite0", "efficientnet_lite0", None),
    ],
)
def test_spellings(spelling, model, weights):
    source, *found = find_model(spelling)
    assert found == [model, weights]
    assert model in source.names()


@pytest.mark.parametrize(
    ("spelling", "near"),
    [
        ("alexne", "torchvision/alexnet"),
        ("torchvision/alexnets", "torchvision/alexnet"),
        ("torchvison/alexnet", "torchvision/alexnet"),
        ("checkpoints/efficientnet_lite", "checkpoints/efficientnet_lite0"),
    ],
)
def test_unknown_names_show_the_nearest(spelling, near):
    with pytest.raises(UnknownName) as caught:
        describe_model(spelling)
    assert f"{spelling!r}. Nearest: {near}" in str(caught.value)


def test_plugins_are_sources_and_a_broken_one_is_a_warning(plugins):
    with pytest.warns(UserWarning, match="'broken' .*no_such_package.*cannot be loaded"):
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
        load_model("resnet50.IMAGENET1K_V1", weights="IMAGENET1K_V2")
    for options in ({"weights": "DEFAULT"}, {"weights": tmp_path / "mine.pth"}):
        with pytest.raises(InvalidArgument, match="pretrained=False asks for random"):
            load_model("resnet18", pretrained=False, **options)
    with pytest.raises(InvalidArgument, match="pretrained=False asks for random"):
        load_model("resnet18.IMAGENET1K_V1", pretrained=False)
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


@pytest.mark.parametrize("thing", [None, "alexnet", nn, lambda x: x])
def test_what_is_no_network_is_refused(thing):
    with pytest.raises(InvalidArgument, match=r"allowed is a torch\.nn\.Module"):
        wrap_model(thing, Preprocessing())
