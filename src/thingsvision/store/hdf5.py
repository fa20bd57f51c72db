"""HDF5: one file a module, written as rows come, read by MATLAB, R, Julia and any HDF5 tool."""

from __future__ import annotations

import io
import os
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from .chunked import ChunkedStore
from .disk import FileImage, reserve, write_at
from .lazy import LazyArray

DATASET = "features"
# Bytes of a chunk: what is read at once when single rows are wanted.
CHUNK = 2**20


class Hdf5Store(ChunkedStore):
    """Features as HDF5, chunked by rows.

    A file holds the datasets ``features``, ``file_names`` (UTF-8), and, where the stimuli came in
    classes, ``targets`` and ``classes``; the attributes of ``features`` name its module and axes.

    Notes
    -----
    The HDF5 library lays a file out in memory; this store writes it, and then the rows to the
    places that the library gave their chunks. After a write that fails, on a full disk, the
    library itself could neither close the file nor open it again.
    """

    format = "hdf5"
    suffix = ".h5"

    def __init__(self, folder: str | os.PathLike[str]) -> None:
        super().__init__(folder)
        self._files: dict[str, tuple[io.FileIO, list[int]]] = {}

    def create(self, file: str, shape: tuple[int, ...], dtype: np.dtype[Any]) -> None:
        """Reserve the space of an array, or open what an interrupted run left of it."""
        if file in self._files:
            return
        part = self.part(file)
        if not self.resume(file, shape, dtype):
            image = FileImage()
            with h5py.File(image, "w") as new:
                self._lay_out(new, file, shape, dtype)
            draft = self.folder / f".{part.name}"
            image.save(draft)
            draft.replace(part)
        handle = io.FileIO(part, "r+")
        self._files[file] = handle, _places(part)
        reserve(handle.fileno(), part.stat().st_size)

    def put(self, file: str, start: int, rows: NDArray[Any]) -> None:
        """Write rows of an array, from row `start` on."""
        if not rows.size:
            return
        handle, places = self._files[file]
        size = rows.nbytes // len(rows)
        data = np.ascontiguousarray(rows).reshape(-1).view(np.uint8).data
        step = _chunk(rows.shape, rows.dtype, len(self._stimuli))
        stop = start + len(rows)
        while start < stop:
            chunk, row = divmod(start, step)
            count = min(step - row, stop - start)
            write_at(handle, places[chunk] + row * size, data[: count * size])
            start, data = start + count, data[count * size :]

    def flush(self) -> None:
        """Do nothing: every write goes to the operating system at once."""

    def sync(self) -> None:
        """Force everything that was put onto the disk."""
        for handle, _ in self._files.values():
            os.fsync(handle.fileno())

    def release(self) -> None:
        """Let go of all files."""
        for handle, _ in self._files.values():
            handle.close()
        self._files = {}

    def get(self, file: str, shape: tuple[int, ...], dtype: np.dtype[Any]) -> LazyArray:
        """Open a complete array lazily; the file is open only while it is read."""
        path = self.whole(file)

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

    def fits(self, path: Path, shape: tuple[int, ...], dtype: np.dtype[Any]) -> bool:
        """Tell whether an array of this shape and type lies at a path."""
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
            settings.set_chunk((_chunk(shape, dtype, len(self._stimuli)), *shape[1:]))
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


def _chunk(shape: tuple[int, ...], dtype: np.dtype[Any], count: int) -> int:
    """Count the rows of a chunk, of `count` rows in all."""
    row = int(np.prod(shape[1:], dtype=np.int64)) * dtype.itemsize
    return min(count, max(1, CHUNK // row))


def _places(path: Path) -> list[int]:
    """Find where in a file each chunk of rows begins."""
    with h5py.File(path, "r") as opened:
        dataset = opened[DATASET]
        if dataset.chunks is None:
            return []
        rest = (0,) * (dataset.ndim - 1)
        starts = range(0, len(dataset), dataset.chunks[0])
        return [dataset.id.get_chunk_info_by_coord((row, *rest)).byte_offset for row in starts]
