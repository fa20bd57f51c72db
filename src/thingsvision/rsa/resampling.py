"""Comparisons of RDMs whose stimuli are drawn with repetition, in the quickest way for each.

A sample of stimuli is how often each was drawn, its counts. The pair of a stimulus with itself
is left out of a sample, for its dissimilarity is trivially zero.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .ceiling import ceiling_of
from .comparison import COMPARISONS
from .matrix import condensed, squared
from .weighted import by_products
from .weighted_ranks import by_ranks

Array = NDArray[Any]
LEAST = 3  # different stimuli in a sample; of two there is but one pair
PRODUCTS = 4_000_000  # products of rows at a time


def resampled(
    comparison: str,
    models: Array,
    subjects: Array,
    counts: Array,
    pools: Sequence[Array] = (),
    dtype: str = "float64",
) -> tuple[Array, list[Array]]:
    """Compare models with subjects over samples of the stimuli.

    Parameters
    ----------
    comparison : str
        A name in `thingsvision.rsa.COMPARISONS`.
    models, subjects : array of float64, shapes (n_models, n_pairs), (n_subjects, n_pairs)
    counts : array of int, shape (n_samples, n_stimuli)
        How often each stimulus was drawn.
    pools : sequence of arrays of int, each of shape (n_samples, n_subjects)
        How often each subject counts in the noise ceilings of the samples; one ceiling each.
    dtype : str
        Of the large products, ``"float64"`` or ``"float32"``.

    Returns
    -------
    values : array, shape (n_samples, n_models, n_subjects)
        NaN for samples of fewer than three different stimuli, and where an RDM is constant
        over the sample.
    ceilings : list of arrays, shape (n_samples, 2)
        Lower and upper.
    """
    way = _WAYS.get(comparison, _by_expansion)
    values = np.full((len(counts), len(models), len(subjects)), np.nan)
    ceilings = [np.full((len(counts), 2), np.nan) for _ in pools]
    good = np.flatnonzero((counts > 0).sum(axis=1) >= LEAST)
    chunk = max(32, min(1024, PRODUCTS // (len(models) + len(subjects) + 1) ** 2))
    for start in range(0, len(good), chunk):
        chosen = good[start : start + chunk]
        found, bounds = way(
            comparison, models, subjects, counts[chosen], [pool[chosen] for pool in pools], dtype
        )
        values[chosen] = found
        for ceiling, bound in zip(ceilings, bounds, strict=True):
            ceiling[chosen] = bound
    return values, ceilings


def _by_expansion(
    comparison: str,
    models: Array,
    subjects: Array,
    counts: Array,
    pools: Sequence[Array],
    dtype: str,
) -> tuple[Array, list[Array]]:
    """Make the RDMs of each sample: Kendall's tau, Bures, comparisons of other packages."""
    compare = COMPARISONS[comparison]
    values = np.full((len(counts), len(models), len(subjects)), np.nan)
    for number, times in enumerate(counts):
        drawn = expanded(np.concatenate([models, subjects]), times, comparison == "bures")
        if (np.ptp(drawn, axis=1) > 0).all():
            values[number] = compare(drawn[: len(models)], drawn[len(models) :])
    return values, _expanded_ceilings(comparison, subjects, counts, pools)


def _expanded_ceilings(
    comparison: str, subjects: Array, counts: Array, pools: Sequence[Array]
) -> list[Array]:
    bounds = [np.full((len(counts), 2), np.nan) for _ in pools]
    for number, times in enumerate(counts if pools else ()):
        drawn = expanded(subjects, times, comparison == "bures")
        if (np.ptp(drawn, axis=1) > 0).all():
            for bound, pool in zip(bounds, pools, strict=True):
                bound[number] = ceiling_of(drawn, comparison, pool[number])
    return bounds


def expanded(rows: Array, counts: Array, with_copies: bool = False) -> Array:
    """Make the pairs of a sample, shape (n_rows, n_pairs_drawn).

    Pairs of a stimulus with itself are left out, or with `with_copies` stay in as zeros, since
    a kernel has no place for missing pairs.
    """
    drawn = np.repeat(np.arange(len(counts)), counts)
    if with_copies:
        return np.stack([condensed(squared(row)[np.ix_(drawn, drawn)]) for row in rows])
    first, second = np.triu_indices(len(counts), 1)
    return np.asarray(np.repeat(rows, counts[first] * counts[second], axis=1))


_WAYS: dict[str, Callable[..., tuple[Array, list[Array]]]] = {
    "pearson": by_products,
    "cosine": by_products,
    "whitened_correlation": by_products,
    "whitened_cosine": by_products,
    "spearman": by_ranks,
    "rho_a": by_ranks,
}
