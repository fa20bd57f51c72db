"""MATLAB: version 5 files, and version 7.3 for arrays that those cannot hold."""

from __future__ import annotations

import io
import struct
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import scipy.io
from numpy.typing import NDArray

from .lazy import LazyArray
from .staged import StagedStore

VARIABLE = "features"
# An element of a version 5 file states its length in 32 bits; MATLAB itself stops at 2 GB.
LARGEST = 2**31 - 2**16
TITLE, TITLE_SIZE = b"MATLAB 5.0 MAT-file", 116
# Bytes that are transposed at once.
BLOCK = 2**26

# NumPy's type -> (class of a MATLAB array, type of its data, name in version 7.3)
CLASSES = {
    "float64": (6, 9, "double"),
    "float32": (7, 7, "single"),
    "int8": (8, 1, "int8"),
    "uint8": (9, 2, "uint8"),
    "int16": (10, 3, "int16"),
    "uint16": (11, 4, "uint16"),
    "int32": (12, 5, "int32"),
    "uint32": (13, 6, "uint32"),
    "int64": (14, 12, "int64"),
    "uint64": (15, 13, "uint64"),
}
# Types that MATLAB lacks, and those that hold their numbers exactly.
HOLDS = {"float16": "float32", "bool": "uint8"}
MATRIX, UINT32, INT32, INT8 = 14, 6, 5, 1


class MatStore(StagedStore):
    """Features as MATLAB files, one a module.

    Variables: ``features``, ``file_names`` (cell array), ``module``, and, where the stimuli came
    in classes, ``targets`` and ``classes``. Half precision is stored as single, bool as uint8;
    MATLAB has no arrays of one axis, so a vector becomes a column.
    """

    format = "mat"
    suffix = ".mat"

    def save(self, path: Path, array: NDArray[Any], module: str) -> None:
        """Write an array as a MATLAB file."""
        others: dict[str, Any] = {"file_names": cells(self._stimuli.ids), "module": module}
        if self._stimuli.targets is not None:
            others["targets"] = self._stimuli.targets[:, None]
            others["classes"] = cells(self._stimuli.classes)
        write_mat(path, array, others)

    def get(self, file: str, shape: tuple[int, ...], dtype: np.dtype[Any]) -> LazyArray:
        """Open a complete array lazily; of a version 5 file the whole is read."""
        path = self.path(file)
        if not path.is_file():
            raise FileNotFoundError(f"there is no {path.name}")
        return LazyArray(lambda rows: read_mat(path, shape, dtype, rows), shape, dtype, path)


def cells(texts: Any) -> NDArray[np.object_]:
    """Make a column of a cell array of texts."""
    column = np.empty((len(texts), 1), dtype=object)
    column[:, 0] = list(texts)
    return column


def write_mat(path: Path, array: NDArray[Any], others: dict[str, Any]) -> None:
    """Write an array, shape ``(n_stimuli, ...)``, and small variables as a MATLAB file.

    Parameters
    ----------
    path : pathlib.Path
        Ends in ``.mat``.
    array : array, shape (n_stimuli, ...)
        Of version 7.3 if it is of 2 GB or more, else of version 5.
    others : dict of str to value
        What ``scipy.io.savemat`` takes; in version 7.3 texts and cell arrays are left out.
    """
    held = np.dtype(HOLDS.get(str(array.dtype), array.dtype))
    shape = array.shape if array.ndim > 1 else (len(array), 1)
    if array.size * held.itemsize > LARGEST:
        _write_73(path, array, held, shape, others)
        return
    head = io.BytesIO()
    scipy.io.savemat(head, others, format="5")
    with path.open("wb") as file:
        # SciPy's title states the time, but equal runs give equal bytes.
        file.write(TITLE.ljust(TITLE_SIZE) + head.getvalue()[TITLE_SIZE:])
        _write_5(file, array, held, shape)


def read_mat(
    path: Path, shape: tuple[int, ...], dtype: np.dtype[Any], rows: Any = slice(None)
) -> NDArray[Any]:
    """Read rows of the features of a MATLAB file, in their shape and type."""
    if h5py.is_hdf5(path):
        with h5py.File(path, "r") as file:
            found = np.asarray(file[VARIABLE][..., rows]).T
    else:
        found = scipy.io.loadmat(path, variable_names=[VARIABLE])[VARIABLE][rows]
    return np.ascontiguousarray(found.reshape((len(found), *shape[1:])).astype(dtype, copy=False))


def _columns(array: NDArray[Any], held: np.dtype[Any]) -> Any:
    """Yield an array in MATLAB's order, first axis fastest, a block at a time."""
    flat = array.reshape(len(array), -1)
    if array.ndim > 2:
        # Position in MATLAB's order -> column of the rows as they lie in C order.
        order = np.arange(flat.shape[1]).reshape(array.shape[1:]).ravel(order="F")
    else:
        order = np.arange(flat.shape[1])
    step = max(1, BLOCK // max(1, len(flat) * held.itemsize))
    for start in range(0, len(order), step):
        yield start, np.ascontiguousarray(flat[:, order[start : start + step]].T, dtype=held)


def _write_5(file: Any, array: NDArray[Any], held: np.dtype[Any], shape: tuple[int, ...]) -> None:
    """Append a numeric array to a version 5 file, as its format is published by MathWorks."""
    kind, data_type, _ = CLASSES[str(held)]
    name = VARIABLE.encode()
    size = array.size * held.itemsize
    parts = (
        struct.pack("=IIII", UINT32, 8, kind, 0)
        + struct.pack(f"=II{len(shape)}i", INT32, 4 * len(shape), *shape)
        + bytes(-4 * len(shape) % 8)
        + struct.pack("=II", INT8, len(name))
        + name
        + bytes(-len(name) % 8)
        + struct.pack("=II", data_type, size)
    )
    padding = -size % 8
    file.write(struct.pack("=II", MATRIX, len(parts) + size + padding) + parts)
    for _, block in _columns(array, held):
        file.write(block.tobytes())
    file.write(bytes(padding))


def _write_73(
    path: Path, array: NDArray[Any], held: np.dtype[Any], shape: tuple[int, ...],
    others: dict[str, Any],
) -> None:  # fmt: skip
    """Write an HDF5 file as MATLAB lays it out: axes reversed, classes in attributes."""
    with h5py.File(path, "w", userblock_size=512, track_order=False) as file:
        variable = file.create_dataset(VARIABLE, shape[::-1], held, track_times=False)
        variable.attrs["MATLAB_class"] = np.bytes_(CLASSES[str(held)][2])
        flat_order = array.reshape(len(array), -1)
        # By slices of the last axis, which MATLAB's order makes the first.
        for index in range(shape[-1]):
            rows = array[..., index] if array.ndim > 1 else flat_order[:, 0]
            variable[index] = np.ascontiguousarray(rows.T, dtype=held)
        for name, value in others.items():
            if isinstance(value, np.ndarray) and value.dtype != object:
                small = file.create_dataset(name, data=value.T, track_times=False)
                small.attrs["MATLAB_class"] = np.bytes_(CLASSES[str(value.dtype)][2])
    head = b"MATLAB 7.3 MAT-file".ljust(116) + bytes(8) + struct.pack("<HH", 0x0200, 0x4D49)
    with path.open("r+b") as raw:
        raw.write(head.ljust(512, b"\0"))
