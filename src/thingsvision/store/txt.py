"""Text: one line a stimulus, numbers separated by spaces, read by anything."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .staged import WholeStore

# Rows that are turned into text at once.
ROWS = 64
# Digits that give each type's numbers back to the last bit.
DIGITS = {"float16": "%.5g", "float32": "%.9g", "float64": "%.17g"}


class TxtStore(WholeStore):
    """Features as text, one file a module, a line per stimulus.

    An array of more than two axes is laid out in one line per stimulus, in C order;
    ``meta.json`` holds its shape, in which it is read again.
    """

    format = "txt"
    suffix = ".txt"

    def save(self, path: Path, array: NDArray[Any], module: str) -> None:
        """Write an array as text."""
        write_text(path, array)

    def load(self, path: Path, shape: tuple[int, ...], dtype: np.dtype[Any]) -> NDArray[Any]:
        """Read a complete array of a known shape and type."""
        return read_text(path, shape, dtype)


def write_text(path: Path, array: NDArray[Any]) -> None:
    """Write an array, shape ``(n_stimuli, ...)``, as text to its last digit."""
    flat = array.reshape(len(array), -1)
    form = DIGITS.get(str(array.dtype), "%d")
    with path.open("wb") as file:
        for start in range(0, len(flat), ROWS):
            np.savetxt(file, flat[start : start + ROWS], fmt=form)


def read_text(path: Path, shape: tuple[int, ...], dtype: np.dtype[Any]) -> NDArray[Any]:
    """Read an array of a known shape and type from text."""
    if 0 in shape:
        return np.empty(shape, dtype)
    # Through float64: NumPy reads text of few types.
    kind = dtype if dtype.kind in "iu" else np.dtype(np.float64)
    return np.loadtxt(path, dtype=kind, ndmin=2).astype(dtype, copy=False).reshape(shape)
