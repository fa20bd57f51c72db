"""Rank correlations over samples of the stimuli: sorted once, ranked anew in each sample."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]


def by_ranks(
    comparison: str,
    models: Array,
    subjects: Array,
    counts: Array,
    pools: Sequence[Array],
    dtype: str,
) -> tuple[Array, list[Array]]:
    """Rank each sample anew, without sorting it anew: Spearman's correlation and rho-a."""
    ranks_of = _ranking(np.concatenate([models, subjects]))
    first, second = np.triu_indices(counts.shape[1], 1)
    values = np.empty((len(counts), len(models), len(subjects)))
    bounds = [np.full((len(counts), 2), np.nan) for _ in pools]
    for number, times in enumerate(counts.astype(np.float64)):
        weights = times[first] * times[second]
        ranks = ranks_of(weights)
        scale = _scale(comparison, float(weights.sum()))
        values[number] = _of_ranks(ranks[: len(models)], ranks[len(models) :], weights, scale)
        if pools:
            there = weights > 0
            few = ranks[len(models) :, there], weights[there]
            for bound, pool in zip(bounds, pools, strict=True):
                bound[number] = _ranked_ceiling(*few, pool[number], scale)
    return values, bounds


def _scale(comparison: str, n_pairs: float) -> float | None:
    """Give what rho-a scales sums of products of ranks by; None for Spearman's correlation."""
    return 12 / (n_pairs**3 - n_pairs) if comparison == "rho_a" else None


def _of_ranks(a: Array, b: Array, weights: Array, scale: float | None) -> Array:
    """Compare rows of centred ranks, NaN where one is constant."""
    roots = np.sqrt(weights)
    a, b = a * roots, b * roots
    products = a @ b.T
    if scale is not None:
        return np.asarray(products * scale)
    squares = [np.einsum("ij,ij->i", rows, rows) for rows in (a, b)]
    lengths = [np.sqrt(np.where(square > 0, square, np.nan)) for square in squares]
    return np.asarray(products / np.outer(*lengths))


def _ranked_ceiling(
    ranks: Array, weights: Array, counts: Array, scale: float | None
) -> tuple[float, float]:
    """Compute the noise ceiling from the ranks of subjects, each counted so often."""
    total = counts @ ranks
    present = np.flatnonzero(counts)
    others = [total - counts[one] * ranks[one] for one in present]  # exact, so ties stay ties
    pooled = _ranking(np.stack([total, *others]))(weights)
    ranks = ranks[present]
    upper = _of_ranks(pooled[:1], ranks, weights, scale).mean()
    if len(present) < 2:
        return np.nan, float(upper)
    lower = [
        _of_ranks(pooled[[1 + row]], ranks[[row]], weights, scale)[0, 0]
        for row in range(len(present))
    ]
    return float(np.mean(lower)), float(upper)


def _ranking(rows: Array) -> Callable[[Array], Array]:
    """Sort rows once, and give a function from weights of pairs to weighted ranks less their mean.

    Values that occur so often share the mean of the ranks that they take up: from the sum of
    the weights of all smaller values to that which includes their own.
    """
    n_rows, n_pairs = rows.shape
    order = np.argsort(rows, axis=1)
    before, after = np.empty_like(order), np.empty_like(order)
    for row, places in enumerate(order):
        ordered = rows[row, places]
        starts = np.flatnonzero(np.r_[True, ordered[1:] != ordered[:-1]])
        sizes = np.diff(np.r_[starts, n_pairs])
        before[row, places] = np.repeat(starts, sizes)
        after[row, places] = np.repeat(starts + sizes, sizes)

    def ranks(weights: Array) -> Array:
        found = np.empty((n_rows, n_pairs))
        summed, lower = np.zeros(n_pairs + 1), np.empty(n_pairs)
        for row in range(n_rows):  # one at a time, for the sake of the cache
            np.take(weights, order[row], out=lower, mode="clip")
            np.cumsum(lower, out=summed[1:])
            np.take(summed, before[row], out=lower, mode="clip")
            np.take(summed, after[row], out=found[row], mode="clip")
            found[row] += lower
            found[row] -= summed[-1]
            found[row] /= 2
        return found

    return ranks
