"""Why the numbers of two modules disagree, found from rows that belong together."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .layouts import views
from .rows import Join, blocks
from .values import COARSE, SAME, Change, changes, gap

# Rows that explanations are tried on, and those on which they must hold.
TRIED, SAMPLE = 8, 200
# Numbers that a sample has at most.
LARGEST = 2**24
# Least correlation of rows that the same network gave for images that were prepared otherwise.
RELATED = 0.8
# What differences of a size are like.
LIKE = {
    "precision": "Small differences without a pattern, as of computing with fewer digits",
    "preprocessing": "Small but systematic differences, as of images that were resized, cropped or "
    "scaled in another way",
    "module": "Other numbers, as of another module, other weights or other images",
}


@dataclass(frozen=True)
class Explanation:
    """What makes one array of the other.

    Parameters
    ----------
    about : str
        What differs: values, layout, precision, preprocessing, or module.
    says : str
        In words.
    figure : float
        Largest difference that is left, relative to the largest magnitude.
    holds : bool
        Whether it accounts for all differences.
    """

    about: str
    says: str
    figure: float
    holds: bool


@dataclass(frozen=True, eq=False)
class Sides:
    """Two arrays, and which of their rows belong together.

    Parameters
    ----------
    a, b : array, shape (n_stimuli, ...)
        Activations.
    join : Join
        Their rows.
    axes_a, axes_b : sequence of str
        Names of axes, if they are known.
    recorded : collection of str
        What the records of both say differently: preprocessing, precision, …; empty if unknown.
    """

    a: Any
    b: Any
    join: Join
    axes_a: Sequence[str] = ()
    axes_b: Sequence[str] = ()
    recorded: Collection[str] = ()

    @property
    def widths(self) -> tuple[int, int]:
        """Number of features of a row of each."""
        a, b = (int(np.prod(array.shape[1:], dtype=np.int64)) for array in (self.a, self.b))
        return a, b

    def sample(self, count: int) -> tuple[NDArray[Any], NDArray[Any]]:
        """Read some pairs of rows, evenly spread."""
        count = max(2, min(count, LARGEST // max(1, *self.widths)))
        rows = np.linspace(0, len(self.join.a) - 1, min(count, len(self.join.a))).astype(int)
        return _taken(self.a, self.join.a[rows]), _taken(self.b, self.join.b[rows])


def row_gaps(sides: Sides) -> NDArray[Any]:
    """Compute each pair's largest difference, relative to the largest magnitude in B.

    Both have as many features. A number that is finite on one side only counts as infinity.
    """
    found, scale = [], 0.0
    a, b, step = _Rows(sides.a, sides.join.a), _Rows(sides.b, sides.join.b), 0
    for (_, one), (_, other) in zip(blocks(a), blocks(b), strict=True):
        with np.errstate(all="ignore"):
            same = (one == other) | (np.isnan(one) & np.isnan(other))
            rows = np.where(same, 0, np.abs(one - other)).max(axis=1, initial=0)
        found.append(np.nan_to_num(rows, nan=np.inf, posinf=np.inf))
        scale = max(scale, float(np.abs(other[np.isfinite(other)]).max(initial=0)))
        step += len(one)
    return np.concatenate(found) / (scale or 1.0)


def explain(sides: Sides) -> Explanation | None:
    """Find what was done to the numbers; None if nothing that is known accounts for them."""
    many = sides.sample(SAMPLE)
    for place, (_, tried) in enumerate(_tries(sides, sides.sample(TRIED))):
        if tried.residual > SAME:
            continue
        # Many rows cost much, so that they are asked only of what a few agree on.
        words, change = next(islice(_tries(sides, many), place, None))
        if change.residual <= SAME:
            about = "layout" if words and change.is_same else "values"
            says = f"{words}; {change.says[0].lower()}{change.says[1:]}" if words else change.says
            return Explanation(about, f"{says}.{_figures(sides, many, change.residual)}",
                               change.residual, True)  # fmt: skip
    return None


def _figures(sides: Sides, pair: tuple[NDArray[Any], NDArray[Any]], left: float) -> str:
    """Say how large the difference was, and what is left of it."""
    rest = f"{left:.1g} of the largest magnitude is left" if left else "nothing is left"
    if len(set(sides.widths)) > 1:
        return f" On {len(pair[0])} rows {rest}."
    a, b = (x.reshape(len(x), -1).astype(np.float64) for x in pair)
    return f" As they stand they differ by up to {gap(a, b):.2g} of the largest magnitude; {rest}."


def describe(sides: Sides) -> Explanation:
    """Say how large differences are that nothing accounts for, and what is like them."""
    a, b = sides.sample(SAMPLE)
    alike = _rdm_correlation(a, b)
    rdms = "" if alike is None else f" Their RDMs correlate with {alike:.4f}."
    if len(set(sides.widths)) > 1:
        says = f"A has {sides.widths[0]} features in a row, B {sides.widths[1]}.{rdms}"
        return Explanation("shape", says, np.inf, False)
    flat_a, flat_b = (x.reshape(len(x), -1).astype(np.float64) for x in (a, b))
    left, mean = gap(flat_a, flat_b), _row_correlation(flat_a, flat_b)
    size = (
        f"rows correlate with {mean:.4f} on average; the largest difference is {left:.2g} of the "
        f"largest magnitude.{rdms}"
    )
    about = "module"
    if mean > RELATED:
        about = "precision" if left <= COARSE and mean > 0.999 else "preprocessing"
        # What the records say is surer than the size of differences.
        if "precision" in sides.recorded and "preprocessing" not in sides.recorded:
            about = "precision"
    return Explanation(about, f"{LIKE[about]}: {size}", left, False)


def _tries(sides: Sides, pair: tuple[NDArray[Any], NDArray[Any]]) -> Iterator[tuple[str, Change]]:
    """Yield all that may have happened, always in the same order."""
    a, b = pair
    width_a, width_b = sides.widths
    flat_b = b.reshape(len(b), width_b).astype(np.float64)
    for words, rows in views(a, width_b, sides.axes_a):
        for change in changes(rows.astype(np.float64), flat_b):
            yield f"B is A {words}" if words else "", change
    flat_a = a.reshape(len(a), width_a).astype(np.float64)
    if b.ndim > 2:
        for words, rows in views(b, width_a, sides.axes_b):
            if words:
                for change in changes(flat_a, rows.astype(np.float64)):
                    yield f"A is B {words}", change


def _row_correlation(a: NDArray[Any], b: NDArray[Any]) -> float:
    """Average the correlation of rows that belong together, of those that vary."""
    with np.errstate(all="ignore"):
        a, b = (x - x.mean(axis=1, keepdims=True) for x in (a, b))
        found = (a * b).sum(axis=1) / np.sqrt((a * a).sum(axis=1) * (b * b).sum(axis=1))
    found = found[np.isfinite(found)]
    return float(found.mean()) if len(found) else 0.0


def _rdm_correlation(a: NDArray[Any], b: NDArray[Any]) -> float | None:
    """Correlate RDMs of the rows (1 − Pearson); None for too few of them."""
    if len(a) < 4:
        return None
    upper = np.triu_indices(len(a), 1)
    with np.errstate(all="ignore"):
        rdms = [
            np.asarray(np.corrcoef(x.reshape(len(x), -1).astype(np.float64)))[upper] for x in (a, b)
        ]
        found = float(np.asarray(np.corrcoef(rdms))[0, 1])
    return found if np.isfinite(found) else None


def _taken(array: Any, rows: NDArray[Any]) -> NDArray[Any]:
    order = np.argsort(rows, kind="stable")  # files are read forwards
    back = np.argsort(order, kind="stable")
    taken: NDArray[Any] = np.asarray(array[rows[order]])[back]
    return taken


class _Rows:
    """Some rows of an array, read when they are asked for."""

    def __init__(self, array: Any, rows: NDArray[Any]) -> None:
        self._array, self._rows = array, rows
        self.shape = (len(rows), *array.shape[1:])

    def __len__(self) -> int:
        return len(self._rows)

    def __getitem__(self, part: slice) -> NDArray[Any]:
        return _taken(self._array, self._rows[part])
