"""Responses: joined by id, read from what labs have, with their reliability."""

from __future__ import annotations

from itertools import combinations
from pathlib import Path

import h5py
import numpy as np
import pytest
from scipy.io import savemat
from scipy.spatial.distance import pdist
from scipy.stats import pearsonr

import thingsvision as tv
from thingsvision.errors import InvalidArgument, MismatchError, ThingsvisionWarning, UnknownName
from thingsvision.responses.reliability import spearman_brown, split_half_reliability

IDS = ("a.jpg", "b.jpg", "c.jpg", "d.jpg", "e.jpg")


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(0)


@pytest.fixture
def betas(rng):
    return rng.normal(size=(5, 7))


def test_they_are_features_of_which_rdms_are_made(betas):
    responses = tv.load_responses(betas, IDS, name="IT")
    assert repr(responses) == "Responses('IT', 5 stimuli × 7 targets, float64)"
    assert isinstance(responses, tv.Features) and responses.axes == ("stimulus", "target")
    rdm = tv.compute_rdm(responses)
    assert rdm.ids == IDS and rdm.name == "IT"
    np.testing.assert_allclose(rdm.dissimilarities, pdist(betas, "correlation"), rtol=1e-10)


def test_stimuli_and_targets_are_selected(betas):
    responses = tv.Responses(
        betas, IDS, "IT", target_names=tuple("tuvwxyz"), reliability=np.arange(7) / 10
    )
    chosen = responses.select(["d.jpg", "a.jpg"])
    assert isinstance(chosen, tv.Responses) and chosen.ids == ("d.jpg", "a.jpg")
    np.testing.assert_array_equal(chosen.array, betas[[3, 0]])
    reliable = responses.select_targets(responses.reliability > 0.35)
    assert reliable.target_names == ("x", "y", "z") and reliable.array.shape == (5, 3)
    np.testing.assert_array_equal(responses.select_targets([6, 0]).array, betas[:, [6, 0]])
    with pytest.raises(MismatchError, match="1 of 2 ids are not among .*: no"):
        responses.select(["a.jpg", "no"])
    for wrong, reason in (
        ([False] * 7, "at least one"),
        ([True], r"shape \(1,\)"),
        ([7], "0 to 6"),
    ):
        with pytest.raises(InvalidArgument, match=reason):
            responses.select_targets(wrong)


def test_the_noise_ceiling_is_the_root_of_the_reliability(betas):
    known = np.array([0.25, 1.0, -0.2, np.nan, 0, 0.5, 0.81])
    ceiling = tv.Responses(betas, IDS, reliability=known).noise_ceiling
    np.testing.assert_allclose(ceiling, [0.5, 1, np.nan, np.nan, np.nan, np.sqrt(0.5), 0.9])
    assert tv.Responses(betas, IDS).noise_ceiling is None


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        ({"ids": IDS[:4]}, "5 rows but 4 ids"),
        ({"ids": None}, "does not say which row"),
        ({"ids": ("a.jpg", *IDS[:4])}, "several rows: a.jpg.*trials=True"),
        ({"ids": IDS, "axes": ("target", "stimulus")}, "7 rows but 5 ids"),
        ({"ids": IDS, "axes": ("stimulus", "voxel")}, "does not describe"),
        ({"ids": IDS, "axes": ("stimulus", "stimulus")}, "does not describe"),
        ({"ids": IDS, "mask": np.ones(6)}, r"mask has shape \(6,\).*7 targets"),
        ({"ids": IDS, "mask": np.zeros(7)}, "zero everywhere"),
        ({"ids": "a.jpg"}, "no list of ids 'a.jpg'"),
    ],
)
def test_what_does_not_fit_is_refused(betas, arguments, reason):
    with pytest.raises(InvalidArgument, match=reason):
        tv.load_responses(betas, **arguments)


def test_columns_of_stimuli_are_pointed_out(betas):
    with pytest.raises(InvalidArgument, match=r'say axes=\("target", "stimulus"\)'):
        tv.load_responses(betas.T, IDS)
    turned = tv.load_responses(betas.T, IDS, axes=("target", "stimulus"))
    np.testing.assert_array_equal(turned.array, betas)


def test_three_axes_have_to_be_named(rng):
    cube = rng.normal(size=(5, 3, 2))
    with pytest.raises(InvalidArgument, match=r"shape \(5, 3, 2\)\. Say what its axes are"):
        tv.load_responses(cube, IDS)
    flat = tv.load_responses(cube, IDS, axes=("stimulus", "target", "target"))
    np.testing.assert_array_equal(flat.array, cube.reshape(5, 6))
    assert flat.reliability is None
    mean = tv.load_responses(cube.transpose(1, 2, 0), IDS, axes=("repeat", "target", "stimulus"))
    np.testing.assert_allclose(mean.array, cube.mean(axis=1))
    assert mean.reliability.shape == (2,) and mean.provenance["repeats"] == 3


# --- reliability ------------------------------------------------------------------------


def test_two_repeats_are_spearman_brown_of_their_correlation(rng):
    repeats = rng.normal(size=(20, 2, 3)) + rng.normal(size=(20, 1, 3))
    r = np.array([pearsonr(repeats[:, 0, t], repeats[:, 1, t])[0] for t in range(3)])
    np.testing.assert_allclose(split_half_reliability(repeats), 2 * r / (1 + r), rtol=1e-12)


def test_all_ways_to_split_are_taken(rng):
    repeats = rng.normal(size=(30, 4, 1)) + rng.normal(size=(30, 1, 1))
    halves = [(h, [n for n in range(4) if n not in h]) for h in combinations(range(4), 2)]
    r = np.mean(
        [pearsonr(repeats[:, a].mean(1)[:, 0], repeats[:, b].mean(1)[:, 0])[0] for a, b in halves]
    )
    np.testing.assert_allclose(split_half_reliability(repeats), 2 * r / (1 + r), rtol=1e-12)


@pytest.mark.parametrize("n_repeats", [2, 3, 5, 12])
def test_it_recovers_a_known_signal_to_noise_ratio(rng, n_repeats):
    signal = rng.normal(size=(4000, 1, 3))
    noise = rng.normal(size=(4000, n_repeats, 3)) * [0.5, 1.0, 2.0]
    true = 1 / (1 + np.array([0.25, 1.0, 4.0]) / n_repeats)
    found = split_half_reliability(signal + noise, seed=1)
    np.testing.assert_allclose(found, true, atol=0.03)
    np.testing.assert_array_equal(found, split_half_reliability(signal + noise, seed=1))


def test_noise_is_not_reliable_and_constants_have_none(rng):
    noise = rng.normal(size=(2000, 4, 2))
    noise[..., 1] = 3.7
    found = split_half_reliability(noise)
    assert abs(found[0]) < 0.1 and np.isnan(found[1])
    with pytest.raises(InvalidArgument, match="two repeats"):
        split_half_reliability(noise[:, :1])


def test_spearman_brown_where_it_is_not_defined():
    np.testing.assert_allclose(spearman_brown([0.0, 0.5, -1.0, -0.5]), [0, 2 / 3, np.nan, -2])
    np.testing.assert_allclose(spearman_brown(0.2, 5), 1 / 1.8)


def test_trials_are_averaged_by_id(rng):
    trials = rng.normal(size=(10, 3))
    ids = ["b", "a", "c", "a", "d", "b", "e", "c", "e", "d"]
    found = tv.load_responses(trials, ids, trials=True)
    assert found.ids == ("b", "a", "c", "d", "e")
    np.testing.assert_allclose(found.array[1], trials[[1, 3]].mean(axis=0))
    pairs = trials[[[0, 5], [1, 3], [2, 7], [4, 9], [6, 8]]]
    np.testing.assert_allclose(found.reliability, split_half_reliability(pairs))
    with pytest.warns(ThingsvisionWarning, match="1 to 3 trials each"):
        uneven = tv.load_responses(trials, ["a", *ids[1:]], trials=True)
    assert uneven.reliability is None
    np.testing.assert_allclose(uneven.array[0], trials[[0, 1, 3]].mean(axis=0))


# --- files ------------------------------------------------------------------------------


def matlab73(path: Path, array: np.ndarray, ids: tuple[str, ...]) -> None:
    """Write a file as MATLAB 7.3 lays it out: axes reversed, texts as references."""
    with h5py.File(path, "w") as file:
        group = file.create_group("data")
        group.create_dataset("betas", data=array.T).attrs["MATLAB_class"] = np.bytes_("double")
        cells = []
        for number, name in enumerate(ids):
            text = file.create_dataset(
                f"#refs#/{number}", data=np.array([[ord(c)] for c in name], np.uint16)
            )
            text.attrs["MATLAB_class"] = np.bytes_("char")
            cells.append([text.ref])
        column = np.array(cells, dtype=h5py.ref_dtype).T
        file.create_dataset("ids", data=column).attrs["MATLAB_class"] = np.bytes_("cell")


def test_matlab_files_of_both_versions(tmp_path, betas):
    old, new = tmp_path / "old.mat", tmp_path / "new.mat"
    cells = np.empty((5, 1), object)
    cells[:, 0] = IDS
    savemat(old, {"data": {"betas": betas}, "ids": cells, "tr": 2.0})
    matlab73(new, betas, IDS)
    for path in (old, new):
        found = tv.load_responses(path)
        assert found.ids == IDS and found.module == path.stem
        np.testing.assert_array_equal(found.array, betas)
        named = tv.load_responses(path, variable="data.betas", name="V1")
        assert named.module == "V1" and named.provenance["variable"] == "data.betas"
        with pytest.raises(UnknownName, match="no variable 'betas'.*data.betas"):
            tv.load_responses(path, variable="betas")
        with pytest.raises(InvalidArgument, match="names its stimuli itself"):
            tv.load_responses(path, IDS[::-1])


def test_several_matrices_are_asked_about(tmp_path, betas):
    path = tmp_path / "two.mat"
    savemat(path, {"left": betas, "right": betas + 1})
    with pytest.raises(InvalidArgument, match=r"left \(5, 7\), right \(5, 7\).*variable='left'"):
        tv.load_responses(path, IDS)
    np.testing.assert_array_equal(tv.load_responses(path, IDS, variable="right").array, betas + 1)


def test_arrays_and_tables(tmp_path, betas):
    np.save(tmp_path / "v1.npy", betas)
    np.savez(tmp_path / "v1.npz", betas=betas, ids=np.array(IDS))
    (tmp_path / "ids.txt").write_text("\n".join(IDS))
    lines = ["id," + ",".join("tuvwxyz")]
    lines += [
        f"{name}," + ",".join(map(repr, row.tolist())) for name, row in zip(IDS, betas, strict=True)
    ]
    (tmp_path / "v1.csv").write_text("\n".join(lines))
    mapped = tv.load_responses(tmp_path / "v1.npy", ids=tmp_path / "ids.txt")
    assert isinstance(mapped.array.base, np.memmap) or isinstance(mapped.array, np.memmap)
    table = tv.load_responses(tmp_path / "v1.csv")
    assert table.target_names == tuple("tuvwxyz")
    for found in (mapped, table, tv.load_responses(tmp_path / "v1.npz")):
        assert found.ids == IDS
        np.testing.assert_array_equal(found.array, betas)


def test_files_that_are_none(tmp_path):
    with pytest.raises(InvalidArgument, match="no file"):
        tv.load_responses(tmp_path / "absent.mat", IDS)
    (tmp_path / "x.mat").write_bytes(b"nothing")
    with pytest.raises(InvalidArgument, match=r"cannot be read as \.mat"):
        tv.load_responses(tmp_path / "x.mat", IDS)
    (tmp_path / "x.docx").write_bytes(b"nothing")
    with pytest.raises(UnknownName, match="no response file format '.docx'"):
        tv.load_responses(tmp_path / "x.docx", IDS)
    np.save(tmp_path / "objects.npy", np.array([{}], object), allow_pickle=True)
    with pytest.raises(InvalidArgument, match="cannot be read as"):
        tv.load_responses(tmp_path / "objects.npy", IDS)


# --- images -----------------------------------------------------------------------------


@pytest.mark.parametrize("suffix", [".nii", ".nii.gz"])
@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.int16])
def test_nifti_inside_a_mask(tmp_path, rng, suffix, dtype):
    nibabel = pytest.importorskip("nibabel")
    volumes = (rng.normal(size=(3, 4, 2, 5)) * 100).astype(dtype)
    mask = rng.random((3, 4, 2)) > 0.5
    nibabel.save(nibabel.Nifti1Image(volumes, np.eye(4)), tmp_path / f"betas{suffix}")
    nibabel.save(nibabel.Nifti1Image(mask.astype(np.uint8), np.eye(4)), tmp_path / "it.nii.gz")
    for chosen in (mask, tmp_path / "it.nii.gz"):
        found = tv.load_responses(tmp_path / f"betas{suffix}", IDS, mask=chosen)
        np.testing.assert_array_equal(found.array, volumes[mask].T)
        assert found.module == "betas" and found.ids == IDS
        assert found.array.dtype == (np.float64 if dtype == np.float64 else np.float32)
    everything = tv.load_responses(tmp_path / f"betas{suffix}", IDS)
    np.testing.assert_array_equal(everything.array, volumes.reshape(-1, 5).T)
    np.testing.assert_allclose(
        tv.compute_rdm(found, "euclidean").dissimilarities,
        pdist(volumes[mask].T.astype(float)), rtol=1e-5,
    )  # fmt: skip


def test_masks_that_lie_elsewhere_are_refused(tmp_path, rng):
    nibabel = pytest.importorskip("nibabel")
    nibabel.save(nibabel.Nifti1Image(rng.normal(size=(3, 4, 2, 5)), np.eye(4)), tmp_path / "b.nii")
    shifted = np.eye(4)
    shifted[0, 3] = 2
    nibabel.save(nibabel.Nifti1Image(np.ones((3, 4, 2), np.uint8), shifted), tmp_path / "m.nii")
    with pytest.raises(InvalidArgument, match="different affines"):
        tv.load_responses(tmp_path / "b.nii", IDS, mask=tmp_path / "m.nii")
    with pytest.raises(InvalidArgument, match=r"mask has shape \(4, 3, 2\)"):
        tv.load_responses(tmp_path / "b.nii", IDS, mask=np.ones((4, 3, 2)))
    with pytest.raises(InvalidArgument, match="5 rows but 4 ids"):
        tv.load_responses(tmp_path / "b.nii", IDS[:4])
    (tmp_path / "broken.nii").write_bytes(b"nothing")
    with pytest.raises(InvalidArgument, match="cannot be read by nibabel"):
        tv.load_responses(tmp_path / "broken.nii", IDS)


def test_images_are_laid_end_to_end(tmp_path, rng):
    nibabel = pytest.importorskip("nibabel")
    volumes = rng.normal(size=(5, 3, 4, 2))
    paths = [tmp_path / f"{number}.nii" for number in range(5)]
    for path, volume in zip(paths, volumes, strict=True):
        nibabel.save(nibabel.Nifti1Image(volume, np.eye(4)), path)
    found = tv.load_responses(paths, IDS)
    np.testing.assert_array_equal(found.array, volumes.reshape(5, -1))
    assert found.provenance["file"] == ["0.nii", "1.nii", "2.nii", "3.nii", "4.nii"]


def test_gifti_with_a_mask_of_vertices(tmp_path, rng):
    nibabel = pytest.importorskip("nibabel")
    values = rng.normal(size=(5, 30)).astype(np.float32)
    mask = rng.random(30) > 0.6

    def write(path, rows):
        arrays = [nibabel.gifti.GiftiDataArray(row) for row in rows]
        nibabel.save(nibabel.gifti.GiftiImage(darrays=arrays), path)

    write(tmp_path / "lh.func.gii", values)
    write(tmp_path / "label.gii", [mask.astype(np.float32)])
    for chosen in (mask, tmp_path / "label.gii"):
        found = tv.load_responses(tmp_path / "lh.func.gii", IDS, mask=chosen)
        np.testing.assert_array_equal(found.array, values[:, mask])
    with pytest.raises(InvalidArgument, match=r"mask has shape \(29,\)"):
        tv.load_responses(tmp_path / "lh.func.gii", IDS, mask=mask[1:])
