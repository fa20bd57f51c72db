from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

import thingsvision as tv
from thingsvision.errors import WeightsError
from thingsvision.rsa.rdm import RDM

from .conftest import Run

NETWORK = "networks.py:make_network@0"


@pytest.fixture
def human(place: Path) -> np.ndarray:
    """Write RDMs of two people for the six photographs, without ids."""
    rng = np.random.default_rng(0)
    pairs = rng.random((2, 15))
    squares = np.stack([RDM(row).square() for row in pairs])
    np.save(place / "human.npy", squares)
    return squares


def test_one_command_gives_figures_table_and_page(run: Run, human: np.ndarray) -> None:
    line = ("rsa", NETWORK, "--images", "images", "--reference", "human=human.npy",
            "--by-position", "--bootstrap", 50, "-o", "out")  # fmt: skip
    done = run(*line)
    assert done.code == 0, done.err
    assert done.out.splitlines()[0].split() == [
        "model", "module", "reference", "estimate", "ci_low", "ci_high", "p",
    ]  # fmt: skip
    assert max(map(len, done.out.splitlines())) <= 80
    assert "begin with report.md" in done.err
    for name in ("report.md", "table.csv", "rdms.png", "rdms.pdf", "bars.png", "bars.pdf"):
        assert (Path("out") / name).is_file()
    again = run(*line, "--json")
    (row,) = json.loads(again.out)
    assert "complete already" in again.err
    assert (row["n_stimuli"], row["n_subjects"]) == (6, 2)


def test_ids_come_from_a_file_or_are_asked_for(run: Run, human: np.ndarray, place: Path) -> None:
    line = ("rsa", NETWORK, "--images", "images", "--reference", "human=human.npy", "-o", "out",
            "--bootstrap", 20)  # fmt: skip
    done = run(*line)
    assert done.code == 1 and "--by-position" in done.err and "Traceback" not in done.err
    assert not Path("out").exists()
    names = sorted(p.relative_to(place / "images").as_posix() for p in place.rglob("*.jpg"))
    Path("ids.txt").write_text("\n".join(names))
    assert run(*line, "--ids", "ids.txt").code == 0


def test_cross_validated_references_may_be_below_zero(run: Run, human: np.ndarray) -> None:
    signed = np.where(np.eye(6), 0, human - 0.5)
    np.save("human.npy", signed)
    line = ("rsa", NETWORK, "--images", "images", "--reference", "human=human.npy",
            "--by-position", "--bootstrap", 20, "-o", "out")  # fmt: skip
    done = run(*line)
    assert done.code and "--reference-dissimilarity" in done.err and "Traceback" not in done.err
    done = run(*line, "--reference-dissimilarity", "human=crossnobis", "--json")
    assert done.code == 0, done.err
    (row,) = json.loads(done.out)
    (network,) = Path("out/rdms").rglob("*.npz")
    network_rdm = tv.load_rdm(network)
    rows = [RDM.from_matrix(one, network_rdm.ids, "crossnobis") for one in signed]
    expected = tv.compare_rdms(network_rdm, rows).to_numpy().mean()
    assert row["estimate"] == pytest.approx(expected)


def test_mistakes_are_said_in_a_line(run: Run, human: np.ndarray) -> None:
    for words, said in {
        ("--images", "images"): "no references",
        ("--reference", "human=human.npy"): "--images, --dataset or --sets",
        ("--images", "images", "--sets", "x.toml"): "cannot go with --sets",
        ("--sets", "x.toml"): "There is no file of sets 'x.toml'",
        ("--images", "images", "--reference", "human="): "NAME=FILE",
        ("--images", "images", "--reference", "human=no.npy"): "There is no file",
        ("--dataset", "objects93"): "objects92",
        ("--images", "images", "--reference-dissimilarity", "human"): "write NAME=crossnobis",
        (
            "--images",
            "images",
            "--reference",
            "human=human.npy",
            "--reference-dissimilarity",
            "humn=crossnobis",
        ): "humn, which is no --reference NAME=FILE; there are human",
        ("--sets", "x.toml", "--reference-dissimilarity", "a=crossnobis"): "cannot go with --sets",
    }.items():
        done = run("rsa", NETWORK, *words, "-o", "out")
        assert done.code and said in " ".join(done.err.split()), done.err
        assert "Traceback" not in done.err


def test_a_network_that_fails_is_named_and_the_rest_is_done(run: Run, human: np.ndarray) -> None:
    done = run("rsa", NETWORK, "torchvision/alexnett", "--images", "images", "--reference",
               "human=human.npy", "--by-position", "--bootstrap", 20, "-o", "out")  # fmt: skip
    assert done.code == 1 and "alexnett" in done.err
    assert len(done.out.splitlines()) == 2


def test_words_of_the_function_are_told_as_options(run: Run, human: np.ndarray) -> None:
    line = ("rsa", NETWORK, "--images", "images", "--reference", "human=human.npy",
            "--by-position", "-o", "out")  # fmt: skip
    done = run(*line, "--bootstrap", 1)
    assert done.code == 1 and "n_resamples= is --bootstrap" in " ".join(done.err.split())


def test_random_weights_are_offered_where_trained_ones_cannot_be_had(
    run: Run, human: np.ndarray, place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise WeightsError("No network.")

    monkeypatch.setattr("thingsvision.report.models.load_model", fail)
    done = run("rsa", "torchvision/alexnet", "--images", "images", "--reference",
               "human=human.npy", "--by-position", "-o", "out")  # fmt: skip
    assert done.code == 1 and "random:torchvision/alexnet takes random weights" in done.err
