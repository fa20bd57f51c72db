"""The demo: from the photographs to the figure, and nothing twice."""

from __future__ import annotations

import csv
import json
import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import thingsvision as tv
from thingsvision.demo import PHOTOGRAPHS

from .conftest import Run, needs_weights

# Classes among the thousand that a person would accept for the photograph.
SEEN = {
    "animal/bison.jpg": "bison",
    "animal/dog.jpg": "German shepherd",
    "building/castle.jpg": "castle",
    "food/espresso.jpg": "espresso",
    "object/paintbrushes.jpg": "paintbrush",
}


@needs_weights
def test_from_photographs_to_figure_and_nothing_twice(
    run: Run, place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = run("demo", "-o", "it")
    assert first.code == 0, first.err
    assert max(map(len, first.out.splitlines())) <= 80
    assert "\nDone." in first.out
    assert "thingsvision extract checkpoints/efficientnet_lite0 images " in first.out

    features = tv.open_features("it/features")
    photographs = sorted(path.relative_to(PHOTOGRAPHS).as_posix() for path in
                         PHOTOGRAPHS.rglob("*.jpg"))  # fmt: skip
    assert features["blocks.5"].shape == (len(photographs), 192, 7, 7)
    assert sorted(features["blocks.5"].ids) == photographs
    modules = [name for name in features if name != "output"]
    assert modules == [*(f"blocks.{number}" for number in range(7)), "global_pool"]
    for name in modules:
        saved = tv.load_rdm(f"it/rdms/{name}.npz")
        expected = tv.compute_rdm(features[name], dissimilarity="correlation")
        np.testing.assert_array_equal(saved.dissimilarities, expected.dissimilarities)
    with Image.open("it/rdm.png") as figure:
        assert min(figure.size) > 800
    with Path("it/classes.csv").open(newline="", encoding="utf-8") as file:
        best = {row["photograph"]: row["best class"] for row in csv.DictReader(file)}
    assert list(best) == list(features["output"].ids)
    assert {name: best[name] for name in SEEN} == SEEN
    times = {path: path.stat().st_mtime_ns for path in Path("it").rglob("*") if path.is_file()}

    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("a forward pass was taken")

    monkeypatch.setattr("thingsvision.backends.torch.TorchBackend.run", refuse)
    second = run("demo", "-o", "it")
    assert second.code == 0, second.err
    assert "Everything was there already" in second.out
    assert {path: path.stat().st_mtime_ns for path in times} == times

    Path("it/rdm.png").unlink()
    assert "\nDone." in run("demo", "-o", "it").out  # mended without a forward pass
    assert Path("it/rdm.png").is_file()
    rows = json.loads(run("demo", "-o", "it", "--json").out)
    assert {row["photograph"]: row["best class"] for row in rows} == best


def test_without_the_weights_the_install_command_is_shown(
    run: Run, place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def missing(name: str) -> None:
        raise ImportError(f"No module named {name!r}")

    monkeypatch.setattr("thingsvision.optional.importlib.import_module", missing)
    result = run("demo")
    assert result.code == 1
    assert 'pip install ".[demo]"' in result.err
    assert not Path("thingsvision-demo").exists()


def test_the_credits_name_exactly_the_photographs() -> None:
    credits = PHOTOGRAPHS.with_name("CREDITS.md").read_text(encoding="utf-8")
    rows = [line.split(" | ") for line in credits.splitlines() if line.startswith("| `")]
    named = [re.sub(r"[|` ]", "", row[0]) for row in rows]
    shipped = [path.relative_to(PHOTOGRAPHS).as_posix() for path in PHOTOGRAPHS.rglob("*")
               if path.is_file()]  # fmt: skip
    assert sorted(named) == sorted(shipped)
    assert len(shipped) >= 12
    licences = {row[3] for row in rows}
    assert licences <= {"public domain", "CC0-1.0", "CC-BY-2.0", "CC-BY-4.0"}
    assert all(row[2].strip() and row[4].strip() for row in rows)


def test_every_class_has_two_photographs() -> None:
    for folder in PHOTOGRAPHS.iterdir():
        assert len(list(folder.glob("*.jpg"))) >= 2
