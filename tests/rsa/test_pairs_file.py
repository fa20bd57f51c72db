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
