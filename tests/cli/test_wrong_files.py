"""Whatever is given in the place of a file, the program says what it got and what to do next."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

import thingsvision as tv
from thingsvision.store.records import META, NAMES, STIMULI

from .conftest import Result, Run

NET = ("networks.py:make_network", "images", "-m", "0")
KINDS = ("none", "folder", "empty", "binary")
# Option or argument by name -> the command that it stands in, and how the file is called.
PLACES = {
    "images": (("extract", NET[0], "{}", "-m", "0", "-o", "o"), ""),
    "table": (("extract", NET[0], "{}", "-m", "0", "-o", "o"), ".csv"),
    "hdf5": (("extract", NET[0], "{}", "-m", "0", "-o", "o"), ".h5"),
    "file names": (("extract", *NET, "-o", "o", "--file-names", "{}"), ".txt"),
    "rows": (("extract", *NET, "-o", "o", "--rows", "{}"), ".txt"),
    "weights": (("extract", "torchvision/alexnet", *NET[1:], "-o", "o", "--weights", "{}"), ".pth"),
    "network": (("modules", "{}:make"), ".py"),
    "file names of rdm": (("rdm", *NET, "--file-names", "{}"), ".txt"),
    "features": (("rdm", "{}"), ""),
    "verified": (("verify", "{}"), ""),
    "described": (("methods", "{}"), ""),
    "converted": (("convert", "{}", "--to", "mat"), ""),
    "repeats": (("rdm", "store", "--repeats", "{}"), ".csv"),
    "photographs": (("rdm", "store", "-m", "0", "--plot", "a.png", "--images", "{}"), ""),
    "compared": (("compare", "{}", "first.npz"), ".npz"),
    "compared table": (("compare", "{}", "first.npz"), ".csv"),
    "compared pairs": (("compare", "{}", "first.npz"), ".npy"),
    "ids": (("compare", "first.npz", "bare.npy", "--ids", "{}"), ".txt"),
    "diff": (("diff", "store", "{}"), ".npy"),
    "diff of archives": (("diff", "store", "{}"), ".npz"),
    "diff of hdf5": (("diff", "store", "{}"), ".h5"),
    "diff of mat": (("diff", "store", "{}"), ".mat"),
    "diff of text": (("diff", "store", "{}"), ".txt"),
    "sets": (("rsa", NET[0], "--sets", "{}", "-o", "o"), ".toml"),
    "reference": (("rsa", NET[0], "--images", "images", "--reference", "x={}", "-o", "o"), ".npz"),
    "reference in hdf5": (
        ("rsa", NET[0], "--images", "images", "--reference", "x={}", "-o", "o"), ".h5",
    ),
    "order": (
        ("rsa", NET[0], "--images", "images", "--reference", "x=six.npy", "--by-position",
         "--order", "{}", "-o", "o"), ".txt",
    ),
}  # fmt: skip


@pytest.fixture
def store(place: Path, rdms: object) -> Path:
    network = tv.load_model(NET[0])
    tv.extract_features(network, "images", "0", out="store", progress=False)
    square = np.abs(np.subtract.outer(np.arange(6.0), np.arange(6.0)))
    np.save(place / "six.npy", square)
    return place / "store"


def check(result: Result) -> str:
    said = " ".join(result.err.split())
    assert result.code in (1, 2), result.out
    assert "Error: " in said
    for word in ("Errno", "Traceback", "not foreseen", "codec", "allow_pickle"):
        assert word not in said
    assert max(map(len, result.err.splitlines())) <= 80
    return said


@pytest.mark.parametrize("what", PLACES)
def test_every_option_that_takes_a_file(run: Run, store: Path, what: str) -> None:
    command, suffix = PLACES[what]
    (store.parent / f"folder{suffix}").mkdir()
    (store.parent / f"folder{suffix}" / "notes").touch()
    (store.parent / f"empty{suffix}").touch()
    (store.parent / f"binary{suffix}").write_bytes(bytes(range(256)) * 3)
    for kind in KINDS:
        said = check(run(*(word.format(f"{kind}{suffix}") for word in command)))
        assert kind in said, said


BROKEN: dict[str, Callable[[Path], object]] = {
    "no JSON": lambda folder: (folder / META).write_text("hello"),
    "an empty record": lambda folder: (folder / META).write_text(""),
    "a binary record": lambda folder: (folder / META).write_bytes(bytes(range(256))),
    "another record": lambda folder: (folder / META).write_text("[]"),
    "no stimuli": lambda folder: (folder / STIMULI).unlink(),
    "binary stimuli": lambda folder: (folder / STIMULI).write_bytes(bytes(range(256))),
    "no array": lambda folder: (folder / "0.npy").unlink(),
    "an empty array": lambda folder: (folder / "0.npy").write_bytes(b""),
}


@pytest.mark.parametrize("what", BROKEN)
def test_folders_of_features_that_are_broken(run: Run, store: Path, what: str) -> None:
    BROKEN[what](store)
    for command in (("rdm", "store"), ("convert", "store", "--to", "mat"), ("modules", "store")):
        said = check(run(*command))
        assert "'store'" in said and "xtract the features again" in said


def test_names_that_are_no_text_are_found_by_verify(run: Run, store: Path) -> None:
    (store / NAMES).write_bytes(bytes(range(256)))
    result = run("verify", "store", "--sample", "0")
    assert result.code == 1 and f"{NAMES} does not name the rows" in " ".join(result.out.split())


@pytest.mark.parametrize(
    "command",
    [("extract", *NET, "-o", "taken/deep"), ("demo", "-o", "taken/deep"),
     ("rdm", "store", "-o", "taken/deep/one.npz"), ("rdm", "store", "--plot", "taken/deep"),
     ("rsa", NET[0], "--images", "images", "--reference", "x=six.npy", "-o", "taken")],
)  # fmt: skip
def test_no_folder_lies_in_a_file(run: Run, store: Path, command: tuple[str, ...]) -> None:
    (store.parent / "taken").touch()
    said = check(run(*command))
    assert "'taken'" in said and "is a file" in said


def test_a_store_that_is_whole_is_read(run: Run, store: Path) -> None:
    shutil.copytree(store, "copy")
    assert run("diff", "store", "copy").code == 0
