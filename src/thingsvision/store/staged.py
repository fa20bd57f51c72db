"""Formats that are written as a whole: rows are kept as ``.npy`` until all of them are there."""

from __future__ import annotations

import io
import os
from abc import abstractmethod
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .disk import reserve, sync, write_at
from .lazy import LazyArray
from .npy import NpyStore, header

# Bytes of rows that are turned back at once.
BLOCK = 2**26


class StagedStore(NpyStore):
    """A store whose files are made of finished ``.npy`` files, one after the other.

    Needs room for one array twice while it is turned. Resuming is that of `NpyStore`.

    Notes
    -----
    A format adds ``suffix``, ``save`` and ``get``.
    """

    suffix: str

    @abstractmethod
    def save(self, path: Path, array: NDArray[Any], module: str) -> None:
        """Write a complete array, a memory map, with what belongs to it."""

    def complete(self, file: str, shape: tuple[int, ...], dtype: np.dtype[Any]) -> None:
        """Turn a complete ``.npy`` file into this format."""
        super().complete(file, shape, dtype)
        whole = self.folder / f"{file}.npy"
        if not whole.exists():
            return
        draft = self.folder / f".{file}{self.suffix}"
        array = np.load(whole, mmap_mode="r", allow_pickle=False)
        module = self._module(file)
        try:
            self.save(draft, array, module)
        except OSError:  # a full disk needs the room
            draft.unlink(missing_ok=True)
            raise
        sync(draft)
        draft.replace(self.path(file))
        sync(self.folder)  # before the rows it was made of are gone
        whole.unlink()

    def reopen(self, file: str, shape: tuple[int, ...], dtype: np.dtype[Any]) -> None:
        """Turn a complete array back into rows that can be written."""
        part, whole = self._paths(file)
        if part.exists() or whole.exists():  # not turned, or turned back already
            return
        array = self.get(file, shape, dtype)
        draft = self.folder / f".{part.name}"
        step = max(1, BLOCK * len(array) // max(1, array.nbytes))
        with io.FileIO(draft, "w+") as handle:
            place = len(header(shape, dtype))
            handle.truncate(place + array.nbytes)
            reserve(handle.fileno(), place + array.nbytes)
            for start in range(0, len(array), step):
                rows = np.ascontiguousarray(array[start : start + step], dtype)
                write_at(handle, place, rows.reshape(-1).view(np.uint8).data)
                place += rows.nbytes
            os.fsync(handle.fileno())
        draft.replace(part)

    def holds(self, file: str, shape: tuple[int, ...], dtype: np.dtype[Any]) -> bool:
        """Tell whether an array's file is there, turned or not."""
        return self.path(file).is_file() or super().holds(file, shape, dtype)

    def path(self, file: str) -> Path:
        """Name the file of a complete array."""
        return self.folder / f"{file}{self.suffix}"


class WholeStore(StagedStore):
    """A staged store whose files are read as a whole, too; a format adds ``load``."""

    @abstractmethod
    def load(self, path: Path, shape: tuple[int, ...], dtype: np.dtype[Any]) -> NDArray[Any]:
        """Read a complete array of a known shape and type."""

    def get(self, file: str, shape: tuple[int, ...], dtype: np.dtype[Any]) -> Any:
        """Open an array, which is read as a whole when it is first used."""
        path = self.path(file)
        if not path.is_file():
            raise FileNotFoundError(f"there is no {path.name}")

        @cache
        def whole() -> NDArray[Any]:
            return self.load(path, shape, dtype)

        return LazyArray(lambda rows: whole()[rows], shape, dtype, path)
