"""Correlations and cosines over samples of the stimuli, all samples in one matrix product.

The pair of stimuli i and j, drawn ``m_i`` and ``m_j`` times, occurs ``m_i m_j`` times, so what a
sample needs is a sum of products of dissimilarities weighted so.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .correlations import standardised, unit
from .kernels import kernel
from .matrix import condensed, squared

Array = NDArray[Any]
PAIRS = 512  # pairs of a block, at least
BLOCK = 131_072  # weights of a block, of so many samples as this gives room


def by_products(
    comparison: str,
    models: Array,
    subjects: Array,
    counts: Array,
    pools: Sequence[Array],
    dtype: str,
) -> tuple[Array, list[Array]]:
    """Take the way of the matrix product: correlations and cosines that do not rank."""
    centred = comparison in ("pearson", "whitened_correlation")
    rows = np.concatenate([models, subjects])
    rows = standardised(rows) if centred else unit(rows)
    rows *= np.sqrt(rows.shape[1])
    ones = np.ones((1, rows.shape[1]))
    n_models, n_rows = len(models), len(rows)
    wanted = _needed(n_models, len(subjects), centred, bool(pools))
    extended = np.concatenate([rows, ones]) if centred else rows
    plain = _products(extended, wanted, counts, dtype)
    means = None
    if centred:
        means = plain[:, :n_rows, n_rows] / plain[:, n_rows, n_rows, None]
    inner = plain
    if comparison.startswith("whitened"):
        inner = _whitened_products(extended, wanted, counts, dtype)
    plain, inner = _about(plain, means), _about(inner, means)
    rounding = 1e-12 if dtype == "float64" else 1e-5
    lengths = _lengths(inner, rounding)
    values = inner[:, :n_models, n_models:] / (
        lengths[:, :n_models, None] * lengths[:, None, n_models:]
    )
    among = inner[:, n_models:, n_models:]
    scales = 1 / _lengths(plain, rounding)[:, n_models:]
    return values, [_pooled_ceilings(among, scales, pool) for pool in pools]


def _needed(n_models: int, n_subjects: int, ones: bool, among: bool) -> tuple[Array, Array]:
    """List which rows to multiply: models, subjects, then ones."""
    n_rows = n_models + n_subjects
    need = np.zeros((n_rows + ones, n_rows + ones), bool)
    need[:n_models, n_models:n_rows] = True
    need[:, n_rows:] = True
    np.fill_diagonal(need, True)
    if among:
        need[n_models:, n_models:] = True
    first, second = np.nonzero(np.triu(need))
    return first, second


def _products(rows: Array, wanted: tuple[Array, Array], counts: Array, dtype: str) -> Array:
    """Sum the products of rows over the pairs of each sample, (n_samples, n_rows, n_rows).

    Only the wanted entries are filled in. Goes by blocks that stay in the cache: the pairs of
    some stimuli with all later ones, and some samples. Such blocks are too small to share out
    between threads, which would wait for each other longer than they work.
    """
    from threadpoolctl import threadpool_limits

    with threadpool_limits(1, user_api="blas"):
        return _spread(_sums(rows, wanted, counts, dtype), wanted, len(rows))


def _sums(rows: Array, wanted: tuple[Array, Array], counts: Array, dtype: str) -> Array:
    """Sum the wanted products over the pairs of each sample, (n_products, n_samples)."""
    times = np.ascontiguousarray(counts.T, dtype)
    values = rows.astype(dtype, copy=False)
    n_stimuli, n_samples = times.shape
    sums = np.zeros((len(wanted[0]), n_samples), dtype)
    width = min(n_samples, max(16, BLOCK // max(n_stimuli, PAIRS)))
    weights = np.empty((PAIRS + n_stimuli, width), dtype)
    start = 0
    for stimuli in _blocks(n_stimuli):
        n_pairs = sum(n_stimuli - 1 - one for one in stimuli)
        block = values[wanted[0], start : start + n_pairs]
        block *= values[wanted[1], start : start + n_pairs]
        start += n_pairs
        for first in range(0, n_samples, width):
            part = times[:, first : first + width]
            place = 0
            for one in stimuli:
                after = place + n_stimuli - 1 - one
                np.multiply(part[one], part[one + 1 :], out=weights[place:after, : part.shape[1]])
                place = after
            sums[:, first : first + width] += block @ weights[:n_pairs, : part.shape[1]]
    return sums


def _blocks(n_stimuli: int) -> Iterator[range]:
    """Group stimuli so that each group has about `PAIRS` pairs with later ones."""
    start, n_pairs = 0, 0
    for one in range(n_stimuli - 1):
        n_pairs += n_stimuli - 1 - one
        if n_pairs >= PAIRS or one == n_stimuli - 2:
            yield range(start, one + 1)
            start, n_pairs = one + 1, 0


def _spread(sums: Array, wanted: tuple[Array, Array], n_rows: int) -> Array:
    full = np.zeros((sums.shape[1], n_rows, n_rows))
    full[:, wanted[0], wanted[1]] = full[:, wanted[1], wanted[0]] = sums.T
    return full


def _about(products: Array, means: Array | None) -> Array:
    """Turn products of rows, the last being ones, into those of the rows less their means."""
    if means is None:
        return products
    rows, ones = products[:, :-1, :-1], products[:, :-1, -1]
    crossed = ones[:, :, None] * means[:, None, :]
    square = means[:, :, None] * means[:, None, :] * products[:, -1:, -1:]
    return np.asarray(rows - crossed - crossed.transpose(0, 2, 1) + square)


def _lengths(products: Array, rounding: float) -> Array:
    """Take the lengths of rows from their products, NaN where nothing but rounding is left."""
    squares = np.einsum("bii->bi", products).copy()
    squares[squares <= rounding * squares.max(axis=1, keepdims=True)] = np.nan
    return np.asarray(np.sqrt(squares))


def _whitened_products(
    rows: Array, wanted: tuple[Array, Array], counts: Array, dtype: str
) -> Array:
    """Sum the products of doubly centred kernels over each sample, pairs of copies left out.

    Centring a kernel takes ``(c_i + c_j) / 2`` off each entry. With entries left out, c is the
    least-squares solution over those that are there: c_i (n / 2 + 1 - m_i) + s / 2 = r_i, with
    r the sums over what is there and s = sum(m c). Its part of the products is sum(m c r).
    """
    kernels = [kernel(squared(row)) for row in rows]
    diagonals = np.stack([inner.diagonal() for inner in kernels])
    pairs = np.stack([condensed(inner) for inner in kernels])
    total = 2 * _products(pairs, wanted, counts, dtype)
    times = counts.astype(np.float64)
    total += _spread((diagonals[wanted[0]] * diagonals[wanted[1]]) @ times.T, wanted, len(rows))
    sums = np.stack([times @ inner for inner in kernels], axis=1)  # (n_samples, n_rows, n_stimuli)
    sums += diagonals * (1 - times[:, None, :])
    fitted = _fitted(sums, times)
    return np.asarray(total - (fitted * times[:, None, :]) @ sums.transpose(0, 2, 1))


def _fitted(sums: Array, times: Array) -> Array:
    """Solve for what centring takes off each stimulus, shape (n_samples, n_rows, n_stimuli)."""
    n_stimuli = times.shape[1]
    pivots = n_stimuli / 2 + 1 - times
    singular = np.flatnonzero((pivots == 0).any(axis=1))
    pivots[singular] = 1
    weights = (times / pivots)[:, None, :]
    share = (weights * sums).sum(axis=2) / (1 + weights.sum(axis=2) / 2)
    fitted = (sums - share[:, :, None] / 2) / pivots[:, None, :]
    for one in singular:  # a stimulus that is half of the sample: few, in tiny sets
        system = np.diag(n_stimuli / 2 + 1 - times[one]) + times[one] / 2
        fitted[one] = np.linalg.solve(system, sums[one].T).T
    return np.asarray(fitted)


def _pooled_ceilings(inner: Array, scales: Array, counts: Array) -> Array:
    """Compute noise ceilings from the products among subjects, shape (n_samples, 2)."""
    weights = counts * scales
    own = np.einsum("bii->bi", inner)
    with_all = np.einsum("bst,bt->bs", inner, weights)
    length = (weights * with_all).sum(axis=1, keepdims=True)
    with_others = with_all - weights * own
    others = length - 2 * weights * with_all + weights**2 * own
    alone = (counts > 0).sum(axis=1, keepdims=True) < 2
    lower = with_others / np.sqrt(own * np.where(alone, np.nan, others))
    upper = with_all / np.sqrt(own * length)
    present = counts > 0
    return np.stack(
        [np.where(present, bound, 0).sum(axis=1) / present.sum(axis=1) for bound in (lower, upper)],
        axis=1,
    )
