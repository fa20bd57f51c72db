"""MATLAB: version 5 files, and version 7.3 for arrays that those cannot hold."""

from __future__ import annotations

import math
import struct
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import scipy.io
from numpy.typing import NDArray

from . import mat5
from .disk import FileImage
from .lazy import LazyArray
from .staged import StagedStore

VARIABLE = "features"
# An element of a version 5 file states its length in 32 bits; MATLAB itself stops at 2 GB.
LARGEST = 2**31 - 2**16
# Bytes that are transposed at once.
BLOCK = 2**26

# NumPy's type -> the name of its class in version 7.3; others are called as in NumPy.
CLASSES = {"float64": "double", "float32": "single"}
# Types that MATLAB lacks, and those that hold their numbers exactly.
HOLDS = {"float16": "float32", "bool": "uint8"}


class MatStore(StagedStore):
    """Features as MATLAB files, one a module.

    Variables: ``features``, ``file_names`` (cell array), ``module``, and, where the stimuli came
    in classes, ``targets`` and ``classes``. Half precision is stored as single, bool as uint8;
    MATLAB has no arrays of one axis, so a vector becomes a column. Version 7.3 files, for arrays of
    2 GB or more, lack ``file_names`` and ``classes``, which lie in the tables beside them.
    """

    format = "mat"
    suffix = ".mat"

    def save(self, path: Path, array: NDArray[Any], module: str) -> None:
        """Write an array as a MATLAB file."""
        others: dict[str, Any] = {"file_names": self._stimuli.ids, "module": module}
        if self._stimuli.targets is not None:
            others["targets"] = self._stimuli.targets
            others["classes"] = self._stimuli.classes
        write_mat(path, array, others)

    def get(self, file: str, shape: tuple[int, ...], dtype: np.dtype[Any]) -> LazyArray:
        """Open a complete array lazily; of a version 5 file the whole is read."""
        path = self.path(file)
        if not path.is_file():
            raise FileNotFoundError(f"there is no {path.name}")
        return LazyArray(lambda rows: read_mat(path, shape, dtype, rows), shape, dtype, path)


def write_mat(
    path: Path, array: NDArray[Any], others: dict[str, Any], name: str = VARIABLE
) -> None:
    """Write an array, shape ``(n_stimuli, ...)``, and small variables as a MATLAB file.

    Parameters
    ----------
    path : pathlib.Path
        Ends in ``.mat``.
    array : array, shape (n_stimuli, ...)
        Of version 7.3 if it is of 2 GB or more, else of version 5.
    others : dict of str to value
        Texts, sequences of texts, and arrays of one axis; in version 7.3 sequences of texts
        are left out, since Octave cannot read them.
    name : str
        Of the array's variable.
    """
    held = np.dtype(HOLDS.get(str(array.dtype), array.dtype))
    shape = array.shape if array.ndim > 1 else (len(array), 1)
    if array.size * held.itemsize > LARGEST:
        _write_73(path, array, held, shape, others, name)
        return
    with path.open("wb") as file:
        file.write(mat5.title())
        for other, value in others.items():
            file.write(mat5.variable(other, value))
        file.write(mat5.number_head(name, shape, held))
        for block in _columns(array, held):
            file.write(block.tobytes())
        file.write(bytes(-array.size * held.itemsize % 8))


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
    flat = array.reshape(len(array), math.prod(array.shape[1:]))
    if array.ndim > 2:
        # Position in MATLAB's order -> column of the rows as they lie in C order.
        order = np.arange(flat.shape[1]).reshape(array.shape[1:]).ravel(order="F")
    else:
        order = np.arange(flat.shape[1])
    step = max(1, BLOCK // max(1, len(flat) * held.itemsize))
    for start in range(0, len(order), step):
        yield np.ascontiguousarray(flat[:, order[start : start + step]].T, dtype=held)


def _write_73(
    path: Path, array: NDArray[Any], held: np.dtype[Any], shape: tuple[int, ...],
    others: dict[str, Any], name: str,
) -> None:  # fmt: skip
    """Write an HDF5 file as MATLAB lays it out: axes reversed, classes in attributes."""
    image = FileImage()
    settings = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
    settings.set_alloc_time(h5py.h5d.ALLOC_TIME_EARLY)
    settings.set_fill_time(h5py.h5d.FILL_TIME_NEVER)
    settings.set_obj_track_times(False)  # equal runs give equal bytes
    with h5py.File(image, "w", userblock_size=512) as file:
        space, kind = h5py.h5s.create_simple(shape[::-1]), h5py.h5t.py_create(held)
        h5py.h5d.create(file.id, name.encode(), kind, space, settings).close()
        place = file[name].id.get_offset()
        file[name].attrs["MATLAB_class"] = _class(held)
        for other, value in others.items():
            if isinstance(value, str):
                codes = np.frombuffer(value.encode("utf-16"), np.uint16)[1:]  # without the mark
                text = file.create_dataset(other, data=codes[:, None], track_times=False)
                text.attrs["MATLAB_class"] = np.bytes_("char")
                text.attrs["MATLAB_int_decode"] = np.int32(2)
            elif isinstance(value, np.ndarray):
                small = file.create_dataset(other, data=value[None], track_times=False)
                small.attrs["MATLAB_class"] = _class(value.dtype)
    head = b"MATLAB 7.3 MAT-file".ljust(116) + bytes(8) + struct.pack("<HH", 0x0200, 0x4D49)
    image.seek(0)
    image.write(head.ljust(512, b"\0"))
    image.save(path)
    with path.open("r+b") as raw:
        raw.seek(place)
        for block in _columns(array, held):
            raw.write(block.tobytes())


def _class(dtype: np.dtype[Any]) -> np.bytes_:
    return np.bytes_(CLASSES.get(str(dtype), str(dtype)))
