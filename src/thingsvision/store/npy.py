"""The default store: one ``.npy`` file a module, readable as a memory map by any NumPy."""

from __future__ import annotations

import io
import os
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .base import Store
from .disk import let_go, reserve, write_at

# An array under this name is not complete. It has no header either, so that it cannot be read.
PART = ".npy.part"


class NpyStore(Store):
    """Features as NumPy files, one a module, the same bytes as ``np.save`` writes.

    Examples
    --------
    >>> NpyStore("features").folder.name
    'features'
    """

    format = "npy"

    def __init__(self, folder: str | os.PathLike[str]) -> None:
        super().__init__(folder)
        self._files: dict[str, tuple[io.FileIO, int]] = {}

    def create(self, file: str, shape: tuple[int, ...], dtype: np.dtype[Any]) -> None:
        """Reserve the space of an array, or open what an interrupted run left of it."""
        if file in self._files:
            return
        part, whole = self._paths(file)
        with suppress(FileNotFoundError):  # a finish that was interrupted
            whole.replace(part)
        first = header(shape, dtype)
        # Not buffered: what is written is with the operating system, and closing cannot fail.
        handle = io.FileIO(part, "r+" if part.exists() else "w+")
        self._files[file] = (handle, len(first))
        write_at(handle, 0, bytes(len(first)))
        handle.truncate(_size(shape, dtype))
        reserve(handle.fileno(), _size(shape, dtype))

    def put(self, file: str, start: int, rows: NDArray[Any]) -> None:
        """Write rows of an array, from row `start` on."""
        handle, offset = self._files[file]
        # Written, not mapped: a page that is mapped counts as memory of this process.
        data = np.ascontiguousarray(rows).reshape(-1).view(np.uint8)
        write_at(handle, offset + start * (rows.nbytes // len(rows)), data.data)

    def flush(self) -> None:
        """Have the disk begin: every write went to the operating system at once."""
        for handle, _ in self._files.values():
            let_go(handle.fileno())

    def sync(self) -> None:
        """Force everything that was put onto the disk."""
        for handle, _ in self._files.values():
            os.fsync(handle.fileno())

    def release(self) -> None:
        """Let go of all files."""
        for handle, _ in self._files.values():
            handle.close()
        self._files = {}

    def holds(self, file: str, shape: tuple[int, ...], dtype: np.dtype[Any]) -> bool:
        """Tell whether an array's file is there, complete or not, and of the right size."""
        size = _size(shape, dtype)
        return any(path.is_file() and path.stat().st_size == size for path in self._paths(file))

    def complete(self, file: str, shape: tuple[int, ...], dtype: np.dtype[Any]) -> None:
        """Write the header of a complete array and give it its name."""
        part, whole = self._paths(file)
        if part.exists():
            with io.FileIO(part, "r+") as handle:
                write_at(handle, 0, header(shape, dtype))
                os.fsync(handle.fileno())
            part.replace(whole)

    def get(self, file: str, shape: tuple[int, ...], dtype: np.dtype[Any]) -> Any:
        """Open a complete array lazily."""
        return np.load(self._paths(file)[1], mmap_mode="r", allow_pickle=False)

    def _paths(self, file: str) -> tuple[Path, Path]:
        return self.folder / f"{file}{PART}", self.folder / f"{file}.npy"


def header(shape: tuple[int, ...], dtype: np.dtype[Any]) -> bytes:
    """Make the first bytes of a ``.npy`` file."""
    stream = io.BytesIO()
    record = {"descr": dtype.str, "fortran_order": False, "shape": shape}
    np.lib.format.write_array_header_1_0(stream, record)
    return stream.getvalue()


def _size(shape: tuple[int, ...], dtype: np.dtype[Any]) -> int:
    return len(header(shape, dtype)) + int(np.prod(shape, dtype=np.int64)) * dtype.itemsize
