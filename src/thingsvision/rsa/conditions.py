"""Repeated measurements: which are of one condition, which of one fold, and their means."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import InvalidArgument, counted, listing

Codes = NDArray[np.intp]


def coded(labels: Any) -> tuple[Codes, list[str]]:
    """Give labels numbers, in the order in which they first appear.

    Examples
    --------
    >>> codes, names = coded(["cup", "cat", "cup"])
    >>> codes.tolist(), names
    ([0, 1, 0], ['cup', 'cat'])
    """
    numbers: dict[str, int] = {}
    codes = [numbers.setdefault(str(label), len(numbers)) for label in labels]
    return np.array(codes, dtype=np.intp), list(numbers)


def averaged(measurements: NDArray[Any], codes: Codes) -> NDArray[Any]:
    """Average the rows of each code, in float64, shape (n_codes, n_features)."""
    count = int(codes.max()) + 1
    order = np.argsort(codes, kind="stable")
    starts = np.searchsorted(codes[order], np.arange(count))
    sums = np.add.reduceat(measurements[order], starts, axis=0, dtype=np.float64)
    sums /= np.bincount(codes, minlength=count)[:, None]
    return sums.astype(measurements.dtype, copy=False)


def left_out(
    measurements: NDArray[np.float64], conditions: Any, folds: Any
) -> Iterator[tuple[NDArray[np.float64], NDArray[np.float64]]]:
    """Average each condition outside a fold and inside it, for every fold.

    Parameters
    ----------
    measurements : array, shape (n_measurements, n_features)
        Repeated measurements.
    conditions, folds : sequence, length n_measurements
        Of which condition, and in which fold (run, session) each measurement is.

    Yields
    ------
    array, array, shape (n_conditions, n_features)
        Means over the measurements of the other folds, and over those of this fold.

    Raises
    ------
    InvalidArgument
        If there is only one fold, or a condition lacks in one.
    """
    if conditions is None or folds is None:
        missing = "conditions" if conditions is None else "folds"
        raise InvalidArgument(
            f"A cross-validated dissimilarity needs {missing}=…: for each row of the features, "
            "its condition, and its fold (e.g. the run), within which noise is shared."
        )
    for what, labels in (("conditions", conditions), ("folds", folds)):
        if len(labels) != len(measurements):
            raise InvalidArgument(
                f"There are {counted(len(measurements), 'row')} of features, but {len(labels)} "
                f"{what}; each row needs one."
            )
    (rows, names), (parts, parted) = coded(conditions), coded(folds)
    if len(parted) < 2:
        raise InvalidArgument(
            f"There is only one fold, {listing(parted)}. Cross-validation needs two or more."
        )
    there = np.zeros((len(names), len(parted)), dtype=bool)
    there[rows, parts] = True
    if not there.all():
        gaps = [f"{names[row]} in {parted[part]}" for row, part in np.argwhere(~there)]
        raise InvalidArgument(
            f"Conditions that lack in a fold: {listing(gaps)}. Every condition has to be measured "
            "in every fold; leave these conditions out, or join folds."
        )
    for part in range(len(parted)):
        test = parts == part
        yield averaged(measurements[~test], rows[~test]), averaged(measurements[test], rows[test])
