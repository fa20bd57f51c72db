"""One array in one file, for those who keep arrays and not a folder of features."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import h5py
import numpy as np
import scipy.io
from numpy.typing import NDArray

from ..errors import StoreError, unknown
from ..text_files import reason_of
from . import mat, slices, txt


class ArrayFormat(NamedTuple):
    """How one array is written and read.

    Parameters
    ----------
    suffix : str
        Of the file.
    write : callable
        Takes path, array, name of the array, and the names of its rows (or none).
    read : callable
        Takes path and name of the array.
    """

    suffix: str
    write: Callable[[Path, NDArray[Any], str, Sequence[str]], None]
    read: Callable[[Path, str], NDArray[Any]]


def array_format(name: str) -> str:
    """Give the one spelling of a format: ``"npy"`` for ``".npy"``, ``"hdf5"`` for ``"h5"``.

    Parameters
    ----------
    name : str
        As a user spells it.

    Raises
    ------
    UnknownName
        If there is no such format; the known ones are listed.

    Examples
    --------
    >>> array_format(".h5")
    'hdf5'
    """
    plain = name.lower().lstrip(".")
    plain = {"h5": "hdf5"}.get(plain, plain)
    if plain not in ARRAY_FORMATS:
        raise unknown("format", name, ARRAY_FORMATS, f"All: {', '.join(ARRAY_FORMATS)}.")
    return plain


def write_array(
    folder: Path, name: str, array: NDArray[Any], format: str, rows: Sequence[str] = ()
) -> Path:
    """Write an array to ``name.suffix`` in a folder; the file appears when it is whole.

    Parameters
    ----------
    folder : pathlib.Path
        Made if it is missing.
    name : str
        Of the file, and of the variable or dataset in it.
    array : array, shape (n_stimuli, ...)
        What to write.
    format : str
        In any spelling that `array_format` takes.
    rows : sequence of str
        Names of the rows, which ``hdf5`` and ``mat`` keep beside the array.

    Returns
    -------
    pathlib.Path
        The file.

    Raises
    ------
    StoreError
        If the disk is full or cannot be written.
    """
    kind = ARRAY_FORMATS[array_format(format)]
    path, draft = folder / f"{name}{kind.suffix}", folder / f".{name}{kind.suffix}"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        kind.write(draft, array, name, rows)
        draft.replace(path)
    except OSError as error:
        raise StoreError(
            f"Writing {str(path)!r} failed: {reason_of(error)}. Make room, and try again."
        ) from error
    finally:
        draft.unlink(missing_ok=True)
    return path


def read_array(path: Path, name: str) -> NDArray[Any]:
    """Read the array of a file.

    Parameters
    ----------
    path : pathlib.Path
        Its suffix says the format.
    name : str
        Of the variable or dataset.

    Raises
    ------
    StoreError
        If the file is missing or damaged, or holds no array of that name.
    """
    kind = ARRAY_FORMATS[array_format(path.suffix)]
    try:
        return kind.read(path, name)
    except KeyError as error:
        raise StoreError(f"{str(path)!r} holds no array {name!r}.") from error
    except (MemoryError, StoreError):
        raise
    except Exception as error:  # each library has its own
        raise StoreError(
            f"{str(path)!r} is missing or damaged: {reason_of(error)}. Copy or write it again."
        ) from error


def _write_npy(path: Path, array: NDArray[Any], name: str, rows: Sequence[str]) -> None:
    with path.open("wb") as file:
        np.save(file, array, allow_pickle=False)


def _read_npy(path: Path, name: str) -> NDArray[Any]:
    array: NDArray[Any] = np.load(path, allow_pickle=False)
    return array


def _write_hdf5(path: Path, array: NDArray[Any], name: str, rows: Sequence[str]) -> None:
    with h5py.File(path, "w") as file:
        file.create_dataset(name, data=array, track_times=False)
        if rows:
            kind = h5py.string_dtype("utf-8")
            file.create_dataset("file_names", data=list(rows), dtype=kind, track_times=False)


def _read_hdf5(path: Path, name: str) -> NDArray[Any]:
    with h5py.File(path, "r") as file:
        array: NDArray[Any] = file[name][()]
    return array


def _write_mat(path: Path, array: NDArray[Any], name: str, rows: Sequence[str]) -> None:
    mat.write_mat(path, array, {"file_names": list(rows)} if rows else {}, name)


def _read_mat(path: Path, name: str) -> NDArray[Any]:
    if h5py.is_hdf5(path):
        return np.ascontiguousarray(_read_hdf5(path, name).T)
    array: NDArray[Any] = scipy.io.loadmat(path, variable_names=[name])[name]
    return np.ascontiguousarray(array)


def _write_txt(path: Path, array: NDArray[Any], name: str, rows: Sequence[str]) -> None:
    plain = array.ndim <= 2 and array.size  # what is empty has a shape all the same
    (txt.write_text if plain else slices.write_slices)(path, array)


def _read_txt(path: Path, name: str) -> NDArray[Any]:
    if slices.is_slices(path):
        return slices.read_slices(path)
    return np.loadtxt(path, ndmin=2)


def _write_pt(path: Path, array: NDArray[Any], name: str, rows: Sequence[str]) -> None:
    from . import pt

    pt.write_tensor(path, array)


def _read_pt(path: Path, name: str) -> NDArray[Any]:
    from . import pt

    return pt.read_tensor(path)


ARRAY_FORMATS = {
    "npy": ArrayFormat(".npy", _write_npy, _read_npy),
    "hdf5": ArrayFormat(".h5", _write_hdf5, _read_hdf5),
    "mat": ArrayFormat(".mat", _write_mat, _read_mat),
    "txt": ArrayFormat(".txt", _write_txt, _read_txt),
    "pt": ArrayFormat(".pt", _write_pt, _read_pt),
}
