"""models, model, modules: what there is, without weights or images."""

from __future__ import annotations

import csv
import io
import json

import pytest

from thingsvision.backends.base import Module, Output, Survey
from thingsvision.zoo import describe_model, list_models, load_model

from .conftest import Run


def test_models_are_those_of_the_zoo(run: Run) -> None:
    rows = json.loads(run("models", "resnet*", "--json").out)
    assert [row["name"] for row in rows] == list_models("resnet*")
    for row in rows:
        assert tuple(row["weights"]) == describe_model(row["name"]).all_weights


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
        lambda name: (load_model("torchvision/alexnet", pretrained=False), survey),
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
