"""Pairs that are written to disk as they are computed."""

from __future__ import annotations

import errno
import subprocess
import sys

import numpy as np
import pytest

from thingsvision.errors import InvalidArgument, StoreError
from thingsvision.features import Features
from thingsvision.rsa import blocked, compute_rdm, load_rdm
from thingsvision.store import disk

PEAK = """
import resource, sys
import numpy as np
from thingsvision.rsa import compute_rdm
x = np.random.default_rng(0).standard_normal((12_000, 16), dtype=np.float32)
compute_rdm(x[:3_000])
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
rdm = compute_rdm(x, out=sys.argv[1])
print(len(rdm), rdm.dissimilarities.nbytes // 1024,
      resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
"""

READ = """
import resource, sys
import numpy as np
from thingsvision.rsa import load_rdm
np.random.default_rng(0).random(1_000_000).sum()
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
rdm = load_rdm(sys.argv[1])
grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
print(len(rdm), type(rdm.dissimilarities.base).__name__, grown)
"""


@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.float16, np.int32])
@pytest.mark.parametrize("name", ["correlation", "squared_euclidean", "gaussian", "mahalanobis"])
def test_the_file_holds_what_memory_would(rng, tmp_path, monkeypatch, name, dtype):
    monkeypatch.setattr(blocked, "BAND", 32)
    ids = tuple(f"{row}.jpg" for row in range(101))
    features = Features((10 * rng.normal(size=(101, 20))).astype(dtype), ids)
    path = tmp_path / "new" / "pairs.npy"
    rdm = compute_rdm(features, name, out=path)
    expected = compute_rdm(features, name)
    assert rdm.ids == ids
    assert rdm.dissimilarities.dtype == expected.dissimilarities.dtype
    np.testing.assert_array_equal(rdm.dissimilarities, expected.dissimilarities)
    np.testing.assert_array_equal(np.load(path), expected.dissimilarities)
    assert len(load_rdm(path, ids=ids)) == 101
    assert [file.name for file in path.parent.iterdir()] == ["pairs.npy"]


@pytest.mark.skipif(sys.platform != "linux", reason="pages are counted otherwise elsewhere")
def test_memory_is_less_than_the_pairs(tmp_path):
    command = [sys.executable, "-c", PEAK, str(tmp_path / "pairs.npy")]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    stimuli, pairs, grown = map(int, done.stdout.split())
    assert stimuli == 12_000
    assert pairs > 280_000  # kB
    assert grown < pairs / 2


@pytest.mark.skipif(sys.platform != "linux", reason="pages are counted otherwise elsewhere")
@pytest.mark.parametrize("order", ["condensed", "C", "F"])
def test_a_large_file_is_not_in_memory_as_a_whole(tmp_path, rng, order):
    path, count = tmp_path / "large.npy", 9_000
    shape = (count * (count - 1) // 2,) if order == "condensed" else (count, count)
    file = np.lib.format.open_memmap(path, "w+", np.float32, shape, fortran_order=order == "F")
    step = 1000
    if order == "condensed":
        file[:] = rng.random(len(file), dtype=np.float32)
    else:
        for row in range(0, count, step):
            part = rng.random((step, count), dtype=np.float32)
            file[row : row + step] = part
            file[:, row : row + step] = part.T
        for row in range(0, count, step):  # the later of two writes is in both halves
            file[row : row + step, row : row + step] = np.triu(
                file[row : row + step, row : row + step], 1
            )
            file[row : row + step, row : row + step] += file[row : row + step, row : row + step].T
    file.flush()
    expected = file[:5].copy() if order == "condensed" else file[0, 1:6].copy()
    del file
    command = [sys.executable, "-c", READ, str(path)]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=300)
    stimuli, kind, grown = done.stdout.split()
    size = path.stat().st_size / 1024
    assert int(stimuli) == count
    assert (kind == "memmap") == (order == "condensed")
    # A condensed file stays on disk; of a square one the pairs, half of it, are kept.
    assert int(grown) < size * (0.5 if order == "condensed" else 0.8), (grown, size)
    np.testing.assert_array_equal(load_rdm(path).dissimilarities[:5], expected)


def test_a_mapped_file_is_checked(tmp_path, monkeypatch, rng):
    monkeypatch.setattr("thingsvision.rsa.files.MAPPED", 0)
    pairs = rng.random(45)
    for values in (pairs, pairs.astype(np.float32), np.arange(1, 46), pairs.astype(">f8")):
        np.save(tmp_path / "good.npy", values)
        found = load_rdm(tmp_path / "good.npy")
        np.testing.assert_array_equal(found.dissimilarities, values)
        assert found.dissimilarities.dtype == (np.float32 if values.itemsize == 4 else np.float64)
    for place, bad, words in (
        (3, np.nan, "NaN or infinity between 0 – 4"),
        (9, -3, "negative .*1 – 2"),
    ):
        broken = pairs.copy()
        broken[place] = bad
        np.save(tmp_path / "bad.npy", broken)
        with pytest.raises(InvalidArgument, match=rf"bad.npy holds {words}"):
            load_rdm(tmp_path / "bad.npy")


def test_what_fails_leaves_no_file(rng, tmp_path, monkeypatch):
    path = tmp_path / "pairs.npy"
    features = rng.normal(size=(6, 4))
    with pytest.raises(InvalidArgument, match=r"does not end in .npy"):
        compute_rdm(features, out=tmp_path / "pairs.npz")
    features[3] = 1
    with pytest.raises(InvalidArgument, match=r"all equal.* 1 rows .*: 3"):
        compute_rdm(features, out=path)
    assert not list(tmp_path.iterdir())

    def full(descriptor: int, size: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(disk, "reserve", full)
    with pytest.raises(StoreError, match=r"pairs.npy needs .* GB, for which there is no room"):
        compute_rdm(features, "euclidean", out=path)
    assert not list(tmp_path.iterdir())


def test_a_second_run_replaces_the_first(rng, tmp_path):
    path = tmp_path / "pairs.npy"
    first = compute_rdm(rng.normal(size=(6, 4)), out=path)
    kept = first.dissimilarities.copy()
    second = compute_rdm(rng.normal(size=(8, 4)), out=path)
    assert (len(first), len(second)) == (6, 8)
    np.testing.assert_array_equal(first.dissimilarities, kept)  # its file lives on unnamed
