"""The two layouts of a dissimilarity matrix, square and condensed, and what makes it one."""

from __future__ import annotations

import mmap
from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import InvalidArgument, counted, listing

TOLERANCE = 1e-5  # how far from symmetric, zero diagonal and ≥ 0, as a share of the largest value


def check_matrix(
    matrix: NDArray[Any], what: str, ids: Sequence[str] | None = None, negative: bool = False
) -> None:
    """Refuse a matrix that is not square, finite, symmetric, zero on its diagonal, and ≥ 0.

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
    if not np.isfinite(matrix).all():
        raise InvalidArgument(f"{what} holds {not_finite(condensed(matrix), len(matrix), ids)}.")
    values = matrix.astype(np.float64, copy=False)
    allowed = TOLERANCE * np.abs(values).max()
    asymmetry, diagonal = np.abs(values - values.T).max(), np.abs(values.diagonal()).max()
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
    if not negative and values.min() < -allowed:
        raise InvalidArgument(
            f"{what} holds negative values (down to {values.min():.3g}), which no distance is. "
            "If they are cross-validated estimates, make the record of its pairs: RDM(pairs)."
        )


def condensed(matrix: NDArray[Any]) -> NDArray[Any]:
    """Take the upper triangle without the diagonal, row by row, shape (n_pairs,)."""
    rows = [matrix[row, row + 1 :] for row in range(len(matrix))]
    return np.concatenate(rows)


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


def all_finite(values: NDArray[Any], step: int = 2**24) -> bool:
    """Tell whether no value is NaN or infinite, part by part where there are many."""
    for start in range(0, len(values), step):
        if not np.isfinite(values[start : start + step]).all():
            return False
        _let_go(values)
    return True


def _let_go(values: NDArray[Any]) -> None:
    """Give back the pages of a file that is mapped to be read; they are read again at need."""
    base: Any = values
    while not (base is None or type(base) is np.memmap):
        base = getattr(base, "base", None)
    if base is not None and base.mode == "r" and hasattr(mmap, "MADV_DONTNEED"):
        base._mmap.madvise(mmap.MADV_DONTNEED)  # type: ignore[attr-defined]


def not_finite(values: NDArray[Any], count: int, ids: Sequence[str] | None) -> str:
    """Describe the first pairs that are NaN or infinite, shape (n_pairs,), by id or row."""
    broken = np.flatnonzero(~np.isfinite(values))
    rows, columns = np.triu_indices(count, 1)
    names = list(range(count)) if ids is None or len(ids) != count else list(ids)
    pairs = [f"{names[rows[pair]]} – {names[columns[pair]]}" for pair in broken[:10]]
    more = f" and {len(broken) - 10} more" if len(broken) > 10 else ""
    where = f"between {', '.join(pairs)}{more}" if pairs else "on or below its diagonal"
    return f"NaN or infinity {where}; leave these stimuli out, or fill the values in"


def check_ids(ids: Sequence[str], count: int, what: str) -> None:
    """Refuse ids that are not one per stimulus, or not all different."""
    if len(ids) != count:
        raise InvalidArgument(
            f"{what} has {count} stimuli, but {counted(len(ids), 'id')}; each stimulus needs one."
        )
    doubled = [name for name, times in Counter(ids).items() if times > 1]
    if doubled:
        raise InvalidArgument(f"{what} has ids that stand for several stimuli: {listing(doubled)}.")
