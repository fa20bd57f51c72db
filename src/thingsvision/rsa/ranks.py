"""Ranks, equal values sharing their mean rank."""

from __future__ import annotations

from typing import Any

import numpy as np
from jaxtyping import Float, Shaped
from numpy.typing import NDArray


def average_ranks(values: Shaped[np.ndarray, " n"]) -> Float[np.ndarray, " n"]:
    """Rank numbers from 1 on, equal ones sharing their mean rank, shape (n,) to (n,).

    Examples
    --------
    >>> average_ranks(np.array([0.3, 0.1, 0.3]))
    array([2.5, 1. , 2.5])
    """
    order = np.argsort(values)
    ordered = values[order]
    ranks = np.empty(len(values))
    first = np.flatnonzero(np.concatenate(([True], ordered[1:] != ordered[:-1])))
    if len(first) == len(values):  # no ties, which is what most RDMs are
        ranks[order] = np.arange(1.0, len(values) + 1)
        return ranks
    after = np.append(first[1:], len(values))
    ranks[order] = np.repeat((first + after + 1) / 2, after - first)
    return ranks


def ranked(rows: NDArray[Any]) -> NDArray[np.float64]:
    """Rank the values of each row, shape (n_rows, n) to (n_rows, n)."""
    return np.stack([average_ranks(row) for row in rows])
