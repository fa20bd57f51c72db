"""Every entry of the table of checkpoints, and every kind of file that one can meet."""

import json
import re
import warnings

import numpy as np
import pytest
import torch
from file_server import serving
from made_up_tables import table
from PIL import Image

from thingsvision.errors import InvalidArgument, ThingsvisionWarning, WeightsError
from thingsvision.provenance import digest_file
from thingsvision.zoo import load_model
from thingsvision.zoo.checkpoints import SOURCE, TABLE, Checkpoints, architecture, entries
from thingsvision.zoo.key_rules import KeyRule
from thingsvision.zoo.source import Choice
from thingsvision.zoo.weights import quiet, skeleton

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
    if entry["classes"]:
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
        left_out = network.weights["left out"]
        assert network.weights == {
            "kind": "pretrained", "address": server.url(), "checked": False, "left out": left_out,
        }  # fmt: skip
    with pytest.warns(ThingsvisionWarning) as warned:
        mine = source.load("x", Choice(file=str(home / "made.pth")))
    assert mine.digest == network.digest and mine.weights["kind"] == "file"
    assert mine.weights["checked"] is False and mine.weights["left out"] == left_out
    words = " ".join(str(one.message) for one in warned)
    assert "could not be tried" in words and ("were left out" in words) == bool(left_out)
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


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("[x]\nadress = ''", "no field of checkpoints .x. 'adress'. Nearest: address"),
        ("[x]\naddress = ''", "x of .* lacks architecture, preprocessing"),
        ("[x]\nlike = 'y'", "no checkpoint above x 'y'"),
    ],
)
def test_mistakes_in_a_table_are_named(tmp_path, text, words):
    (tmp_path / "mine.toml").write_text(text, encoding="utf-8")
    with pytest.raises(InvalidArgument, match=words):
        Checkpoints(tmp_path / "mine.toml").names()


def test_mistakes_in_an_entry_are_named(tmp_path):
    values = {**SMALL, "address": "https://example.org/x.pth"}
    with pytest.raises(InvalidArgument, match="'prefixes'. Nearest: prefix"):
        table(tmp_path, "resnet50_dino", **{**values, "keys": {"prefixes": "a"}}).load(
            "x", Choice()
        )
    values["architecture"] = "tim/resnet18"
    with pytest.raises(InvalidArgument, match="'tim'. Nearest: timm"):
        table(tmp_path, "resnet50_dino", **values).load("x", Choice())


def test_a_short_entry_is_enough(home):
    torch.save(made_up().state_dict(), home / "made.pth")
    address = (home / "made.pth").as_uri()
    (home / "mine.toml").write_text(
        "[mine]\narchitecture = 'torchvision/shufflenet_v2_x0_5'\nwithout = ['fc']\n"
        f"address = '{address}'\npreprocessing = {{ resize = 64, crop = 64 }}\n",
        encoding="utf-8",
    )
    source = Checkpoints(home / "mine.toml")
    with pytest.warns(ThingsvisionWarning):
        network = source.load("mine", Choice())
    assert network.preprocessing.crop == 64 and source.card("mine").classes == ()
