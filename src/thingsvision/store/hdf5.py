"""HDF5: one file a module, written as rows come, read by MATLAB, R, Julia and any HDF5 tool."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from .base import Store
from .disk import reserve
from .lazy import LazyArray

DATASET = "features"
PART = ".h5.part"
# Bytes of a chunk: what is read at once when single rows are wanted.
CHUNK = 2**20


class Hdf5Store(Store):
    """Features as HDF5, chunked by rows.

    A file holds the datasets ``features``, ``file_names`` (UTF-8), and, where the stimuli came in
    classes, ``targets`` and ``classes``; the attributes of ``features`` name its module and axes.
    """

    format = "hdf5"

    def __init__(self, folder: str | os.PathLike[str]) -> None:
        super().__init__(folder)
        self._files: dict[str, h5py.File] = {}

    def create(self, file: str, shape: tuple[int, ...], dtype: np.dtype[Any]) -> None:
        """Reserve the space of an array, or open what an interrupted run left of it."""
        if file in self._files:
            return
        part, whole = self._paths(file)
        if whole.exists():  # a finish that was interrupted
            whole.replace(part)
        if not self._fits(part, shape, dtype):
            part.unlink(missing_ok=True)
            with h5py.File(part, "w") as new:
                self._lay_out(new, file, shape, dtype)
        self._files[file] = h5py.File(part, "r+")
        with part.open("r+b") as handle:
            reserve(handle.fileno(), part.stat().st_size)

    def put(self, file: str, start: int, rows: NDArray[Any]) -> None:
        """Write rows of an array, from row `start` on."""
        if rows.size:
            self._files[file][DATASET][start : start + len(rows)] = rows

    def flush(self) -> None:
        """Hand everything that was put to the operating system."""
        for handle in self._files.values():
            handle.flush()

    def close(self) -> None:
        """Let go of all files."""
        for handle in self._files.values():
            handle.close()
        self._files = {}

    def holds(self, file: str, shape: tuple[int, ...], dtype: np.dtype[Any]) -> bool:
        """Tell whether an array's file is there, complete or not, and of the right shape."""
        return any(self._fits(path, shape, dtype) for path in self._paths(file))

    def complete(self, file: str, shape: tuple[int, ...], dtype: np.dtype[Any]) -> None:
        """Give a complete array its name."""
        part, whole = self._paths(file)
        if part.exists():
            part.replace(whole)

    def get(self, file: str, shape: tuple[int, ...], dtype: np.dtype[Any]) -> LazyArray:
        """Open a complete array lazily; the file is open only while it is read."""
        path = self._paths(file)[1]

        def read(rows: Any) -> NDArray[Any]:
            with h5py.File(path, "r") as opened:
                array: NDArray[Any] = opened[DATASET][rows]
            return array

        try:
            with h5py.File(path, "r") as opened:
                dataset = opened[DATASET]
                return LazyArray(read, dataset.shape, dataset.dtype, path)
        except KeyError as error:
            raise ValueError(str(error)) from error

    def _paths(self, file: str) -> tuple[Path, Path]:
        return self.folder / f"{file}{PART}", self.folder / f"{file}.h5"

    def _fits(self, path: Path, shape: tuple[int, ...], dtype: np.dtype[Any]) -> bool:
        try:
            with h5py.File(path, "r") as opened:
                dataset = opened[DATASET]
                return bool(dataset.shape == shape and dataset.dtype == dtype)
        except (OSError, KeyError):
            return False

    def _lay_out(
        self, new: h5py.File, file: str, shape: tuple[int, ...], dtype: np.dtype[Any]
    ) -> None:
        """Write everything but the rows, whose places are fixed from now on.

        Space is allocated early and not filled, so that later only rows are written, each to its
        place: the file is whole after the end of the process at any moment.
        """
        settings = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
        settings.set_alloc_time(h5py.h5d.ALLOC_TIME_EARLY)
        settings.set_fill_time(h5py.h5d.FILL_TIME_NEVER)
        settings.set_obj_track_times(False)  # equal runs give equal bytes
        if 0 not in shape:
            settings.set_chunk(_chunk(shape, dtype))
        space = h5py.h5s.create_simple(shape)
        kind = h5py.h5t.py_create(dtype, logical=True)
        h5py.h5d.create(new.id, DATASET.encode(), kind, space, settings).close()
        module = self._module(file)
        new[DATASET].attrs["module"] = module
        new[DATASET].attrs["axes"] = list(self._arrays[module]["axes"])
        texts = {"file_names": self._stimuli.ids}
        if self._stimuli.targets is not None:
            new.create_dataset("targets", data=self._stimuli.targets, track_times=False)
            texts["classes"] = self._stimuli.classes
        for name, values in texts.items():
            kind = h5py.string_dtype("utf-8")
            new.create_dataset(name, data=list(values), dtype=kind, track_times=False)


def _chunk(shape: tuple[int, ...], dtype: np.dtype[Any]) -> tuple[int, ...]:
    row = int(np.prod(shape[1:], dtype=np.int64)) * dtype.itemsize
    return (min(shape[0], max(1, CHUNK // row)), *shape[1:])
