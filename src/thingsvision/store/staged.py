"""Formats that are written as a whole: rows are kept as ``.npy`` until all of them are there."""

from __future__ import annotations

from abc import abstractmethod
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .lazy import LazyArray
from .npy import NpyStore


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
        draft.replace(self.path(file))
        whole.unlink()

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
