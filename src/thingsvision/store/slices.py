"""Arrays of any number of axes as text: two-dimensional slices, one under the other.

A file begins with two lines that say the array's shape and type::

    # Array shape: (2, 3, 4, 4)
    # Array type: float32

and goes on with ``2 * 3`` slices of four lines with four numbers each, in C order.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import StoreError
from . import txt

_SHAPE = re.compile(r"# Array shape: \(([\d, ]*)\)")
_TYPE = re.compile(r"# Array type: (\w+)")


def write_slices(path: Path, array: NDArray[Any]) -> None:
    """Write an array of three or more axes as text, to its last digit."""
    form = txt.DIGITS.get(str(array.dtype), "%d")
    with path.open("w", encoding="ascii", newline="\n") as file:
        file.write(f"# Array shape: {tuple(array.shape)}\n# Array type: {array.dtype}\n")
        for rows in array:  # in a memory map, only these rows are read
            if rows.size:
                np.savetxt(file, rows.reshape(-1, array.shape[-1]), fmt=form)


def read_slices(path: Path) -> NDArray[Any]:
    """Read an array that `write_slices` wrote.

    Raises
    ------
    StoreError
        If the file does not say its array's shape, or does not hold what it says.
    """
    if not path.is_file():
        raise StoreError(f"There is no file {str(path)!r}.")
    with path.open(encoding="ascii", errors="replace") as file:
        shape, kind = _SHAPE.match(file.readline()), _TYPE.match(file.readline())
    if shape is None:
        raise StoreError(
            f"{str(path)!r} does not begin with the shape of an array, as tensor2slices writes it. "
            "If it is a table of numbers, numpy.loadtxt reads it."
        )
    sizes = tuple(int(size) for size in shape[1].split(",") if size.strip())
    dtype = np.dtype(kind[1] if kind else "float64")
    try:
        return txt.read_text(path, sizes, dtype)
    except ValueError as error:
        raise StoreError(f"{str(path)!r} does not hold the shape {sizes} it says: {error}") from (
            error
        )


def is_slices(path: Path) -> bool:
    """Tell whether a text file says the shape of its array."""
    with path.open(encoding="ascii", errors="replace") as file:
        return _SHAPE.match(file.readline()) is not None
