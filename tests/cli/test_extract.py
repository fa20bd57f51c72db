"""extract: the command gives what the function gives."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

import thingsvision as tv
from thingsvision.optional import is_installed
from thingsvision.reduction import REDUCTIONS

from .conftest import Run

ARGS = ("extract", "torchvision/squeezenet1_1", "images", "-m", "features.3", "-m", "output",
        "--random", "--seed", "3", "--batch-size", "4")  # fmt: skip


def test_the_command_gives_what_the_function_gives(run: Run, place: Path) -> None:
    result = run(*ARGS, "-o", "out", "--json")
    assert result.code == 0, result.err
    rows = json.loads(result.out)
    assert [row["module"] for row in rows] == ["features.3", "output"]
    network = tv.load_model("torchvision/squeezenet1_1", pretrained=False, seed=3)
    expected = tv.extract_features(
        network, "images", ["features.3", "output"], batch_size=4, seed=3
    )
    for row in rows:
        array = np.load(place / row["file"])
        assert list(array.shape) == row["shape"]
        assert array.nbytes == row["bytes"]
        np.testing.assert_array_equal(array, expected[row["module"]])


def test_the_table(run: Run, place: Path) -> None:
    lines = run(*ARGS, "-o", "out").out.splitlines()
    assert lines[0].split() == ["module", "shape", "file", "bytes"]
    assert lines[1].split()[:2] == ["features.3", "6×128×55×55"]
    assert max(map(len, lines)) <= 80


def test_a_second_run_computes_nothing_and_says_so(
    run: Run, place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = run(*ARGS, "-o", "out")
    monkeypatch.setattr("thingsvision.backends.torch.TorchBackend.run", None)
    second = run(*ARGS, "-o", "out")
    assert (second.code, second.out) == (0, first.out)
    assert "complete already" in second.err


def test_another_request_for_the_same_folder_is_refused(run: Run, place: Path) -> None:
    run(*ARGS, "-o", "out")
    result = run(*ARGS, "-o", "out", "--flatten")
    assert result.code == 1
    assert "another request" in result.err


def test_options_of_the_preprocessing_and_the_order(run: Run, place: Path) -> None:
    (place / "list.txt").write_text("food/fig.jpg\nanimal/cat.jpg\n")
    args = ["-o", "out", "--resize", "none", "--crop", "96x128", "--file-names", "list.txt"]
    result = run(*ARGS, *args, "--flatten")
    assert result.code == 0, result.err
    features = tv.open_features("out")
    assert features["features.3"].ids == ("food/fig.jpg", "animal/cat.jpg")
    assert features["features.3"].shape == (2, 128 * 23 * 31)
    assert features.provenance["preprocessing"]["crop"] == [96, 128]
    assert features.provenance["preprocessing"]["resize"] is None


def test_a_dry_run_plans_and_writes_nothing(
    run: Run, place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise AssertionError("weights were downloaded")

    monkeypatch.setattr("thingsvision.zoo.torchvision.download", refuse)
    args = ["extract", "torchvision/alexnet", "images", "-m", "features.1?", "-o", "out"]
    before = sorted(place.rglob("*"))
    plan = json.loads(run(*args, "--dry-run", "--json").out)
    assert plan["images"] == 6
    assert plan["weights"] == "IMAGENET1K_V1"
    assert [row["shape"] for row in plan["modules"]] == [[6, 256, 13, 13]] * 2 + [[6, 256, 6, 6]]
    assert plan["bytes"] == 4 * 6 * 256 * (13 * 13 * 2 + 6 * 6)
    text = run(*args, "--dry-run").out
    assert "centre crop 224" in text
    assert max(map(len, text.splitlines())) <= 80
    assert sorted(place.rglob("*")) == before


def test_weights_of_your_own(run: Run, place: Path) -> None:
    import torch

    network = tv.load_model("torchvision/squeezenet1_1", pretrained=False, seed=9)
    torch.save(network.model.state_dict(), place / "mine.pth")
    args = ["extract", "torchvision/squeezenet1_1", "images", "-m", "output"]
    own = run(*args, "--weights", "mine.pth", "-o", "a")
    assert own.code == 0 and own.err.count("The preprocessing was assumed: that of") == 1
    assert run(*args, "--random", "--seed", 9, "-o", "b").code == 0
    np.testing.assert_array_equal(tv.open_features("a")["output"], tv.open_features("b")["output"])
    both = run(*args, "--random", "--weights", "mine.pth", "-o", "c")
    assert both.code == 1 and "pretrained=False is --random" in both.err


def test_a_network_of_your_own(run: Run, place: Path) -> None:
    result = run("extract", "networks.py:make_network", "images", "-m", "0", "-o", "out",
                 "--crop", "20", "--json")  # fmt: skip
    assert result.code == 0, result.err
    assert json.loads(result.out)[0]["shape"] == [6, 4, 16, 16]
    provenance = tv.open_features("out").provenance
    assert provenance["weights"]["made_by"] == "networks.py:make_network"
    plan = run("extract", "networks.py:make_network", "images", "-m", "*", "-o", "a", "--dry-run")
    assert plan.code == 0 and "your own" in plan.out, plan.err


def test_initialisation_reductions_and_interpolation(run: Run, place: Path) -> None:
    options = ["--init", "orthogonal", "--reduction", "output=flatten", "-o", "out",
               "--resize", "70", "--crop", "64", "--interpolation", "bicubic"]  # fmt: skip
    result = run(*ARGS, *options)
    assert result.code == 0, result.err
    found = tv.open_features("out")
    assert found["features.3"].shape == (6, 128, 15, 15) and found["output"].shape == (6, 1000)
    assert found.provenance["modules"] == {"features.3": None, "output": "flatten"}
    assert found.provenance["preprocessing"]["interpolation"] == "bicubic"
    network = tv.load_model("torchvision/squeezenet1_1", False, seed=3, init="orthogonal")
    expected = tv.extract_features(
        network.preprocessed(resize=70, crop=64, interpolation="bicubic"), "images", "output",
        flatten=True, batch_size=4, seed=3,
    )  # fmt: skip
    np.testing.assert_array_equal(found["output"], expected["output"])
    everything = run(*ARGS, "--reduction", "flatten", "-o", "flat", "--dry-run", "--json")
    assert [len(row["shape"]) for row in json.loads(everything.out)["modules"]] == [2, 2]


def test_projections(run: Run, place: Path) -> None:
    result = run(*ARGS, "--project", "features.*=50", "--project", "7", "-o", "out")
    assert result.code == 0, result.err
    found = tv.open_features("out")
    assert found["features.3"].shape == (6, 50) and found["output"].shape == (6, 7)
    network = tv.load_model("torchvision/squeezenet1_1", False, seed=3)
    expected = tv.extract_features(
        network, "images", ["features.3", "output"], project={"features.*": 50, "*": 7},
        batch_size=4, seed=3,
    )  # fmt: skip
    for address in found:
        np.testing.assert_array_equal(found[address], expected[address])
    plan = run(*ARGS, "--project", 9, "--reduction", "features.3=max", "-o", "x", "--dry-run",
               "--json")  # fmt: skip
    assert [row["shape"] for row in json.loads(plan.out)["modules"]] == [[6, 9], [6, 9]]


def test_an_assumed_preprocessing_is_said(run: Run, place: Path) -> None:
    assert run(*ARGS, "-o", "out").err.count("The preprocessing was assumed: that of") == 1
    assert "assumed" not in run(*ARGS, "-o", "out", "--dry-run").err  # its table shows it


def test_arguments_in_the_wrong_order(run: Run, place: Path) -> None:
    result = run("extract", "images", "alexnet", "-m", "output", "-o", "out")
    assert result.code == 2
    assert "NAME IMAGES: thingsvision extract alexnet images" in " ".join(result.err.split())


def test_a_file_in_the_place_of_the_folder(run: Run, place: Path) -> None:
    (place / "taken.txt").touch()
    for args in (ARGS, ["demo"]):
        result = run(*args, "-o", "taken.txt")
        assert result.code == 2 and "'taken.txt' is a file. Give a folder" in result.err


def test_what_is_left_out_is_said_in_one_line(run: Run, place: Path) -> None:
    (place / "images" / "notes.txt").touch()
    result = run(*ARGS, "-o", "out", "--dry-run")
    note, *_, last = result.err.splitlines()
    assert note.startswith("Note: ") and "notes.txt" in note
    assert last.startswith("Nothing was written")


# Stands still in its tenth batch until somebody interrupts it, if it is told to.
STANDING = """\
import os, time
from itertools import count
from torch import nn
import thingsvision as tv

class Net(nn.Flatten):
    calls = count()
    def forward(self, images):
        if "STAND_STILL" in os.environ and next(self.calls) == 10:
            time.sleep(500)
        return super().forward(images)

def make():
    return tv.wrap_model(Net(), tv.Preprocessing(resize=32, crop=24))
"""
# The rows of every batch are listed at once; interrupts are heard, also where tests run in the
# background and all that they start would not.
PROGRAM = """
import signal
signal.signal(signal.SIGINT, signal.default_int_handler)
from thingsvision.cli import main
from thingsvision.store import base
base.SYNC_SECONDS = 0
main(prog_name="thingsvision")
"""


@pytest.mark.skipif(sys.platform == "win32", reason="signals are sent otherwise there")
def test_an_interrupt_keeps_what_is_finished_and_the_same_command_goes_on(
    run: Run, place: Path
) -> None:
    (place / "standing.py").write_text(STANDING, encoding="utf-8")
    for number in range(50):
        (place / "images" / f"{number:03d}.jpg").write_bytes(
            (place / "images" / "animal" / "cat.jpg").read_bytes()
        )
    command = ["extract", "standing.py:make", "images", "-m", "output", "--batch-size", "2",
               "-o", "out"]  # fmt: skip
    with subprocess.Popen(
        [sys.executable, "-c", PROGRAM, *command], env=os.environ | {"STAND_STILL": "1"},
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, encoding="utf-8",
    ) as process:  # fmt: skip
        progress = place / "out" / "progress.txt"
        while process.poll() is None and not progress.exists():
            time.sleep(0.02)
        process.send_signal(signal.SIGINT)
        out, err = process.communicate()
    assert process.returncode == 130, err
    assert out == ""
    assert "Stopped. What was finished is kept" in err
    assert "Traceback" not in err
    assert 0 < len(progress.read_text().splitlines()) < 28
    result = run(*command)
    assert result.code == 0, result.err
    assert len(tv.open_features("out")["output"]) == 56


def test_shards_fill_one_folder(run: Run, place: Path) -> None:
    first = run(*ARGS, "-o", "out", "--shard", "2/2")
    assert (first.code, first.out) == (0, "")
    said = " ".join(first.err.split())
    assert "Shard 2/2 is done: 2 images." in said
    assert "missing yet, of other shards: 1. The last shard completes the folder" in said
    assert run("rdm", "out").code == 1, "unfinished"
    last = run(*ARGS, "-o", "out", "--shard", "1/2")
    assert last.code == 0 and "The features of all images are complete." in last.err
    whole = run(*ARGS, "-o", "whole")
    assert last.out.split() == whole.out.replace("whole/", "out/").split()
    for file in (place / "whole").iterdir():
        assert file.read_bytes() == (place / "out" / file.name).read_bytes()
    for wrong in ("3/2", "two"):
        result = run(*ARGS, "-o", "out", "--shard", wrong)
        assert result.code == 2 and "is no shard" in result.err


def test_a_shard_with_broken_images_ends_with_3(run: Run, place: Path) -> None:
    cat = place / "images" / "animal" / "cat.jpg"
    cat.write_bytes(cat.read_bytes()[:3000])
    assert run(*ARGS, "-o", "out", "--shard", "1/2").code == 3
    assert run(*ARGS, "-o", "out", "--shard", "2/2").code == 0


@pytest.mark.skipif(not is_installed("ray"), reason="ray is not installed")
def test_workers_of_ray(run: Run, place: Path) -> None:
    found = run(*ARGS, "-o", "out", "--engine", "ray", "--workers", "1")
    assert found.code == 0, found.err
    assert found.out.split() == run(*ARGS, "-o", "whole").out.replace("whole/", "out/").split()
    for file in (place / "whole").iterdir():
        assert file.read_bytes() == (place / "out" / file.name).read_bytes()
    again = run(*ARGS, "-o", "out", "--engine", "ray", "--address", "127.0.0.1:1")
    assert again.code == 1 and "Traceback" not in again.err
    assert "The Ray cluster 127.0.0.1:1 cannot be reached" in again.err


@pytest.mark.parametrize("wrong", [["--workers", "2"], ["--engine", "ray", "--shard", "1/2"]])
def test_options_that_do_not_go_together(run: Run, place: Path, wrong: list[str]) -> None:
    result = run(*ARGS, "-o", "out", *wrong)
    assert result.code == 2 and "cannot go with" in result.err


def test_the_help_names_all_reductions(run: Run) -> None:
    said = " ".join(run("extract", "--help").out.split()).replace("- ", "-")
    for name in REDUCTIONS:
        assert name in said


def test_a_dry_run_tells_what_is_there_already(run: Run, place: Path) -> None:
    run(*ARGS, "-o", "out", "--shard", "2/2")
    half = run(*ARGS, "-o", "out", "--dry-run")
    assert "there already  2 images" in half.out
    first = run(*ARGS, "-o", "out", "--shard", "1/2", "--dry-run")
    assert "1/2, which has 1 of the batches" in first.out
    rest = run(*ARGS, "-o", "out")
    assert "2 of 6 are there already; the other 4 are computed." in rest.err
    before = {path: path.read_bytes() for path in (place / "out").iterdir()}
    whole = run(*ARGS, "-o", "out", "--dry-run")
    assert "there already  6 images" in whole.out
    assert "nothing would be computed" in " ".join(whole.err.split())
    other = run(*ARGS, "--flatten", "-o", "out", "--dry-run")
    assert other.code == 1 and "another request" in other.err
    elsewhere = run(*ARGS, "-o", "images", "--dry-run")
    assert elsewhere.code == 1 and "holds other files" in elsewhere.err
    assert {path: path.read_bytes() for path in (place / "out").iterdir()} == before


def test_images_that_came_and_went_are_named(run: Run, place: Path) -> None:
    run(*ARGS, "-o", "out")
    (place / "images" / "food" / "fig.jpg").rename(place / "images" / "food" / "date.jpg")
    result = run(*ARGS, "-o", "out")
    assert result.code == 1
    words = " ".join(result.err.split())
    assert "1 stimulus gone: food/fig.jpg; 1 stimulus new: food/date.jpg. Put them back" in words
    listed = run(*ARGS, "-o", "listed", "--file-names", list_of(place, "b"))
    assert listed.code == 0, listed.err
    turned = run(*ARGS, "-o", "listed", "--file-names", list_of(place, "a"))
    assert turned.code == 1 and "in another order" in " ".join(turned.err.split())


def list_of(place: Path, name: str) -> Path:
    names = ["animal/cat.jpg", "animal/dog.jpg"]
    file = place / f"{name}.txt"
    file.write_text("\n".join(names if name == "a" else names[::-1]) + "\n")
    return file
