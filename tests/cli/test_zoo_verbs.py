"""models, model, modules: what there is, without weights or images."""

from __future__ import annotations

import csv
import io
import json
import sys
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest

from thingsvision import extract_features, load_texts, open_features
from thingsvision.backends.survey import Module, Output, Survey
from thingsvision.optional import EXTRAS
from thingsvision.zoo import describe_model, list_models, load_model

from .conftest import Run


def test_models_are_those_of_the_zoo(run: Run) -> None:
    rows = json.loads(run("models", "resnet*", "--json").out)
    assert [row["name"] for row in rows] == list_models("resnet*")
    for row in rows:
        assert tuple(row["weights"]) == describe_model(row["name"]).all_weights


@pytest.fixture
def towers(monkeypatch: pytest.MonkeyPatch) -> None:
    """Replace the sources by one that is open, and whose network takes texts too."""
    import torch
    from torch import nn

    from thingsvision.backends.torch import TorchBackend
    from thingsvision.preprocessing import Preprocessing
    from thingsvision.registry import Registry
    from thingsvision.tokenization import Tokenization
    from thingsvision.zoo import Choice, ModelCard, Network, catalogue

    class Reader(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.words = nn.Embedding(50, 6)

        def forward(self, tokens: torch.Tensor) -> torch.Tensor:
            return self.words(tokens).mean(1)

    class Hub:
        def names(self) -> list[str]:
            return ["clip", "version.2"]

        def accepts(self, name: str) -> bool:
            return "/" in name

        def card(self, name: str, weights: str | None = None) -> ModelCard:
            return ModelCard(f"hub/{name}.{weights or 'main'}", "texts", "main", ("main", "old"))

        def load(self, name: str, choice: Choice) -> Network:
            tokens = Tokenization(lambda texts: [[1, 2, 3]] * len(texts), (3,), "made up")
            card, records = self.card(name), (Preprocessing(resize=9, crop=9), tokens)
            image, text = (
                Network(card.name, model, TorchBackend("cpu", takes=takes), record, card)
                for model, takes, record in zip(
                    (nn.Sequential(nn.Conv2d(3, 1, 1, bias=False), nn.PReLU(1)), Reader()),
                    ("images", "tokens"),
                    records,
                    strict=True,
                )
            )
            return replace(image, text=text)

    monkeypatch.setitem(sys.modules, "made_up_hub", SimpleNamespace(SOURCE=Hub()))
    there = {"hub": "made_up_hub:SOURCE", "absent": "no.such:SOURCE"}
    registry = Registry("model source", there, needs={"absent": "keras_of_tomorrow"})
    monkeypatch.setattr(catalogue, "SOURCES", registry)
    monkeypatch.setitem(EXTRAS, "keras_of_tomorrow", ("tomorrow", "networks of tomorrow"))


def test_what_is_not_installed_or_not_listed_is_said_below_the_table(
    run: Run, towers: None
) -> None:
    result = run("models")
    assert [line.split() for line in result.out.splitlines()[1:]] == [
        ["hub/clip", "texts", "main", "old"], ["hub/version.2", "texts", "main", "old"]
    ]  # fmt: skip
    further, absent = result.err.splitlines()
    assert "'hub' takes further names" in further and "hub/NAME" in further
    assert absent == "The source 'absent' is not installed: pip install \".[tomorrow]\"."
    assert run("models", "hub/*").err.count("\n") == 1  # nothing on sources that were not asked
    none = run("models", "zz*", "--source", "hub")
    assert none.code == 0 and "takes further names" in none.err
    unknown = run("models", "hub/vers")
    assert unknown.code == 1 and "Nearest: hub/version.2" in unknown.err
    assert 'pip install ".[tomorrow]"' in " ".join(unknown.err.split())
    for question in (["--source", "absent"], ["absent/*"]):
        missing = run("models", *question)
        assert missing.code == 1 and 'pip install ".[tomorrow]"' in " ".join(missing.err.split())


def test_parameters_are_counted_where_the_card_does_not_tell(run: Run, towers: None) -> None:
    assert json.loads(run("model", "hub/clip", "--json").out)["parameters"] == 4
    assert "parameters     4" in run("model", "hub/clip").out


def test_the_modules_of_the_text_tower(run: Run, towers: None) -> None:
    assert [*modules(run, "hub/clip")] == ["0", "1", "output"]
    found = modules(run, "hub/clip", "--text")
    assert found["words"]["shape"] == [3, 6] and found["output"]["shape"] == [6]
    assert "an input of 3 tokens" in " ".join(run("modules", "hub/clip", "--text").err.split())


def test_activations_for_texts(run: Run, towers: None, place: Path) -> None:
    (place / "texts.txt").write_text("a photo of an aardvark\na photo of an abacus\n")
    args = ["extract", "hub/clip", "texts.txt", "--text", "-m", "words", "-m", "output"]
    result = run(*args, "-o", "out", "--json")
    assert result.code == 0, result.err
    assert [row["shape"] for row in json.loads(result.out)] == [[2, 3, 6], [2, 6]]
    network = load_model("hub/clip")
    expected = extract_features(network, load_texts("texts.txt"), "words")["words"]
    found = open_features("out")["words"]
    assert found.ids == expected.ids and found.shape == expected.shape
    refused = run(*args, "-o", "out", "--crop", "9", "--resize", "none")
    assert refused.code == 2 and "--resize, --crop cannot go with --text" in refused.err
    images = run("extract", "torchvision/alexnet", "texts.txt", "--text", "-m", "output",
                 "-o", "x", "--random")  # fmt: skip
    assert images.code == 1 and "alexnet" in images.err


def test_the_verbs_take_functions_in_files(run: Run, place: Path) -> None:
    result = run("modules", "networks.py:make_network", "--json")
    rows = json.loads(result.out)  # what the file prints is not among the results
    assert [row["shape"] for row in rows] == [[4, 20, 20]] * 3
    assert "This is no result." in result.err
    shown = run("model", "networks.py:make_network")
    assert (
        shown.code == 0 and "weights        your own" in shown.out and "centre crop 24" in shown.out
    )


def test_models_of_all_sources_fit_the_terminal(run: Run) -> None:
    result = run("models")
    lines = result.out.splitlines()
    assert lines[0].split() == ["name", "task", "weights"]
    assert len(lines) == 1 + len(list_models())
    assert max(map(len, lines)) <= 80


def test_models_as_csv(run: Run) -> None:
    rows = list(csv.DictReader(io.StringIO(run("models", "--source", "torchvision", "--csv").out)))
    assert all(row["name"].startswith("torchvision/") for row in rows)
    refused = [row["name"] for row in rows if row["usable"] == "no"]
    assert "torchvision/raft_large" in refused


def test_a_card(run: Run) -> None:
    out = run("model", "torchvision/alexnet").out
    # An address is not broken, so that it can be copied.
    assert all(len(line) <= 80 or "://" in line for line in out.splitlines())
    for words in ("IMAGENET1K_V1", "61,100,840", "centre crop 224", "licence", "citation"):
        assert words in out
    card = json.loads(run("model", "torchvision/alexnet", "--json").out)
    assert card["parameters"] == 61100840
    assert card["preprocessing"]["crop"] == 224
    assert len(card["classes"]) == 1000


def test_the_card_of_a_model_that_cannot_be_used_says_why(run: Run) -> None:
    result = run("model", "torchvision/raft_large")
    assert result.code == 0
    assert "two frames" in result.out


def test_a_card_of_other_weights(run: Run) -> None:
    out = run("model", "torchvision/resnet50.IMAGENET1K_V1").out
    assert "weights        IMAGENET1K_V1" in out
    assert "other weights  IMAGENET1K_V2" in out


def modules(run: Run, *args: str) -> dict[str, dict[str, object]]:
    return {row["module"]: row for row in json.loads(run("modules", *args, "--json").out)}


def test_modules_have_shapes_and_axes(run: Run) -> None:
    found = modules(run, "torchvision/alexnet")
    assert found["features.10"] == {
        "module": "features.10", "type": "Conv2d", "calls": 1, "shape": [256, 13, 13],
        "axes": ["channel", "height", "width"], "note": "",
    }  # fmt: skip
    assert found["penultimate"]["type"] == "input of classifier.6"
    assert found["penultimate"]["shape"] == [4096]
    assert found["output"]["shape"] == [1000]


def test_modules_that_are_never_called_are_marked(run: Run) -> None:
    result = run("modules", "torchvision/googlenet", "aux1*")
    assert "never called" in result.out
    assert all(row["note"] == "never called"
               for row in modules(run, "torchvision/googlenet", "aux1*").values())  # fmt: skip


def test_elements_of_tuples_have_addresses(run: Run) -> None:
    pattern = "encoder.layers.encoder_layer_0.*"
    found = modules(run, "torchvision/vit_b_16", pattern)
    assert found["encoder.layers.encoder_layer_0.self_attention[0]"]["shape"] == [197, 768]
    lines = run("modules", "torchvision/vit_b_16", pattern).out.splitlines()
    assert max(map(len, lines)) <= 80


def test_modules_without_one_row_per_stimulus_are_marked(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    boxes = Output(0, (), (2000, 91), ("axis1", "axis2"), None, 0)
    whole = Output(0, (), (10,), ("feature",), 0, 1)
    survey = Survey((Module("roi", "RoIPool", 1, (boxes,)),), Module("", "Net", 1, (whole,)))
    monkeypatch.setattr(
        "thingsvision.cli.modules.surveyed",
        lambda name, text: (load_model("torchvision/alexnet", pretrained=False), survey),
    )
    assert "no row per stimulus" in run("modules", "net").out
    found = modules(run, "net")
    assert [row["note"] for row in found.values()] == ["no row per stimulus", ""]
    assert list(found) == ["roi", "output"]  # and no penultimate, where there is none


@pytest.mark.parametrize("name", ["torchvision/alexnet", "checkpoints/efficientnet_lite0"])
def test_modules_need_no_weights(run: Run, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    def refuse(*_: object) -> None:
        raise AssertionError("weights were read")

    monkeypatch.setattr("thingsvision.zoo.checkpoints.read_weights", refuse)
    monkeypatch.setattr("thingsvision.zoo.torchvision.download", refuse)
    result = run("modules", name)
    assert result.code == 0, result.err
    assert "224×224" in result.err
