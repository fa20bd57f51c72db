from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

import thingsvision
from thingsvision.errors import StoreError
from thingsvision.extraction import extract_features
from thingsvision.store import open_features
from thingsvision.store.convert import convert_features
from thingsvision.store.lock import hold
from thingsvision.testing import toy_network

Numbered = Callable[[int], np.ndarray]

HOLDER = """
import sys, time
from thingsvision.store.lock import hold
with hold(sys.argv[1], sys.argv[2]):
    print("held", flush=True)
    time.sleep(300)
"""


def holder(folder: Path, part: str = "") -> subprocess.Popen[str]:
    source = str(Path(thingsvision.__file__).parents[1])
    process = subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(folder), part], stdout=subprocess.PIPE, text=True,
        env={**os.environ, "PYTHONPATH": source},
    )  # fmt: skip
    assert process.stdout is not None and process.stdout.readline() == "held\n"
    return process


def end(process: subprocess.Popen[str]) -> None:
    """End as ``kill -9`` does."""
    with process:
        process.kill()


def test_a_second_process_is_refused_until_the_first_is_dead(
    numbered: Numbered, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    first = holder(out)
    try:
        with pytest.raises(StoreError, match="'.*out' is being written by another process"):
            extract_features(toy_network(), numbered(4), "fc", out=out)
        assert [path.name for path in out.iterdir()] == [".lock"], "nothing was mixed in"
    finally:
        end(first)
    assert (out / ".lock").exists(), "a dead process cannot clear it away"
    features = extract_features(toy_network(), numbered(4), "fc", out=out)
    assert features["fc"].shape == (4, 5) and not (out / ".lock").exists()


def test_two_runs_in_one_process(numbered: Numbered, tmp_path: Path) -> None:
    with hold(tmp_path / "out"), pytest.raises(StoreError, match="another process"):
        extract_features(toy_network(), numbered(4), "fc", out=tmp_path / "out")


def test_parts_do_not_exclude_each_other(tmp_path: Path) -> None:
    first = holder(tmp_path, "1-of-2")
    try:
        with hold(tmp_path, "2-of-2"):
            pass
        for part in ("1-of-2", "", "3-of-7"):  # the same one, the whole, and of other parts
            with pytest.raises(StoreError, match="Shard 1/2 of"), hold(tmp_path, part):
                pass
    finally:
        end(first)
    with hold(tmp_path, "1-of-2"):
        pass
    assert list(tmp_path.iterdir()) == []
    with hold(tmp_path), pytest.raises(StoreError, match="'.*' is being"), hold(tmp_path, "2-of-2"):
        pass
    with hold(tmp_path):
        pass


def test_converting_holds_its_target(numbered: Numbered, tmp_path: Path) -> None:
    extract_features(toy_network(), numbered(4), "fc", out=tmp_path / "out")
    with hold(tmp_path / "mat"), pytest.raises(StoreError, match="another process"):
        convert_features(tmp_path / "out", tmp_path / "mat", "mat")


def test_it_is_let_go_after_an_error(numbered: Numbered, tmp_path: Path) -> None:
    with pytest.raises(RuntimeError), hold(tmp_path):
        raise RuntimeError
    with hold(tmp_path):
        pass


def test_finished_features_are_read_where_nothing_can_be_written(
    numbered: Numbered, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "out"
    extract_features(toy_network(), numbered(4), "fc", out=out)

    def refuse(*_: object, **__: object) -> None:
        raise PermissionError(13, "Permission denied")

    with monkeypatch.context() as patch:
        patch.setattr("thingsvision.store.lock.FileLock.acquire", refuse)
        again = extract_features(toy_network(), numbered(4), "fc", out=out)
    assert np.array_equal(again["fc"], open_features(out)["fc"])
