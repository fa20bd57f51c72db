"""Files with the RDMs of several subjects: recognised, or asked about; never guessed."""

from __future__ import annotations

import tracemalloc
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from scipy.io import savemat
from scipy.spatial.distance import squareform

import thingsvision as tv
from thingsvision.errors import InvalidArgument, UnknownName


@pytest.fixture
def condensed() -> np.ndarray:
    """Seven subjects, twelve stimuli."""
    return np.random.default_rng(0).random((7, 66))


def layouts(condensed: np.ndarray) -> dict[str, np.ndarray]:
    squares = np.stack([squareform(row) for row in condensed])
    return {
        "condensed": condensed,
        "condensed, subjects last": condensed.T,
        "square": squares,
        "square, subjects last": np.moveaxis(squares, 0, 2),
        "square, subjects between": np.moveaxis(squares, 0, 1),
    }


@pytest.mark.parametrize("layout", layouts(np.zeros((7, 66))))
@pytest.mark.parametrize("suffix", [".npy", ".npz", ".mat", "7.3.mat"])
def test_every_layout_is_recognised(
    tmp_path: Path, condensed: np.ndarray, layout: str, suffix: str
) -> None:
    array = layouts(condensed)[layout]
    path = tmp_path / f"subjects{suffix}"
    if suffix == ".npy":
        np.save(path, array)
    elif suffix == ".npz":
        np.savez(path, arr_0=array, subject_age=np.arange(7))
    elif suffix == ".mat":
        savemat(path, {"rdms": array, "age": np.arange(7)})
    else:
        with h5py.File(path, "w", userblock_size=512) as file:
            file["rdms"] = array.T  # as MATLAB lays it out
        head = b"MATLAB 7.3 MAT-file".ljust(116) + bytes(8) + b"\x00\x02IM"
        with path.open("r+b") as raw:
            raw.write(head)
    rdms = tv.load_rdms(path)
    assert len(rdms) == 7 and rdms[0].n_stimuli == 12
    # A 7.3 file has its axes reversed; what is symmetric stays.
    for rdm, row in zip(rdms, condensed, strict=True):
        np.testing.assert_allclose(rdm.dissimilarities, row)


def test_text_with_a_row_or_a_column_for_each_subject(
    tmp_path: Path, condensed: np.ndarray
) -> None:
    np.savetxt(tmp_path / "rows.csv", condensed, delimiter=",")
    np.savetxt(tmp_path / "columns.txt", condensed.T)
    for name in ("rows.csv", "columns.txt"):
        found = tv.load_rdms(tmp_path / name, ids=[f"s{k}" for k in range(12)])
        np.testing.assert_allclose([rdm.dissimilarities for rdm in found], condensed)
        assert found[3].ids is not None and found[3].ids[11] == "s11"
        assert found[3].name == f"{name.split('.')[0]} 4"


def test_structures_with_a_matrix_each(tmp_path: Path, condensed: np.ndarray) -> None:
    entries = np.array([(squareform(row), f"s{k}") for k, row in enumerate(condensed)],
                       dtype=[("RDM", object), ("name", object)])  # fmt: skip
    savemat(tmp_path / "a.mat", {"RDMs": entries})
    found = tv.load_rdms(tmp_path / "a.mat")
    np.testing.assert_allclose([rdm.dissimilarities for rdm in found], condensed)


def test_one_rdm_is_a_list_of_one(tmp_path: Path, condensed: np.ndarray) -> None:
    np.save(tmp_path / "one.npy", squareform(condensed[0]))
    np.save(tmp_path / "row.npy", condensed[0])
    for name in ("one.npy", "row.npy"):
        (rdm,) = tv.load_rdms(tmp_path / name)
        np.testing.assert_allclose(rdm.dissimilarities, condensed[0])


def ambiguous() -> dict[str, tuple[np.ndarray, tuple[int, ...]]]:
    random = np.random.default_rng(0)
    squares = np.stack([squareform(random.random(3)) for _ in range(3)])
    return {"cube": (squares, (0,)), "pairs": (random.random((10, 45)), (0, 1))}


@pytest.mark.parametrize("kind", ambiguous())
def test_what_can_be_read_in_two_ways_is_asked_about(tmp_path: Path, kind: str) -> None:
    array, axes = ambiguous()[kind]
    np.save(tmp_path / "a.npy", array)
    with pytest.raises(InvalidArgument, match=r"along axis \d or \d.*axis="):
        tv.load_rdms(tmp_path / "a.npy")
    for axis in axes:
        assert len(tv.load_rdms(tmp_path / "a.npy", axis=axis)) == array.shape[axis]


def test_several_stacks_are_asked_about(tmp_path: Path, condensed: np.ndarray) -> None:
    np.savez(tmp_path / "a.npz", V1=condensed, IT=condensed + 1)
    with pytest.raises(InvalidArgument, match=r"2 arrays.*V1 \(7, 66\).*variable='V1'"):
        tv.load_rdms(tmp_path / "a.npz")
    found = tv.load_rdms(tmp_path / "a.npz", variable="IT")
    np.testing.assert_allclose(found[0].dissimilarities, condensed[0] + 1)
    with pytest.raises(UnknownName, match="variable 'V2'"):
        tv.load_rdms(tmp_path / "a.npz", variable="V2")


def test_what_rsatoolbox_saves(tmp_path: Path, condensed: np.ndarray) -> None:
    rsatoolbox = pytest.importorskip("rsatoolbox")
    ids = [f"image {k}" for k in range(12)]
    rdms = rsatoolbox.rdm.RDMs(condensed, pattern_descriptors={"image": ids})
    rdms.save(str(tmp_path / "a.h5"), "hdf5")
    assert tv.load_rdms(tmp_path / "a.h5")[0].dissimilarity == ""
    found = tv.load_rdms(tmp_path / "a.h5")
    np.testing.assert_allclose([rdm.dissimilarities for rdm in found], condensed)
    assert found[0].ids == tuple(ids)
    with pytest.raises(InvalidArgument, match="leave out ids"):
        tv.load_rdms(tmp_path / "a.h5", ids=list("abcdefghijkl"))


@pytest.mark.parametrize("layout", layouts(np.zeros((7, 66))))
def test_a_large_file_is_mapped(
    tmp_path: Path, layout: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of condensed RDMs nothing is in memory, of square ones the pairs, half of them."""
    monkeypatch.setattr("thingsvision.rsa.files.MAPPED", 2**20)
    monkeypatch.setattr("thingsvision.rsa.matrix.STEP", 2**12)
    monkeypatch.setattr("thingsvision.rsa.matrix.TILE", 2**6)
    condensed = np.random.default_rng(0).random((7, 300 * 299 // 2))
    np.save(tmp_path / "subjects.npy", np.ascontiguousarray(layouts(condensed)[layout]))
    tracemalloc.start()
    rdms = tv.load_rdms(tmp_path / "subjects.npy")
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < condensed.nbytes * (0.05 if "condensed" in layout else 1.3)
    for rdm, row in zip(rdms, condensed, strict=True):
        np.testing.assert_array_equal(rdm.dissimilarities, row)


def test_a_large_file_is_checked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("thingsvision.rsa.files.MAPPED", 0)
    broken = np.random.default_rng(0).random((7, 66))
    broken[4, 3] = np.nan
    for array in layouts(broken).values():
        np.save(tmp_path / "subjects.npy", array)
        with pytest.raises(InvalidArgument, match="'subjects 5' holds NaN or .* between 0 – 4"):
            tv.load_rdms(tmp_path / "subjects.npy")


@pytest.mark.parametrize(
    ("array", "words"),
    [(np.ones((3, 4)), r"holds no RDMs.*\(3, 4\)"), (np.ones((2, 3, 4)), "holds no RDMs"),
     (np.array(["a"]), "holds no RDMs")],
)  # fmt: skip
def test_files_without_rdms(tmp_path: Path, array: np.ndarray, words: str) -> None:
    np.save(tmp_path / "a.npy", array)
    with pytest.raises(InvalidArgument, match=words):
        tv.load_rdms(tmp_path / "a.npy")


def test_other_mistakes(tmp_path: Path, condensed: np.ndarray) -> None:
    with pytest.raises(InvalidArgument, match="no file"):
        tv.load_rdms(tmp_path / "none.mat")
    with pytest.raises(InvalidArgument, match="no file"):
        tv.load_rdms(tmp_path / "none.h5")
    with pytest.raises(UnknownName, match="file format"):
        tv.load_rdms(tmp_path / "a.pkl")
    np.save(tmp_path / "a.npy", condensed)
    with pytest.raises(InvalidArgument, match=r"Along axis 1.*\(7, 66\)"):
        tv.load_rdms(tmp_path / "a.npy", axis=1)
    (tmp_path / "broken.mat").write_bytes(b"no such file")
    with pytest.raises(InvalidArgument, match="cannot be read"):
        tv.load_rdms(tmp_path / "broken.mat")
    with h5py.File(tmp_path / "b.h5", "w") as file:
        file["x"] = 1
    with pytest.raises(InvalidArgument, match=r"lacks 'dissimilarities'.*x"):
        tv.load_rdms(tmp_path / "b.h5")


def test_the_files_of_the_92_objects(shared: Path) -> None:
    folder = shared / "kriegeskorte92"
    if not folder.is_dir():
        pytest.skip("the folder kriegeskorte92 is not among the shared data")
    assert len(tv.load_rdms(folder / "92_behavRDMs.mat")) == 16
    assert len(tv.load_rdms(folder / "92_brainRDMs.mat")) == 8
    expected: dict[str, Any] = {"EVC": 15, "IT": 15}
    for region, count in expected.items():
        found = tv.load_rdms(shared / "fmri78" / f"fmri_{region}_RDMs.npz")
        assert len(found) == count and found[0].n_stimuli == 78


@pytest.mark.parametrize("suffix", [".npz", ".csv"])
def test_ids_of_our_own_files_are_read(suffix: str, tmp_path: Path) -> None:
    ids = ("b.jpg", "a.jpg", "d.jpg", "c.jpg")
    rdm = tv.RDM(np.random.default_rng(0).random(6), ids)
    (read,) = tv.load_rdms(rdm.save(tmp_path / f"rdm{suffix}"))
    assert read.ids == ids
    np.testing.assert_array_equal(read.dissimilarities, rdm.dissimilarities)
    with pytest.raises(InvalidArgument, match="names its stimuli itself"):
        tv.load_rdms(tmp_path / f"rdm{suffix}", ids[::-1])


def test_negative_estimates_are_taken_from_cross_validated_measures(
    tmp_path: Path, condensed: np.ndarray
) -> None:
    estimates = condensed - condensed.mean()
    np.save(tmp_path / "a.npy", estimates)
    for name in ("", "euclidean"):
        with pytest.raises(InvalidArgument, match=r"holds negative values .* 'crossnobis'"):
            tv.load_rdms(tmp_path / "a.npy", dissimilarity=name)
    found = tv.load_rdms(tmp_path / "a.npy", dissimilarity="crossnobis")
    np.testing.assert_array_equal([rdm.dissimilarities for rdm in found], estimates)
    for suffix in (".npz", ".csv"):
        named = tv.RDM(estimates[0], tuple("abcdefghijkl"), "crossnobis")
        path = named.save(tmp_path / f"b{suffix}")
        again = tv.load_rdms(path)[0]
        np.testing.assert_array_equal(again.dissimilarities, estimates[0])
        assert again.dissimilarity == tv.load_rdm(path).dissimilarity == "crossnobis"
        for load in (tv.load_rdm, tv.load_rdms):
            with pytest.raises(
                InvalidArgument, match="says that its dissimilarity is 'crossnobis'"
            ):
                load(path, dissimilarity="poisson_cv")
    np.save(tmp_path / "c.npy", estimates[0])
    assert tv.load_rdm(tmp_path / "c.npy", dissimilarity="crossnobis").dissimilarities.min() < 0


def test_rsatoolbox_says_how_it_measured(tmp_path: Path, condensed: np.ndarray) -> None:
    rsatoolbox = pytest.importorskip("rsatoolbox")
    for theirs, ours in (("crossnobis", "crossnobis"), ("squared mahalanobis", "mahalanobis")):
        values = condensed - condensed.mean() if theirs == "crossnobis" else condensed
        path = tmp_path / f"{ours}.h5"
        rsatoolbox.rdm.RDMs(values, dissimilarity_measure=theirs).save(str(path), "hdf5")
        found = tv.load_rdms(path)
        assert found[0].dissimilarity == ours
        np.testing.assert_allclose([rdm.dissimilarities for rdm in found], values)
