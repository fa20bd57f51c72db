"""What may have been done to the numbers of features."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from math import inf
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

# Largest difference, relative to the largest magnitude, of numbers that differ in last digits only.
SAME = 1e-5
# The same where one side was rounded to, or computed in, fewer digits.
COARSE = 2e-2

Rows = NDArray[Any]


class Change(NamedTuple):
    """What turns A's numbers into B's.

    Parameters
    ----------
    says : str
        A sentence, of A and B.
    residual : float
        What is left: largest difference, relative to B's largest magnitude.
    is_same : bool
        Whether the numbers are the same but for last digits.
    """

    says: str
    residual: float
    is_same: bool = False


def gap(found: Rows, wanted: Rows) -> float:
    """Compute the largest difference, relative to the largest magnitude of what was wanted."""
    with np.errstate(all="ignore"):
        same = (found == wanted) | (np.isnan(found) & np.isnan(wanted))
        largest = float(np.where(same, 0, np.abs(found - wanted)).max(initial=0))
        scale = float(np.abs(wanted[np.isfinite(wanted)]).max(initial=0))
    if largest == 0:
        return 0.0
    return largest / scale if scale and np.isfinite(largest) else float("inf")


def as_float16(rows: Rows) -> Rows:
    """Round to half precision."""
    with np.errstate(over="ignore"):
        return rows.astype(np.float32).astype(np.float16).astype(np.float64)


def as_bfloat16(rows: Rows) -> Rows:
    """Round to bfloat16: the upper 16 bits of float32, halves to even.

    Examples
    --------
    >>> as_bfloat16(np.array([1.0, 1.00390625, 1.01171875]))
    array([1.      , 1.      , 1.015625])
    """
    bits = np.ascontiguousarray(rows, np.float32).view(np.uint32)
    rounded = bits + np.uint32(0x7FFF) + ((bits >> np.uint32(16)) & np.uint32(1))
    kept: Rows = (rounded & np.uint32(0xFFFF0000)).view(np.float32).astype(np.float64)
    return kept


def rectified(rows: Rows) -> Rows:
    """Cut negative numbers off, as a ReLU does."""
    return np.maximum(rows, 0)


def unit(rows: Rows) -> Rows:
    """Scale each row to length one."""
    length = np.linalg.norm(rows, axis=1, keepdims=True)
    scaled: Rows = rows / np.where(length == 0, 1, length)
    return scaled


# What is tried, the plainest first: {a} and {b} are the names of the sides.
PLAIN: dict[str, Callable[[Rows], Rows]] = {
    "{b} is {a} after a ReLU: max({a}, 0)": rectified,
    "{b}'s rows are {a}'s scaled to length one (L2)": unit,
}
ROUNDED: dict[str, Callable[[Rows], Rows]] = {
    "{b} is {a} rounded to float16": as_float16,
    "{b} is {a} rounded to bfloat16": as_bfloat16,
}


def changes(a: Rows, b: Rows) -> Iterator[Change]:
    """Try what may have been done to A's numbers, or to B's, so that they differ.

    Parameters
    ----------
    a, b : array of float64, shape (n_stimuli, n_features)
        Rows that belong together, features in one order.

    Yields
    ------
    Change
        Each with what it leaves unexplained: as many for all numbers, in one order.
    """
    yield Change("The numbers are the same", gap(a, b), is_same=True)
    for words, change in ROUNDED.items():
        for one, other, names in _both_ways(a, b):
            is_exact = gap(change(one), other) == 0
            yield Change(words.format(**names), 0.0 if is_exact else inf)
    for words, change in PLAIN.items():
        for one, other, names in _both_ways(a, b):
            left = gap(change(one), other)
            yield Change(words.format(**names), left)
    yield from _linear(a, b)


def _both_ways(a: Rows, b: Rows) -> list[tuple[Rows, Rows, dict[str, str]]]:
    return [(a, b, {"a": "A", "b": "B"}), (b, a, {"a": "B", "b": "A"})]


def _linear(a: Rows, b: Rows) -> Iterator[Change]:
    nothing = Change("", inf)
    if not (np.isfinite(a).all() and np.isfinite(b).all()):
        yield from [nothing] * 4
        return
    square = float((a * a).sum())
    factor = float((a * b).sum()) / square if square else 0.0
    yield Change(f"B is {factor:.6g} times A", gap(factor * a, b)) if factor else nothing
    if len(a) < 4:
        yield from [nothing] * 3
        return
    shift = (b - a).mean(axis=0)
    centred = float(np.abs(a.mean(axis=0)).mean()), float(np.abs(b.mean(axis=0)).mean())
    words = "B is A less the same numbers in every row"
    if centred[1] < 0.1 * centred[0]:
        words = "B is A with each feature's mean over stimuli removed (centred)"
    elif centred[0] < 0.1 * centred[1]:
        words = "A is B with each feature's mean over stimuli removed (centred)"
    yield Change(words, gap(a + shift, b))
    yield Change(
        "Each feature of B is a linear function of A's, as after z-scoring over stimuli",
        gap(_fitted(a, b), b),
    )
    if a.shape[1] >= 8:
        yield Change(
            "Each row of B is a linear function of A's, as after z-scoring rows",
            gap(_fitted(a.T, b.T).T, b),
        )


def _fitted(a: Rows, b: Rows) -> Rows:
    """Fit each column of B by the same column of A and a constant."""
    mean_a, mean_b = a.mean(axis=0), b.mean(axis=0)
    a, spread = a - mean_a, b - mean_b
    square = (a * a).sum(axis=0)
    slope = (a * spread).sum(axis=0) / np.where(square == 0, 1, square)
    fitted: Rows = a * slope + mean_b
    return fitted
