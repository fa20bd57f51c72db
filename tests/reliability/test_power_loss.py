"""A power failure: what was not forced onto the disk is lost, wherever it was in the files."""

from __future__ import annotations

import os
from itertools import count
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from thingsvision.backends.toy import ToyBackend
from thingsvision.extraction import extract_features
from thingsvision.store import STORES, base, records
from thingsvision.testing import toy_network

FORMATS = [name for name in ("npy", "hdf5", "zarr", "txt") if name not in STORES.missing()]
IMAGES = np.random.default_rng(0).integers(0, 255, (14, 16, 12, 3), np.uint8)
BATCHES = 7


class PowerFailure(BaseException):
    pass


class Disk:
    """Remembers each file as it was when it was last forced onto the disk."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.forced: dict[int, bytes] = {}
        original = os.fsync

        def fsync(descriptor: int) -> None:
            original(descriptor)
            path = Path(f"/proc/self/fd/{descriptor}").resolve()
            if path.is_file():
                self.forced[path.stat().st_ino] = path.read_bytes()

        monkeypatch.setattr(os, "fsync", fsync)

    def fail(self, folder: Path, spared: str) -> None:
        """Leave files as they were forced, zeros in the place of all else; spare one of them."""
        for path in folder.rglob("*"):
            if path.is_file() and path.name != spared:
                size = path.stat().st_size
                kept = self.forced.get(path.stat().st_ino, b"")[:size]
                path.write_bytes(kept + bytes(size - len(kept)))


def extract(out: Path, format: str) -> None:
    extract_features(
        toy_network(), IMAGES, ["thin", "fc"], out=out, format=format, batch_size=2, progress=False
    )


def contents(folder: Path) -> dict[str, bytes]:
    files = (path for path in folder.rglob("*") if path.is_file())
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in files}


def dying(out: Path, format: str, death: int) -> Disk:
    """Extract until the power fails: at a forward pass or, after the last, between two arrays."""
    passes: list[int] = []
    run, complete = ToyBackend.run, STORES[format].complete
    seconds = count()

    def at_a_pass(self: Any, *args: Any, **options: Any) -> Any:
        passes.append(1)
        if len(passes) == death:
            raise PowerFailure
        return run(self, *args, **options)

    def at_the_end(self: Any, *args: Any) -> None:
        if not passes:
            raise PowerFailure
        passes.clear()
        complete(self, *args)

    with pytest.MonkeyPatch.context() as patch, pytest.raises(PowerFailure):
        disk = Disk(patch)
        patch.setattr(base, "monotonic", lambda: next(seconds))
        patch.setattr(base, "SYNC_SECONDS", 4)  # readings of the clock: a few batches
        patch.setattr(base.Store, "close", lambda self: self.release())
        patch.setattr(ToyBackend, "run", at_a_pass)
        patch.setattr(STORES[format], "complete", at_the_end)
        extract(out, format)
    return disk


@pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="this system has no /proc/self/fd")
@pytest.mark.parametrize("spared", [records.PROGRESS, "nothing"])
@pytest.mark.parametrize("format", FORMATS)
def test_the_same_command_gives_the_same_bytes(tmp_path: Path, format: str, spared: str) -> None:
    extract(tmp_path / "whole", format)
    wanted = contents(tmp_path / "whole")
    went_on = 0
    for death in range(1, BATCHES + 3):
        out = tmp_path / f"{death}"
        disk = dying(out, format, death)
        disk.fail(out, spared)
        went_on += len(records.read_progress(out)) > 0
        extract(out, format)
        assert contents(out) == wanted, death
    # progress.txt itself is not forced: it is only believed where it is whole.
    assert went_on >= 3 if spared == records.PROGRESS else went_on == 0


def test_batches_are_listed_once_their_rows_are_on_the_disk(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    order: list[str] = []
    store, append = STORES["npy"], records.append_progress
    original = store.sync

    def sync(self: Any) -> None:
        order.append("sync")
        original(self)

    def listing(folder: Path, start: int, *rest: Any) -> None:
        order.append(str(start))
        append(folder, start, *rest)

    monkeypatch.setattr(store, "sync", sync)
    monkeypatch.setattr(records, "append_progress", listing)
    monkeypatch.setattr(base, "SYNC_SECONDS", 1000)
    extract(tmp_path / "slow disk", "npy")
    assert order == ["sync", "0", "2", "4", "6", "8", "10", "12"]
    order.clear()
    monkeypatch.setattr(base, "SYNC_SECONDS", 0)
    extract(tmp_path / "every batch", "npy")
    assert order == [word for start in range(0, 14, 2) for word in ("sync", str(start))]
