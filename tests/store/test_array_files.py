"""Single arrays in single files, opened by readers that are not ours; parts and slices of them."""

from __future__ import annotations

import errno
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import scipy.io

from thingsvision.errors import InvalidArgument, StoreError, ThingsvisionWarning, UnknownName
from thingsvision.store import array_files, parts, slices

FORMATS = ("npy", "hdf5", "mat", "txt", "pt")
SUFFIX = {"npy": ".npy", "hdf5": ".h5", "mat": ".mat", "txt": ".txt", "pt": ".pt"}


def sample(shape: tuple[int, ...], dtype: str = "float32") -> np.ndarray:
    return (np.random.default_rng(0).standard_normal(shape) * 1e3).astype(dtype)


def read_by_others(path: Path) -> np.ndarray:
    """Read a file without this package."""
    if path.suffix == ".npy":
        return np.load(path)
    if path.suffix == ".h5":
        with h5py.File(path) as file:
            return file["features"][()]
    if path.suffix == ".mat":
        return scipy.io.loadmat(path)["features"]
    if path.suffix == ".pt":
        import torch

        return torch.load(path, weights_only=True).numpy()
    return np.loadtxt(path, ndmin=2)


@pytest.mark.parametrize("format", FORMATS)
@pytest.mark.parametrize("shape", [(7, 5), (7, 3, 2, 4), (1, 4), (5, 1)])
@pytest.mark.parametrize("dtype", ["float32", "float64", "int64"])
def test_others_read_what_was_written(
    tmp_path: Path, format: str, shape: tuple[int, ...], dtype: str
) -> None:
    array = sample(shape, dtype)
    path = array_files.write_array(tmp_path / "new" / "folder", "features", array, f".{format}")
    assert path.name == f"features{SUFFIX[format]}"
    found = read_by_others(path).reshape(shape)
    np.testing.assert_array_equal(found.astype(dtype), array)
    again = array_files.read_array(path, "features")
    assert again.shape == shape
    np.testing.assert_array_equal(again.astype(dtype), array)
    assert [item.name for item in path.parent.iterdir()] == [path.name]


@pytest.mark.parametrize(
    ("spelling", "format"), [("h5", "hdf5"), (".HDF5", "hdf5"), ("Npy", "npy")]
)
def test_spellings(spelling: str, format: str) -> None:
    assert array_files.array_format(spelling) == format


def test_an_unknown_format_lists_the_known_ones(tmp_path: Path) -> None:
    with pytest.raises(UnknownName, match="npz.*npy, hdf5, mat, txt, pt"):
        array_files.write_array(tmp_path, "features", np.eye(2), "npz")


@pytest.mark.parametrize("format", FORMATS)
def test_a_full_disk_leaves_the_old_file(
    tmp_path: Path, format: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = array_files.write_array(tmp_path, "features", sample((3, 2)), format)
    before = path.read_bytes()
    kind = array_files.ARRAY_FORMATS[format]

    def full(draft: Path, *rest: Any) -> None:
        draft.write_bytes(b"half")
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setitem(array_files.ARRAY_FORMATS, format, kind._replace(write=full))
    with pytest.raises(StoreError, match="No space left on device"):
        array_files.write_array(tmp_path, "features", sample((9, 2)), format)
    assert path.read_bytes() == before
    assert len(list(tmp_path.iterdir())) == 1


@pytest.mark.parametrize("format", FORMATS)
def test_a_damaged_file_is_named(tmp_path: Path, format: str) -> None:
    path = tmp_path / f"features{SUFFIX[format]}"
    path.write_bytes(b"\x00\x01 no such thing")
    with pytest.raises(StoreError, match="missing or damaged"):
        array_files.read_array(path, "features")


# ---- parts


def only_small(monkeypatch: pytest.MonkeyPatch, format: str, rows: int) -> None:
    """Let memory suffice for a few rows."""
    kind = array_files.ARRAY_FORMATS[format]

    def write(path: Path, array: np.ndarray, *rest: Any) -> None:
        if len(array) > rows:
            path.write_bytes(b"half")
            raise MemoryError
        kind.write(path, array, *rest)

    monkeypatch.setitem(array_files.ARRAY_FORMATS, format, kind._replace(write=write))


@pytest.mark.parametrize("format", FORMATS)
@pytest.mark.parametrize("shape", [(23, 4), (23, 2, 3, 2)])
@pytest.mark.parametrize("dtype", ["float32", "float16"])
def test_parts_after_a_memory_error_merge_to_the_same_bytes(
    tmp_path: Path,
    format: str,
    shape: tuple[int, ...],
    dtype: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    array = sample(shape, dtype)
    only_small(monkeypatch, format, 3)
    parts.save_array(tmp_path, "features", array, format)
    names = sorted(path.name for path in tmp_path.glob(f"features_*{SUFFIX[format]}"))
    assert names == [f"features_{k:02d}{SUFFIX[format]}" for k in range(1, 11)]
    assert not (tmp_path / f"features{SUFFIX[format]}").exists()
    lengths = [len(array_files.read_array(tmp_path / name, name.split(".")[0])) for name in names]
    assert sum(lengths) == 23 and max(lengths) - min(lengths) <= 1
    merged = parts.merge_parts(tmp_path, "features", format)
    assert merged.dtype == array.dtype and merged.shape == shape
    assert merged.tobytes() == array.tobytes()


@pytest.mark.parametrize("rows", [1, 3, 9, 10, 11, 250])
@pytest.mark.parametrize("splits", [1, 2, 10, 120])
def test_any_number_of_parts(tmp_path: Path, rows: int, splits: int) -> None:
    array = sample((rows, 2))
    parts.split_array(tmp_path, "features", array, "npy", splits)
    assert len(list(tmp_path.glob("features_*.npy"))) == min(rows, splits)
    assert parts.merge_parts(tmp_path, "features", ".npy").tobytes() == array.tobytes()


def test_a_vector_in_mat_files_stays_a_vector(tmp_path: Path) -> None:
    array = sample((7,))
    parts.split_array(tmp_path, "features", array, "mat", 3)
    np.testing.assert_array_equal(parts.merge_parts(tmp_path, "features", "mat"), array)


def test_missing_and_foreign_parts_are_named(tmp_path: Path) -> None:
    parts.split_array(tmp_path, "features", sample((30, 2)), "npy")
    (tmp_path / "features_10.npy").rename(tmp_path / "features_11.npy")
    with pytest.raises(StoreError, match=r"missing: features_10\.npy"):
        parts.merge_parts(tmp_path, "features", "npy")
    np.save(tmp_path / "features_10.npy", sample((3, 2)))
    with pytest.raises(StoreError, match=r"foreign: features_11\.npy"):
        parts.merge_parts(tmp_path, "features", "npy")
    (tmp_path / "features_11.npy").unlink()
    np.save(tmp_path / "features_04.npy", sample((4, 2)))
    with pytest.raises(StoreError, match=r"foreign: features_04\.npy"):
        parts.merge_parts(tmp_path, "features", "npy")


def test_parts_that_others_wrote(tmp_path: Path) -> None:
    array = sample((9, 4))
    for number, part in enumerate(np.array_split(array, 3), 1):
        np.save(tmp_path / f"features_{number:02d}.npy", part)
    assert parts.merge_parts(tmp_path, "features", "npy").tobytes() == array.tobytes()
    (tmp_path / "file_names.txt").write_text("a.jpg\nb.jpg\n", encoding="utf-8")
    with pytest.raises(InvalidArgument, match=r"9 rows.*2 names"):
        parts.merge_parts(tmp_path, "features", "npy")
    (tmp_path / "file_names.txt").unlink()
    np.save(tmp_path / "features_02.npy", sample((3, 5)))
    with pytest.raises(StoreError, match=r"foreign: features_02\.npy"):
        parts.merge_parts(tmp_path, "features", "npy")
    (tmp_path / "features_02.npy").unlink()
    with pytest.raises(StoreError, match=r"missing: features_02\.npy"):
        parts.merge_parts(tmp_path, "features", "npy")
    with pytest.raises(StoreError, match="neither"):
        parts.merge_parts(tmp_path, "features", "hdf5")


def test_a_new_array_takes_the_place_of_old_parts(tmp_path: Path) -> None:
    parts.split_array(tmp_path, "features", sample((30, 2)), "npy")
    new = sample((4, 3))
    parts.save_array(tmp_path, "features", new, "npy")
    assert [path.name for path in tmp_path.iterdir()] == ["features.npy"]
    parts.split_array(tmp_path, "features", sample((5, 2)), "npy", 2)
    assert parts.merge_parts(tmp_path, "features", "npy").shape == (5, 2)


def test_rows_that_do_not_match_their_names_are_refused(tmp_path: Path) -> None:
    (tmp_path / "file_names.txt").write_text("a.jpg\nb.jpg\nc.jpg\n", encoding="utf-8")
    with pytest.raises(InvalidArgument, match=r"2 rows.*file_names\.txt.*3 names"):
        parts.save_array(tmp_path, "features", np.eye(2), "npy")
    parts.save_array(tmp_path, "features", np.eye(3), "hdf5")
    with h5py.File(tmp_path / "features.h5") as file:
        assert file["file_names"].asstr()[:].tolist() == ["a.jpg", "b.jpg", "c.jpg"]
    parts.save_array(tmp_path, "features", np.eye(3), "mat")
    names = scipy.io.loadmat(tmp_path / "features.mat")["file_names"]
    assert [cell.item() for cell in names.ravel()] == ["a.jpg", "b.jpg", "c.jpg"]


@pytest.mark.parametrize("format", FORMATS)
def test_nan_and_infinity_are_kept_with_one_warning(tmp_path: Path, format: str) -> None:
    array = sample((3, 4))
    array[0, 1], array[1, 2], array[2, 0] = np.nan, np.inf, -np.inf
    with pytest.warns(ThingsvisionWarning, match="3 numbers") as caught:
        parts.save_array(tmp_path, "features", array, format)
    assert len(caught) == 1
    found = read_by_others(tmp_path / f"features{SUFFIX[format]}")
    np.testing.assert_array_equal(found.astype("float32"), array)


def test_no_splits_are_no_splits(tmp_path: Path) -> None:
    with pytest.raises(InvalidArgument, match="n_splits is 0"):
        parts.split_array(tmp_path, "features", np.eye(2), "npy", 0)


# ---- slices


@pytest.mark.parametrize(
    "shape", [(2, 3, 4, 5), (1, 1, 1, 1), (3, 2, 2), (2, 2, 1, 2, 3), (2, 0, 3)]
)
@pytest.mark.parametrize("dtype", ["float32", "float64", "int32"])
def test_slices_keep_shape_type_and_bits(
    tmp_path: Path, shape: tuple[int, ...], dtype: str
) -> None:
    array = sample(shape, dtype)
    slices.write_slices(tmp_path / "features.txt", array)
    found = slices.read_slices(tmp_path / "features.txt")
    assert found.dtype == array.dtype and found.shape == shape
    assert found.tobytes() == array.tobytes()
    if array.size:  # NumPy reads the same numbers, laid out in rows
        plain = np.loadtxt(tmp_path / "features.txt", ndmin=2)
        assert plain.shape[1] == shape[-1]
        np.testing.assert_array_equal(plain.astype(dtype).ravel(), array.ravel())


def test_slices_that_lack_their_shape_or_some_numbers(tmp_path: Path) -> None:
    file = tmp_path / "features.txt"
    np.savetxt(file, np.eye(3))
    with pytest.raises(StoreError, match="does not begin with the shape"):
        slices.read_slices(file)
    slices.write_slices(file, sample((2, 3, 4)))
    file.write_text("\n".join(file.read_text().splitlines()[:-1]))
    with pytest.raises(StoreError, match=r"does not hold the shape \(2, 3, 4\)"):
        slices.read_slices(file)


@pytest.mark.parametrize("name", ["features", "targets"])
def test_large_mat_files_have_the_name_too(
    tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(array_files.mat, "LARGEST", 0)  # so that it goes to version 7.3
    array = sample((5, 2, 3))
    path = array_files.write_array(tmp_path, name, array, "mat", list("abcde"))
    with h5py.File(path) as file:
        np.testing.assert_array_equal(file[name][()].T, array)
    np.testing.assert_array_equal(array_files.read_array(path, name), array)


@pytest.mark.parametrize("format", FORMATS)
@pytest.mark.parametrize("shape", [(0, 5), (3, 0), (0, 2, 3, 4)])
def test_arrays_without_numbers(tmp_path: Path, format: str, shape: tuple[int, ...]) -> None:
    parts.save_array(tmp_path, "features", np.ones(shape, "f4"), format)
    assert parts.merge_parts(tmp_path, "features", format).shape == shape


@pytest.mark.parametrize("array", [np.array(1.0), np.array(["a"]), np.array([[1, None]])])
def test_what_is_no_array_of_numbers_is_refused(tmp_path: Path, array: np.ndarray) -> None:
    with pytest.raises(InvalidArgument, match="array of numbers"):
        parts.save_array(tmp_path, "features", array, "npy")
    with pytest.raises(InvalidArgument, match="array of numbers"):
        parts.split_array(tmp_path, "features", array, "npy")


def test_slices_of_no_file(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="no file"):
        slices.read_slices(tmp_path / "features.txt")
