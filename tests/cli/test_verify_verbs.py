"""verify, methods and diff: exit codes, and that they say what the functions say."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np

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


def test_diff_ends_as_diff_does(run: Run, place: Path) -> None:
    run(*EXTRACT, "-o", "out")
    assert run("diff", "out", "out").code == 0
    np.save("theirs.npy", np.maximum(np.load("out/features.3.npy"), 0)[::-1])
    result = run("diff", "out", "theirs.npy")
    assert result.code == 1
    assert "in another order" in result.out
    rows = json.loads(run("diff", "out", "theirs.npy", "--json").out)
    assert {row["about"] for row in rows} >= {"ids", "order", "values"}
    assert run("diff", "out", "none").code == 1
