"""Arrays of more than 2³¹ elements, whose last batch alone is written, into a file of holes.

Not ``pt``, ``txt``, ``csv`` and ``parquet``, nor ``mat`` by default: they are written as a whole,
so that nothing of such an array is cheap. ``mat`` and ``pt`` are under ``slow``; text and tables of
this size (8 GB and more, read as a whole) are not tested, and nothing in them counts elements
in 32 bits but pyarrow, which is given a few rows at a time.
"""

from __future__ import annotations

import errno
import os
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from thingsvision.stimuli import StimulusSet
from thingsvision.store import STORES, disk, mat, records

ROWS, FEATURES, BATCH = 2049, 2**20 + 1, 1
AXES = ("stimulus", "feature")
DIGEST = "0" * 64


class Named(StimulusSet):
    """Stimuli without pictures."""

    def digest(self, row: int) -> str:
        return DIGEST


@pytest.fixture
def last_row(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Any:
    """Write the last row of an array in a format, on a file system that reserves no space."""

    def cannot(*_: Any) -> None:
        raise OSError(errno.EOPNOTSUPP, "no space is reserved")

    if hasattr(os, "posix_fallocate"):
        monkeypatch.setattr(disk.os, "posix_fallocate", cannot)

    def write(format: str) -> tuple[Any, np.ndarray]:
        stimuli = Named(
            tuple(f"{row:04}" for row in range(ROWS)), (np.zeros((1, 1, 3), "u1"),) * ROWS
        )
        store = STORES[format](tmp_path / "out")
        row = np.random.default_rng(0).integers(1, 255, (1, FEATURES), np.uint8)
        with closing(store):
            store.begin({"batch_size": BATCH}, {}, stimuli)
            for start in range(ROWS - 1):  # as though they had been written
                records.append_progress(store.folder, start, [DIGEST])
                store._written[start] = [DIGEST]
            store.write(ROWS - 1, {"fc": row}, {"fc": AXES}, [DIGEST])
            store.finish()
        return store.read()["fc"], row

    return write


def check(found: Any, row: np.ndarray) -> None:
    assert found.shape == (ROWS, FEATURES) and found.dtype == np.uint8
    assert ROWS * FEATURES > 2**31
    assert np.array_equal(found[-1], row[0])
    assert np.array_equal(found[[ROWS - 1]], row)


@pytest.mark.parametrize("format", ["npy", "hdf5", "zarr"])
def test_rows_beyond_32_bits(format: str, last_row: Any, tmp_path: Path) -> None:
    if format in STORES.missing():
        pytest.skip(f"{format} needs a package that is absent")
    found, row = last_row(format)
    check(found, row)
    assert not found[0].any()  # a hole
    files = [path for path in (tmp_path / "out").rglob("*") if path.is_file()]
    if hasattr(os.stat_result, "st_blocks"):
        assert sum(path.stat().st_blocks * 512 for path in files) < 2**25, "files without holes"


@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("format", ["mat", "pt"])
def test_whole_files_beyond_32_bits(format: str, last_row: Any, tmp_path: Path) -> None:
    found, row = last_row(format)
    check(found, row)
    if format == "mat":
        import h5py

        assert ROWS * FEATURES > mat.LARGEST
        with h5py.File(tmp_path / "out" / "fc.mat") as file:  # of version 7.3
            assert np.array_equal(file["features"][:, -1], row[0])
