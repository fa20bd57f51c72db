"""The default store: one ``.npy`` file a module, readable as a memory map by any NumPy."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from .base import Store

# An array under this name is not complete.
PART = ".npy.part"


class NpyStore(Store):
    """Features as NumPy files, one a module.

    Examples
    --------
    >>> NpyStore("features").file_name("features.10")
    'features.10'
    """

    format = "npy"

    def __init__(self, folder: str | os.PathLike[str]) -> None:
        super().__init__(folder)
        self._files: dict[str, tuple[BinaryIO, int]] = {}

    def create(self, file: str, shape: tuple[int, ...], dtype: np.dtype[Any]) -> None:
        """Reserve the space of an array, or open what an interrupted run left of it."""
        if file in self._files:
            return
        path = self.folder / f"{file}{PART}"
        # A finish that was interrupted has given some arrays their name already.
        with suppress(FileNotFoundError):
            (self.folder / f"{file}.npy").replace(path)
        handle = path.open("r+b" if path.exists() else "w+b")
        header = {"descr": dtype.str, "fortran_order": False, "shape": shape}
        np.lib.format.write_array_header_1_0(handle, header)
        offset = handle.tell()
        size = offset + int(np.prod(shape, dtype=np.int64)) * dtype.itemsize
        # Reserved now, so that a full disk is an error now.
        if hasattr(os, "posix_fallocate"):
            os.posix_fallocate(handle.fileno(), 0, size)
        else:
            handle.truncate(size)
        self._files[file] = (handle, offset)

    def put(self, file: str, start: int, rows: NDArray[Any]) -> None:
        """Write rows of an array, from row `start` on."""
        handle, offset = self._files[file]
        rows = np.ascontiguousarray(rows)
        row_size = rows.nbytes // len(rows)
        # Written, not mapped: a page that is mapped counts as memory of this process.
        handle.seek(offset + start * row_size)
        handle.write(rows.data.cast("B") if rows.size else b"")

    def flush(self) -> None:
        """Bring everything that was put to the disk."""
        for handle, _ in self._files.values():
            handle.flush()

    def close(self) -> None:
        """Let go of all files."""
        for handle, _ in self._files.values():
            handle.close()
        self._files = {}

    def complete(self, file: str) -> None:
        """Give a complete array the name that it is found under."""
        path = self.folder / f"{file}{PART}"
        if path.exists():
            path.replace(self.folder / f"{file}.npy")

    def get(self, file: str) -> NDArray[Any]:
        """Open a complete array lazily."""
        path: Path = self.folder / f"{file}.npy"
        array: NDArray[Any] = np.load(path, mmap_mode="r", allow_pickle=False)
        return array
