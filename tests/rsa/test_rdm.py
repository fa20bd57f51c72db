"""RDM records: making, selecting, saving, and reading what others wrote."""

from __future__ import annotations

import csv
import json
import subprocess
import sys

import h5py
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.io import savemat
from scipy.spatial.distance import pdist, squareform

from thingsvision.errors import InvalidArgument, MismatchError, UnknownName
from thingsvision.features import Features, FeatureSet
from thingsvision.rsa import RDM, compute_rdm, load_rdm
from thingsvision.rsa.matrix import condensed, squared, stimuli_of_pairs

IDS = ("b/1.jpg", "a/1.jpg", "a/ü, 2.jpg", "c/1.jpg")


@pytest.fixture
def rdm() -> RDM:
    values = np.array([0.1, 0.7, 1 / 3, 0.25, 1.5, 0.9])
    return RDM(values, IDS, "cosine", {"model": "toy/net", "module": "fc"}, "toy")


def test_it_is_a_square_matrix_for_numpy(rdm):
    matrix = np.asarray(rdm)
    np.testing.assert_array_equal(matrix, squareform(rdm.dissimilarities))
    assert len(rdm) == rdm.n_stimuli == 4
    assert np.asarray(rdm, dtype=np.float32).dtype == np.float32
    assert RDM(rdm.dissimilarities.astype(np.float32)).square().dtype == np.float32


def test_it_prints_in_one_line(rdm):
    assert repr(rdm) == "RDM('toy', 4 stimuli, cosine, float64)"
    assert repr(RDM(np.ones(3))) == "RDM(3 stimuli, float64, without ids)"


@given(st.integers(2, 40))
def test_layouts_are_those_of_scipy(count):
    pairs = np.random.default_rng(count).random(count * (count - 1) // 2)
    np.testing.assert_array_equal(squared(pairs), squareform(pairs))
    np.testing.assert_array_equal(condensed(squareform(pairs)), pairs)
    assert stimuli_of_pairs(len(pairs)) == count
    assert count == 2 or stimuli_of_pairs(len(pairs) + 1) is None


@pytest.mark.parametrize(
    ("values", "ids", "message"),
    [
        (np.ones(4), None, "4 values, which is no number of pairs"),
        (np.ones(0), None, "0 values, which is no number of pairs"),
        (np.array([1, np.nan, 1]), None, "NaN or infinity between 0 – 2"),
        (np.array([1, 1, np.inf]), ("a", "b", "c"), "NaN or infinity between b – c"),
        (np.ones(3), ("a", "b"), "3 stimuli, but 2 ids"),
        (np.ones(3), ("a", "b", "a"), "stand for several stimuli: a"),
        (np.array([1, -1, 2]), ("a", "b", "c"), r"negative values \(down to -1\) between a – c"),
        (np.array([1, 0.3j, 2]), None, "holds complex128, not real numbers"),
        (np.array(["1", "2", "3"]), None, "holds <U1, not real numbers"),
        (np.array([1, None, 2]), None, "holds object, not real numbers"),
    ],
)
def test_what_is_no_rdm_is_refused(values, ids, message):
    with pytest.raises(InvalidArgument, match=message):
        RDM(values, ids)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda m: m[:3], r"shape \(3, 4\), which is no square matrix"),
        (lambda m: 1 - m, "not zero on its diagonal .* similarity"),
        (lambda m: np.triu(m), "not symmetric"),
        (lambda m: -m, "negative values"),
        (lambda m: m + np.diag([np.nan] * 4), "NaN or infinity on or below its diagonal"),
        (lambda m: np.where(m > 1, np.nan, m), "NaN or infinity between a/1.jpg – c/1.jpg"),
        (lambda m: m.astype(str), "not real numbers"),
    ],
)
def test_a_foreign_matrix_is_checked(rdm, tmp_path, change, message):
    matrix = change(rdm.square())
    with pytest.raises(InvalidArgument, match=message):
        RDM.from_matrix(matrix, IDS)
    if matrix.dtype.kind == "f":
        np.save(tmp_path / "foreign.npy", matrix)
        with pytest.raises(InvalidArgument, match=rf"foreign.npy.*{message}"):
            load_rdm(tmp_path / "foreign.npy", ids=IDS)


def test_rounding_is_tolerated(rdm):
    matrix = rdm.square()
    matrix[1, 0] += 1e-6
    matrix[2, 2] = -1e-7
    np.testing.assert_array_equal(RDM.from_matrix(matrix).dissimilarities, rdm.dissimilarities)


def test_negative_pairs_are_those_of_cross_validated_measures():
    values = np.array([1.0, -0.2, 2.0])
    for name in ("crossnobis", "poisson_cv"):
        assert RDM(values, dissimilarity=name).dissimilarities.min() < 0
    for name in ("", "correlation", "mahalanobis", "of my own"):
        with pytest.raises(InvalidArgument, match=r"between 0 – 2, .*RDM\(pairs, ids, 'crossn"):
            RDM(values, dissimilarity=name)
    tiny = np.array([1.0, -2e-16, 2.0])  # what rounding leaves of correlation distances
    np.testing.assert_array_equal(RDM(tiny).dissimilarities, tiny)


def test_many_bad_pairs_are_named_by_position(monkeypatch):
    monkeypatch.setattr("thingsvision.rsa.matrix.STEP", 7)
    values = np.ones(66)
    first, second = np.triu_indices(12, 1)
    values[[3, 20, 65, *range(40, 50)]] = np.nan
    pairs = [f"{first[k]} – {second[k]}" for k in (3, 20, *range(40, 48))]
    with pytest.raises(InvalidArgument, match=f"between {', '.join(pairs)} and 3 more"):
        RDM(values)


@pytest.mark.parametrize("place", [(0, 9), (9, 0), (8, 9), (4, 3)])
@pytest.mark.parametrize("bad", [np.nan, -5.0, 7.0])
def test_tiles_leave_no_part_unseen(monkeypatch, rng, place, bad):
    square = squareform(rng.random(45))
    monkeypatch.setattr("thingsvision.rsa.matrix.TILE", 4)
    np.testing.assert_array_equal(RDM.from_matrix(square).square(), square)
    square[place] = bad
    with pytest.raises(InvalidArgument):
        RDM.from_matrix(square)


def test_select_reorders_and_takes_subsets(rdm):
    some = rdm.select([IDS[3], IDS[0], IDS[1]])
    np.testing.assert_array_equal(some.square(), rdm.square()[np.ix_([3, 0, 1], [3, 0, 1])])
    assert some.ids == (IDS[3], IDS[0], IDS[1])
    assert (some.name, some.dissimilarity, some.provenance) == ("toy", "cosine", rdm.provenance)
    assert rdm.select(IDS).dissimilarities is rdm.dissimilarities


def test_select_refuses(rdm):
    with pytest.raises(MismatchError, match=r"2 of 3 ids are not among the 4 stimuli.*: x, y\."):
        rdm.select(["x", IDS[0], "y"])
    with pytest.raises(InvalidArgument, match=r"several stimuli: b/1.jpg"):
        rdm.select([IDS[0], IDS[0], IDS[1]])
    with pytest.raises(InvalidArgument, match="carries no ids to select by"):
        RDM(np.ones(3)).select(["a"])


def test_one_text_is_no_list_of_ids(rdm):
    with pytest.raises(InvalidArgument, match=r"put it in a list: rdm\.select\(\['abc'\]\)"):
        rdm.select("abc")
    with pytest.raises(InvalidArgument, match="put it in a list"):
        RDM(np.ones(3), ids="abc")
    with pytest.raises(InvalidArgument, match="put it in a list"):
        RDM.from_matrix(1 - np.eye(3), ids="abc")


def test_compute_refuses_an_rdm(rdm):
    with pytest.raises(InvalidArgument, match=r"is an RDM already.*compare_rdms\(a, b\)"):
        compute_rdm(rdm)
    assert len(compute_rdm(rdm.square())) == len(rdm)


def test_compute_takes_features_sets_and_arrays(rng):
    array = rng.normal(size=(6, 3, 4, 4)).astype(np.float32)
    ids = tuple(f"{n}.jpg" for n in range(6))
    features = Features(array, ids, "features.10", provenance={"model": "torchvision/alexnet"})
    true = pdist(array.reshape(6, -1).astype(float), "correlation")
    for given_ in (features, FeatureSet({"features.10": features}), array, array.tolist()):
        rdm = compute_rdm(given_)
        np.testing.assert_allclose(rdm.dissimilarities, true, rtol=1e-5)
    rdm = compute_rdm(features, "euclidean")
    assert (rdm.ids, rdm.dissimilarity, rdm.name) == (
        ids,
        "euclidean",
        "torchvision/alexnet features.10",
    )
    assert rdm.provenance == {"model": "torchvision/alexnet", "module": "features.10"}
    assert rdm.dissimilarities.dtype == np.float32
    assert compute_rdm(array).ids is None


def test_compute_names_a_model_that_is_a_record(rng):
    about = {"model": {"name": "timm/vit", "seed": 0}}
    features = Features(rng.normal(size=(3, 5)), ("a", "b", "c"), "fc", provenance=about)
    assert compute_rdm(features).name == "timm/vit fc"


def test_compute_names_the_stimuli_it_refuses(rng):
    array = rng.normal(size=(4, 5))
    array[2] = 1
    features = Features(array, ("a.jpg", "b.jpg", "c.jpg", "d.jpg"), "fc")
    with pytest.raises(InvalidArgument, match=r"undefined .* 1 stimuli: c\.jpg\."):
        compute_rdm(features)
    array[0, 0] = np.nan
    with pytest.raises(InvalidArgument, match=r"NaN or infinity is found in 1 stimuli: a\.jpg\."):
        compute_rdm(features, "cosine")


def test_compute_refuses(rng):
    features = Features(rng.normal(size=(3, 5)), ("a", "b", "c"), "fc")
    with pytest.raises(UnknownName, match="no dissimilarity 'pearson'"):
        compute_rdm(features, "pearson")
    with pytest.raises(InvalidArgument, match="2 modules: fc, conv"):
        compute_rdm(FeatureSet({"fc": features, "conv": features}))
    with pytest.raises(InvalidArgument, match="at least two stimuli"):
        compute_rdm(np.ones((1, 4)))
    with pytest.raises(InvalidArgument, match=r"shape \(0, 4\)"):
        compute_rdm(np.ones((0, 4)))
    with pytest.raises(InvalidArgument, match="several stimuli: a"):
        compute_rdm(Features(np.eye(3), ("a", "b", "a")))


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("ids", [IDS, None])
def test_npz_keeps_all(rdm, tmp_path, dtype, ids):
    saved = RDM(rdm.dissimilarities.astype(dtype), ids, "cosine", rdm.provenance, "toy")
    path = saved.save(tmp_path / "new/folder/toy.npz")
    again = load_rdm(path)
    assert again.dissimilarities.dtype == dtype
    np.testing.assert_array_equal(again.dissimilarities, saved.dissimilarities)
    assert (again.ids, again.dissimilarity, again.name) == (ids, "cosine", "toy")
    assert again.provenance == saved.provenance
    with np.load(path, allow_pickle=False) as file:
        assert json.loads(str(file["about"]))["provenance"]["module"] == "fc"


def test_npz_keeps_negative_estimates(tmp_path):
    estimates = RDM(np.array([-0.1, 0.4, 0.2]), ("a", "b", "c"), "crossnobis")
    again = load_rdm(estimates.save(tmp_path / "crossnobis.npz"))
    np.testing.assert_array_equal(again.dissimilarities, estimates.dissimilarities)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("ids", [IDS, None, ("1", "2", "3", "4"), ("a;b", "a b", 'a"b', "a\tb")])
def test_csv_keeps_numbers_and_ids(rdm, tmp_path, dtype, ids):
    saved = RDM(rdm.dissimilarities.astype(dtype), ids, "cosine")
    again = load_rdm(saved.save(tmp_path / "toy.csv"))
    np.testing.assert_array_equal(again.dissimilarities.astype(dtype), saved.dissimilarities)
    assert again.ids == ids
    assert again.dissimilarity == ("" if ids is None else "cosine")
    assert again.name == "toy"


def test_pandas_reads_the_csv(rdm, tmp_path):
    import pandas as pd

    table = pd.read_csv(rdm.save(tmp_path / "toy.csv"), index_col=0)
    assert tuple(table.index) == tuple(table.columns) == IDS
    np.testing.assert_array_equal(table.to_numpy(), rdm.square())
    table.to_csv(tmp_path / "pandas.csv")
    assert load_rdm(tmp_path / "pandas.csv").ids == IDS


@pytest.mark.parametrize("separator", [",", "\t", ";", "  "])
@pytest.mark.parametrize("layout", ["plain", "header", "index", "condensed"])
def test_foreign_text(rdm, tmp_path, separator, layout):
    rows = [[str(value) for value in row] for row in rdm.square()]
    ids = ["one", "two", "3", "4"]
    if layout == "header":
        rows = [ids, *rows]
    if layout == "index":
        rows = [[name, *row] for name, row in zip(ids, rows, strict=True)]
    if layout == "condensed":
        rows = [[str(value)] for value in rdm.dissimilarities]
    path = tmp_path / "foreign.txt"
    path.write_text("\ufeff" + "\n".join(separator.join(row) for row in rows) + "\n\n", "utf-8")
    found = load_rdm(path)
    np.testing.assert_array_equal(found.dissimilarities, rdm.dissimilarities)
    assert found.ids == (tuple(ids) if layout in ("header", "index") else None)


def test_bad_text_is_refused(rdm, tmp_path):
    path = tmp_path / "bad.csv"
    path.write_text("0,1\n1,0,3\n")
    with pytest.raises(InvalidArgument, match="rows differ in length"):
        load_rdm(path)
    for text in ("0;0,5\n0,5;0\n", "0,0;0,5\n0,5;0,0\n", "0;0,5;1,5\n0,5;0;1,2\n1,5;1,2;0\n"):
        path.write_text(text)
        with pytest.raises(InvalidArgument, match=r"no number .*decimal point"):
            load_rdm(path)
    path.write_text("")
    with pytest.raises(InvalidArgument, match="it is empty"):
        load_rdm(path)
    with path.open("w", newline="") as file:
        csv.writer(file).writerows([["", "a", "b"], ["b", 0, 1], ["a", 1, 0]])
    with pytest.raises(InvalidArgument, match="columns otherwise than its rows: a / b, b / a"):
        load_rdm(path)


def test_ids_come_from_the_caller_or_a_file(rdm, tmp_path):
    np.save(tmp_path / "bare.npy", rdm.square())
    assert load_rdm(tmp_path / "bare.npy").ids is None
    assert load_rdm(tmp_path / "bare.npy", ids=list(IDS)).ids == IDS
    (tmp_path / "ids.txt").write_text("\n".join(IDS) + "\n", encoding="utf-8")
    assert load_rdm(tmp_path / "bare.npy", ids=tmp_path / "ids.txt").ids == IDS
    with pytest.raises(InvalidArgument, match="4 stimuli, but 3 ids"):
        load_rdm(tmp_path / "bare.npy", ids=IDS[:3])
    saved = rdm.save(tmp_path / "own.npz")
    assert load_rdm(saved, ids=IDS).ids == IDS
    with pytest.raises(InvalidArgument, match="names its stimuli itself"):
        load_rdm(saved, ids=IDS[::-1])
    with pytest.raises(InvalidArgument, match=r"no list of ids .*nowhere.txt"):
        load_rdm(tmp_path / "bare.npy", ids=tmp_path / "nowhere.txt")


@pytest.mark.parametrize("squareness", [True, False])
def test_npy(rdm, tmp_path, squareness):
    np.save(tmp_path / "it.npy", rdm.square() if squareness else rdm.dissimilarities)
    found = load_rdm(tmp_path / "it.npy")
    np.testing.assert_array_equal(found.dissimilarities, rdm.dissimilarities)
    assert found.provenance == {"file": "it.npy"}
    with pytest.raises(InvalidArgument, match="one array without a name"):
        load_rdm(tmp_path / "it.npy", variable="it")
    np.save(tmp_path / "stack.npy", np.zeros((3, 4, 4)))
    with pytest.raises(InvalidArgument, match=r"shape \(3, 4, 4\), which is no square"):
        load_rdm(tmp_path / "stack.npy")


def test_nothing_is_unpickled(tmp_path):
    class Trap:
        def __reduce__(self):
            return (print, ("sprung",))

    np.save(tmp_path / "trap.npy", np.array([Trap()]), allow_pickle=True)
    with pytest.raises(InvalidArgument, match=r"cannot be read as .npy"):
        load_rdm(tmp_path / "trap.npy")
    np.savez(tmp_path / "trap.npz", trap=np.array([Trap()]))
    with pytest.raises(InvalidArgument, match="nothing that can be read safely"):
        load_rdm(tmp_path / "trap.npz")


@pytest.mark.parametrize("squareness", [True, False])
def test_mat_with_one_rdm(rdm, tmp_path, squareness):
    array = rdm.square() if squareness else rdm.dissimilarities
    savemat(tmp_path / "one.mat", {"rdm": array, "about": "text", "colour": [0, 0, 1], "n": 4})
    found = load_rdm(tmp_path / "one.mat")
    np.testing.assert_array_equal(found.dissimilarities, rdm.dissimilarities)


def test_mat_with_several(rdm, tmp_path):
    other = rdm.square() * 2
    savemat(tmp_path / "two.mat", {"human": rdm.square(), "monkey": {"RDM": other}})
    with pytest.raises(InvalidArgument, match=r"2 arrays .*human \(4, 4\), monkey.RDM \(4, 4\)"):
        load_rdm(tmp_path / "two.mat")
    found = load_rdm(tmp_path / "two.mat", variable="monkey.RDM")
    np.testing.assert_array_equal(found.square(), other)
    with pytest.raises(UnknownName, match=r"no variable 'monke'. Nearest: monkey.RDM"):
        load_rdm(tmp_path / "two.mat", variable="monke")
    savemat(tmp_path / "none.mat", {"stack": np.zeros((3, 4, 4))})
    with pytest.raises(InvalidArgument, match=r"holds no RDM.*stack \(3, 4, 4\)"):
        load_rdm(tmp_path / "none.mat")


def test_mat_version_73(rdm, tmp_path):
    path = tmp_path / "hdf5.mat"
    with h5py.File(path, "w", userblock_size=512) as file:
        file["rdms/human"] = rdm.square()
        file["name"] = np.arange(7, dtype=np.uint16)
        file["#refs#/a"] = rdm.square()
    header = b"MATLAB 7.3 MAT-file".ljust(116) + bytes(8) + b"\x00\x02IM"
    with path.open("r+b") as raw:
        raw.write(header)
    np.testing.assert_array_equal(load_rdm(path).square(), rdm.square())
    assert load_rdm(path, variable="rdms.human").n_stimuli == 4


def test_public_mat_files(kriegeskorte92, things):
    path = kriegeskorte92 / "92_brainRDMs.mat"
    with pytest.raises(InvalidArgument, match=r"holds 8 arrays .*RDMs\[0\].RDM \(92, 92\)"):
        load_rdm(path)
    assert len(load_rdm(path, variable="RDMs[3].RDM")) == 92
    names = (things / "names48.txt").read_text().split("\n")
    human = load_rdm(things / "RDM48_triplet.mat", ids=things / "names48.txt")
    assert human.n_stimuli == 48
    assert human.ids is not None
    assert human.ids[0] == names[0]


def test_public_npz_with_python_objects_inside(fmri78):
    path = fmri78 / "ref/RDM_cosine_layer4.npz"
    assert load_rdm(path).n_stimuli == 78
    with pytest.raises(InvalidArgument, match=r"holds no RDM.*arr_0 \(15, 78, 78\)"):
        load_rdm(fmri78 / "fmri_IT_RDMs.npz")


@pytest.mark.parametrize(
    ("dissimilarity", "reference", "tolerance"),
    [
        ("correlation", "pearson", 1.5e-4),
        ("cosine", "cosine", 1e-5),
        ("euclidean", "euclidean", 4e-5),
    ],
)
def test_resnet18_rdms_of_another_toolbox(fmri78, dissimilarity, reference, tolerance):
    """Tolerances are twice what the reference, in float32, is off from float64."""
    features = np.load(fmri78 / "ref/resnet18_layer4_78x512x7x7_float32.npy")
    theirs = load_rdm(fmri78 / f"ref/RDM_{reference}_layer4.npz").dissimilarities
    ours = compute_rdm(features, dissimilarity).dissimilarities
    assert ours.dtype == np.float32
    np.testing.assert_allclose(ours, theirs, rtol=0, atol=tolerance)
    true = compute_rdm(features.astype(np.float64), dissimilarity).dissimilarities
    np.testing.assert_allclose(ours, true, rtol=1e-5)


def test_unknown_files_are_refused(rdm, tmp_path):
    with pytest.raises(UnknownName, match=r"no RDM file format '.pkl'. Nearest"):
        rdm.save(tmp_path / "toy.pkl")
    with pytest.raises(UnknownName, match=r"no RDM file format '.pkl'"):
        load_rdm(tmp_path / "toy.pkl")
    with pytest.raises(InvalidArgument, match="There is no file"):
        load_rdm(tmp_path / "toy.npz")
    (tmp_path / "cut.npz").write_bytes(rdm.save(tmp_path / "toy.npz").read_bytes()[:200])
    with pytest.raises(InvalidArgument, match=r"cannot be read as .npz .*Is it complete"):
        load_rdm(tmp_path / "cut.npz")


def test_the_import_is_light():
    code = "import sys, thingsvision.rsa; print([n for n in ('scipy', 'pandas', 'torch', 'matplotlib', 'h5py') if n in sys.modules])"  # noqa: E501
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
