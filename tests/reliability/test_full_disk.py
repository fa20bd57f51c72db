from __future__ import annotations

import errno
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from thingsvision.errors import StoreError
from thingsvision.extraction import extract_features
from thingsvision.store import npy, records
from thingsvision.testing import toy_network

Numbered = Callable[[int], np.ndarray]
FULL = OSError(errno.ENOSPC, "No space left on device")


def extract(out: Path, images: np.ndarray) -> Any:
    return extract_features(toy_network(), images, ["thin", "fc"], out=out, batch_size=2)


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


@pytest.mark.parametrize("moment", range(12))
@pytest.mark.parametrize(
    ("place", "name"),
    [(npy, "reserve"), (npy, "write_at"), (records, "append_progress"), (records, "write_tables"),
     (records, "write_meta")],
)  # fmt: skip
def test_a_full_disk_is_one_clear_error(
    numbered: Numbered, tmp_path: Path, place: Any, name: str, moment: int
) -> None:
    original = getattr(place, name)
    calls = []

    def full(*args: Any) -> Any:
        calls.append(1)
        if len(calls) - 1 == moment:
            if name == "write_at":  # half of it still fits
                original(args[0], args[1], args[2][: len(args[2]) // 2])
            raise FULL
        return original(*args)

    whole = extract(tmp_path / "whole", numbered(7))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(place, name, full)
        try:
            extract(tmp_path / "out", numbered(7))
        except StoreError as error:
            assert "No space left on device" in str(error) and "same command" in str(error)
        else:
            assert len(calls) <= moment, "the error was swallowed"
    features = extract(tmp_path / "out", numbered(7))
    assert np.array_equal(features["thin"], whole["thin"])
    assert contents(tmp_path / "out") == contents(tmp_path / "whole")


def test_finished_rows_are_kept(
    numbered: Numbered, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    appended = []
    original = records.append_progress

    def full(folder: Path, start: int, *rest: Any) -> None:
        if start == 4 and len(appended) == 2:
            raise FULL
        appended.append(start)
        original(folder, start, *rest)

    monkeypatch.setattr(records, "append_progress", full)
    with pytest.raises(StoreError):
        extract(tmp_path / "out", numbered(7))
    monkeypatch.setattr(records, "append_progress", original)
    assert (tmp_path / "out" / "progress.txt").read_text().count("\n") == 2


@pytest.mark.skipif(not hasattr(os, "posix_fallocate"), reason="this system cannot reserve space")
def test_space_is_reserved_before_the_first_row(
    numbered: Numbered, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(npy, "write_at", lambda *_: (_ for _ in ()).throw(FULL))
    reserved = []
    original = os.posix_fallocate
    monkeypatch.setattr(
        os, "posix_fallocate", lambda *args: reserved.append(args[2]) or original(*args)
    )
    with pytest.raises(StoreError):
        extract(tmp_path / "out", numbered(7))
    assert reserved == []  # the header did not fit
    monkeypatch.undo()
    monkeypatch.setattr(
        os, "posix_fallocate", lambda *args: reserved.append(args[2]) or original(*args)
    )
    extract(tmp_path / "out", numbered(7))
    assert reserved == [128 + 7 * 4 * 3 * 3 * 4, 128 + 7 * 5 * 4]


@pytest.mark.skipif(not hasattr(os, "posix_fallocate"), reason="this system cannot reserve space")
@pytest.mark.parametrize("code", [errno.EOPNOTSUPP, errno.EINVAL])
def test_file_systems_that_cannot_reserve(
    numbered: Numbered, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: int
) -> None:
    def refuse(*_: Any) -> None:
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(os, "posix_fallocate", refuse)
    assert extract(tmp_path / "out", numbered(7))["fc"].shape == (7, 5)


def test_the_system_may_take_less_than_it_is_given(
    numbered: Numbered, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Reluctant(npy.io.FileIO):
        def write(self, data: Any) -> int:
            return super().write(data[:7])

    whole = extract(tmp_path / "whole", numbered(5))
    monkeypatch.setattr(npy.io, "FileIO", Reluctant)
    assert np.array_equal(extract(tmp_path / "out", numbered(5))["thin"], whole["thin"])


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="this system has no /dev/full")
def test_a_device_that_is_really_full(numbered: Numbered, tmp_path: Path) -> None:
    extract(tmp_path / "whole", numbered(5))
    with pytest.raises(StoreError), npy.io.FileIO("/dev/full", "w") as handle:
        store = npy.NpyStore(tmp_path / "out")
        with store._writing():
            npy.write_at(handle, 0, b"rows")
