"""verify, methods and diff: exit codes, and that they say what the functions say."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

import thingsvision as tv

from .conftest import Run

EXTRACT = ("extract", "torchvision/squeezenet1_1", "images", "-m", "features.3", "--random",
           "--batch-size", "4", "--flatten")  # fmt: skip


def test_verify_ends_with_zero_if_all_is_right(run: Run, place: Path) -> None:
    run(*EXTRACT, "-o", "out")
    result = run("verify", "out", "--sample", "1")
    assert result.code == 0, result.err
    assert "features.3: ok. " in result.out and "the same to the last bit" in result.out
    assert "All is right." in result.err
    rows = json.loads(run("verify", "out", "--json").out)
    found = tv.verify_features("out")
    assert [row["check"] for row in rows] == [check.what for check in found.checks]
    assert rows[-1]["difference"] == 0


def test_verify_ends_with_one_if_something_is_wrong(run: Run, place: Path) -> None:
    run(*EXTRACT, "-o", "out")
    np.load("out/features.3.npy", mmap_mode="r+")[:] += 1
    result = run("verify", "out")
    assert result.code == 1
    assert "features.3: wrong." in result.out


def test_verify_ends_with_four_if_not_all_could_be_checked(run: Run, place: Path) -> None:
    run(*EXTRACT, "-o", "out")
    (place / "images").rename(place / "moved")
    result = run("verify", "out")
    assert result.code == 4
    assert "stimuli: not checked." in result.out
    assert run("verify", "out", "--images", "moved").code == 0


def test_methods_prints_the_paragraph(run: Run, place: Path) -> None:
    run(*EXTRACT, "-o", "out")
    assert run("methods", "out").out == tv.describe_methods("out") + "\n"


def test_methods_is_wrapped_in_a_terminal(
    run: Run, place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run(*EXTRACT, "-o", "out")
    monkeypatch.setattr("thingsvision.cli.methods.is_terminal", lambda: True)
    out = run("methods", "out").out
    assert out.split() == tv.describe_methods("out").split()
    assert max(len(line) for line in out.splitlines() if " " in line) <= 80


LONG = """
import thingsvision as tv
from torch import nn

class Net(nn.Module):
    def __init__(self, bias):
        super().__init__()
        name = "a_long_name_of_a_block_in_the_image_encoder_of_a_network_with_convolutions_{}"
        self.long_name_of_an_encoder = nn.ModuleDict(
            {name.format(i): nn.Conv2d(3, 3, 3, bias=bias) for i in range(3)})

    def forward(self, x):
        for module in self.long_name_of_an_encoder.values():
            x = module(x)
        return x

def make():
    return tv.wrap_model(Net(True), tv.Preprocessing(resize=32, crop=24))

def other():
    return tv.wrap_model(Net(False), tv.Preprocessing(resize=32, crop=24))
"""


def test_no_verb_is_wider_than_the_terminal(run: Run, place: Path) -> None:
    (place / "long.py").write_text(LONG)
    one = "a_folder_with_a_long_name/of_an_experiment_with_many_subjects/subject_01"
    other = one.replace("01", "02")
    commands = [
        ("modules", "long.py:make"),
        ("extract", "long.py:make", "images", "-m", "*", "-o", one),
        ("extract", "long.py:other", "images", "-m", "*", "-o", other, "--project", "50"),
        ("modules", one),
        ("verify", one),
        ("diff", one, one),
        ("diff", one, other),
        ("rdm", one, "-o", f"{one}/rdms", "--plot", f"{one}/figures/"),
        ("compare", f"{one}/rdms", f"{one}/rdms"),
        ("convert", one, "--to", "hdf5"),
        ("rdm", "long.py:make", "images", "-m", "*", "-o", f"{one}/one-pass", "--project", "50"),
        ("verify", one, "--images", "elsewhere"),
    ]
    for command in commands:
        result = run(*command)
        assert result.out, (command, result.err)
        assert max(map(len, result.out.splitlines())) <= 80, (command, result.out)
    assert "of_a_network_with_convolutions_2," in run("diff", one, other).out


def test_diff_ends_as_diff_does(run: Run, place: Path) -> None:
    small = [word if word != "features.3" else "features.12" for word in EXTRACT]
    run(*small, "-o", "out")
    assert run("diff", "out", "out").code == 0
    np.save("theirs.npy", np.maximum(np.load("out/features.12.npy"), 0)[::-1])
    result = run("diff", "out", "theirs.npy")
    assert result.code == 1
    assert "in another order" in result.out
    rows = json.loads(run("diff", "out", "theirs.npy", "--json").out)
    assert {row["about"] for row in rows} >= {"ids", "order", "values"}
    assert run("diff", "out", "none").code == 1


def test_images_without_features_are_named(run: Run, place: Path) -> None:
    file = place / "images" / "food" / "fig.jpg"
    file.write_bytes(file.read_bytes()[:-2000])
    assert run(*EXTRACT, "-o", "out").code == 3
    result = run("verify", "out")
    assert result.code == 3, result.err
    assert "All is as recorded; but 1 image could not be decoded" in result.err
    assert "food/fig.jpg" in result.err
    assert "1 image could not be decoded and has no features." in run("methods", "out").out


def test_methods_refuses_what_is_unfinished(run: Run, place: Path) -> None:
    assert run(*EXTRACT, "-o", "out", "--shard", "1/2").code == 0
    result = run("methods", "out")
    assert (result.code, result.out) == (1, "")
    assert "unfinished" in result.err
