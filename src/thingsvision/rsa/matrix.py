"""The two layouts of a dissimilarity matrix, square and condensed, and what makes it one."""

from __future__ import annotations

import mmap
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import InvalidArgument, counted, listing

TOLERANCE = 1e-5  # how far from symmetric, zero diagonal and ≥ 0, as a share of the largest value
TILE = 1024  # stimuli: a square of so many is looked at at once
STEP = 2**24  # pairs that are looked at at once


def check_matrix(
    matrix: NDArray[Any], what: str, ids: Sequence[str] | None = None, negative: bool = False
) -> None:
    """Refuse a matrix that is not square, finite, symmetric, zero on its diagonal, and ≥ 0.

    It is read tile by tile, so that one on disk is never in memory as a whole.

    Parameters
    ----------
    matrix : array
        Should be of shape (n_stimuli, n_stimuli).
    what : str
        How the message calls it.
    ids : sequence of str, optional
        Names for the message.
    negative : bool
        Whether values below zero are allowed, as cross-validated distances have them.

    Raises
    ------
    InvalidArgument
        With the reason. The tolerance is 1e-5 of the largest value.
    """
    if matrix.ndim != 2 or matrix.shape[0] != matrix.shape[1] or len(matrix) < 2:
        raise InvalidArgument(
            f"{what} has shape {matrix.shape}, which is no square matrix of two or more stimuli."
        )
    if matrix.dtype.kind not in "biuf":
        raise InvalidArgument(f"{what} holds {matrix.dtype}, not real numbers.")
    largest, least, asymmetry = 0.0, 0.0, 0.0
    for one, other in _tiles(matrix):
        if not (np.isfinite(one).all() and np.isfinite(other).all()):
            raise InvalidArgument(f"{what} holds {_not_finite_in(matrix, ids)}.")
        asymmetry = max(asymmetry, float(np.abs(one - other).max()))
        least = min(least, float(one.min()), float(other.min()))
        largest = max(largest, float(one.max()), float(other.max()), -least)
        _let_go(matrix)
    allowed = TOLERANCE * largest
    diagonal = float(np.abs(matrix.diagonal().astype(np.float64)).max())
    if diagonal > allowed:
        raise InvalidArgument(
            f"{what} is not zero on its diagonal (up to {diagonal:.3g}). Is it a similarity "
            "matrix? Then give dissimilarities, e.g. 1 - matrix."
        )
    if asymmetry > allowed:
        raise InvalidArgument(
            f"{what} is not symmetric: the two halves differ by up to {asymmetry:.3g}. "
            "If both are measurements, give their mean, (matrix + matrix.T) / 2; if the rows are "
            "condensed RDMs, give them as a list."
        )
    if not negative and least < -allowed:
        raise InvalidArgument(f"{what} holds {negative_pairs(condensed(matrix), ids)}")


def check_pairs(
    values: NDArray[Any], what: str, ids: Sequence[str] | None = None, negative: bool = False
) -> None:
    """Refuse pairs, shape (n_pairs,), that are not real, finite and ≥ 0, part by part.

    What is negative by no more than 1e-5 of the largest value is rounding, and left as it is.
    """
    if values.dtype.kind not in "biuf":
        raise InvalidArgument(f"{what} holds {values.dtype}, not real numbers.")
    least, largest = 0.0, 0.0
    for start in range(0, len(values), STEP):
        part = values[start : start + STEP]
        low, high = float(part.min()), float(part.max())
        if not (np.isfinite(low) and np.isfinite(high)):
            raise InvalidArgument(f"{what} holds {not_finite(values, ids)}.")
        least, largest = min(least, low), max(largest, high, -low)
        _let_go(values)
    if not negative and least < -TOLERANCE * largest:
        raise InvalidArgument(f"{what} holds {negative_pairs(values, ids)}")


def checked(
    array: NDArray[Any], what: str, ids: Sequence[str] | None = None, negative: bool = False
) -> NDArray[Any]:
    """Take the pairs of what a file holds, square or condensed, once it has been checked.

    Condensed pairs that are mapped from a file stay there, rounding below zero included.
    """
    if array.ndim == 1 and stimuli_of_pairs(len(array)):
        check_pairs(array, what, ids, negative)
    else:
        check_matrix(array, what, ids, negative)
        array = condensed(array)
    return array if negative or _map_of(array) is not None else np.maximum(array, 0)


def condensed(matrix: NDArray[Any]) -> NDArray[Any]:
    """Take the upper triangle without the diagonal, row by row, shape (n_pairs,)."""
    count, start = len(matrix), 0
    pairs = np.empty(count * (count - 1) // 2, matrix.dtype)
    for row in range(count - 1):
        stop = start + count - row - 1
        pairs[start:stop] = matrix[row, row + 1 :]
        start = stop
        if row % TILE == 0:
            _let_go(matrix)
    return pairs


def squared(values: NDArray[Any]) -> NDArray[Any]:
    """Lay pairs, shape (n_pairs,), out as a symmetric matrix with zeros on its diagonal."""
    count = stimuli_of_pairs(len(values)) or 0
    matrix = np.zeros((count, count), values.dtype)
    start = 0
    for row in range(count - 1):
        stop = start + count - row - 1
        matrix[row, row + 1 :] = matrix[row + 1 :, row] = values[start:stop]
        start = stop
    return matrix


def stimuli_of_pairs(n_pairs: int) -> int | None:
    """Say how many stimuli have so many pairs, None if no number has.

    Examples
    --------
    >>> stimuli_of_pairs(6), stimuli_of_pairs(7)
    (4, None)
    """
    count = (1 + int(np.sqrt(1 + 8 * n_pairs))) // 2
    return count if n_pairs > 0 and count * (count - 1) // 2 == n_pairs else None


def as_float(values: NDArray[Any]) -> NDArray[Any]:
    """Make integers and booleans float64; leave all else."""
    return values.astype(np.float64) if values.dtype.kind in "biu" else values


def not_finite(values: NDArray[Any], ids: Sequence[str] | None) -> str:
    """Describe the pairs, shape (n_pairs,), that are NaN or infinite, by id or row."""
    where = _named(values, lambda part: ~np.isfinite(part), ids)
    return f"NaN or infinity between {where}; leave these stimuli out, or fill the values in"


def negative_pairs(values: NDArray[Any], ids: Sequence[str] | None) -> str:
    """Describe the pairs, shape (n_pairs,), that are negative, and say what to do."""
    allowed = TOLERANCE * float(np.abs([values.max(), values.min()]).max())
    where = _named(values, lambda part: part < -allowed, ids)
    return (
        f"negative values (down to {float(values.min()):.3g}) between {where}, which no distance "
        "is. If they are similarities, give dissimilarities, e.g. 1 - similarities; if they are "
        "cross-validated estimates, say so: RDM(pairs, ids, 'crossnobis')."
    )


def _named(
    values: NDArray[Any], bad: Callable[[NDArray[Any]], NDArray[np.bool_]],
    ids: Sequence[str] | None,
) -> str:  # fmt: skip
    """Name the first pairs that are bad, and count the rest."""
    count = stimuli_of_pairs(len(values)) or 0
    names = list(range(count)) if ids is None or len(ids) != count else list(ids)
    rows = np.arange(count)
    starts = rows * count - rows * (rows + 1) // 2  # number of the first pair of each row
    first: list[str] = []
    total = 0
    for start in range(0, len(values), STEP):
        found = np.flatnonzero(bad(values[start : start + STEP])) + start
        total += len(found)
        for pair in found[: 10 - len(first)]:
            row = int(np.searchsorted(starts, pair, "right")) - 1
            first.append(f"{names[row]} – {names[int(row + 1 + pair - starts[row])]}")
    return ", ".join(first) + (f" and {total - 10} more" if total > 10 else "")


def _not_finite_in(matrix: NDArray[Any], ids: Sequence[str] | None) -> str:
    pairs = condensed(matrix)
    if not np.isfinite(pairs).all():
        return not_finite(pairs, ids)
    return "NaN or infinity on or below its diagonal; leave these stimuli out, or fill them in"


def _tiles(matrix: NDArray[Any]) -> Iterator[tuple[NDArray[np.float64], NDArray[np.float64]]]:
    """Yield each part on or above the diagonal with its counterpart below, as float64."""
    for row in range(0, len(matrix), TILE):
        for column in range(row, len(matrix), TILE):
            here, there = slice(row, row + TILE), slice(column, column + TILE)
            one, other = matrix[here, there], matrix[there, here].T
            yield one.astype(np.float64, copy=False), other.astype(np.float64, copy=False)


def _let_go(values: NDArray[Any]) -> None:
    """Give back the pages of a file that is mapped to be read; they are read again at need."""
    base = _map_of(values)
    if base is not None and base.mode == "r" and hasattr(mmap, "MADV_DONTNEED"):
        base._mmap.madvise(mmap.MADV_DONTNEED)


def _map_of(values: NDArray[Any]) -> Any:
    """Find the memory map that an array is part of, if it is."""
    base: Any = values
    while not (base is None or type(base) is np.memmap):
        base = getattr(base, "base", None)
    return base


def check_ids(ids: Sequence[str], count: int, what: str) -> None:
    """Refuse ids that are not one per stimulus, or not all different."""
    if len(ids) != count:
        raise InvalidArgument(
            f"{what} has {count} stimuli, but {counted(len(ids), 'id')}; each stimulus needs one."
        )
    others = [name for name in ids if not isinstance(name, str)]
    if others:
        raise InvalidArgument(
            f"{what} has ids that are no texts: {listing([repr(name) for name in others])}. Give "
            "[str(id) for id in ids]."
        )
    doubled = [name for name, times in Counter(ids).items() if times > 1]
    if doubled:
        raise InvalidArgument(f"{what} has ids that stand for several stimuli: {listing(doubled)}.")
