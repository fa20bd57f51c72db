"""Formats that are written as rows come, under another name until all of them are there."""

from __future__ import annotations

from abc import abstractmethod
from pathlib import Path
from typing import Any

import numpy as np

from .base import Store


class ChunkedStore(Store):
    """A store whose arrays are laid out at once and then filled in place, chunk by chunk.

    Notes
    -----
    A format adds ``suffix``, ``fits``, and what is abstract in `Store` and not here.
    """

    suffix: str

    @abstractmethod
    def fits(self, path: Path, shape: tuple[int, ...], dtype: np.dtype[Any]) -> bool:
        """Tell whether an array of this shape and type lies at a path."""

    def holds(self, file: str, shape: tuple[int, ...], dtype: np.dtype[Any]) -> bool:
        """Tell whether an array is there, complete or not, and of the right shape."""
        return any(self.fits(path, shape, dtype) for path in (self.part(file), self.whole(file)))

    def resume(self, file: str, shape: tuple[int, ...], dtype: np.dtype[Any]) -> bool:
        """Tell whether an interrupted run left an array to go on with, under its other name."""
        if self.whole(file).exists():  # a finish that was interrupted
            self.whole(file).replace(self.part(file))
        return self.fits(self.part(file), shape, dtype)

    def complete(self, file: str, shape: tuple[int, ...], dtype: np.dtype[Any]) -> None:
        """Give a complete array its name."""
        if self.part(file).exists():
            self.part(file).replace(self.whole(file))

    def whole(self, file: str) -> Path:
        """Name a complete array."""
        return self.folder / f"{file}{self.suffix}"

    def part(self, file: str) -> Path:
        """Name an array that is not complete."""
        return self.folder / f"{file}{self.suffix}.part"
