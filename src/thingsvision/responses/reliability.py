"""Reliability: how much of the variance of responses would come again in another measurement."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import combinations
from math import comb
from typing import Any

import numpy as np
from jaxtyping import Float
from numpy.typing import ArrayLike, NDArray

from ..errors import InvalidArgument, counted

N_SPLITS = 100  # random halves, where there are more ways than that


def split_half_reliability(
    repeats: Float[np.ndarray, "n_stimuli n_repeats n_targets"], seed: int = 0
) -> Float[np.ndarray, " n_targets"]:
    r"""Estimate the reliability of the mean over repeats, from correlations of halves.

    The Pearson correlation over stimuli of the means of two halves, averaged over
    the ways to split (100 random ones if there are more), stepped up to all repeats by
    the formula of Spearman (1910, doi:10.1111/j.2044-8295.1910.tb00206.x) and Brown
    (1910, doi:10.1111/j.2044-8295.1910.tb00207.x), :math:`k r / (1 + (k - 1) r)` with
    :math:`k` the number of repeats over that of a half. Of an odd number, each split
    leaves out one. It is a share of variance: the largest correlation with a perfect
    model is its square root.

    Parameters
    ----------
    repeats : array, shape (n_stimuli, n_repeats, n_targets)
        At least three stimuli and two repeats.
    seed : int
        Of the random halves.

    Returns
    -------
    array, shape (n_targets,)
        At most 1; about zero or less for noise, NaN where a half is constant or not finite.

    Raises
    ------
    InvalidArgument
        If there are fewer than three stimuli or two repeats.

    Examples
    --------
    >>> once = np.array([[1.0], [2.0], [4.0]])
    >>> split_half_reliability(np.stack([once, once], axis=1)).round(12)
    array([1.])
    """
    n_stimuli, n_repeats, n_targets = repeats.shape
    if n_stimuli < 3 or n_repeats < 2:
        raise InvalidArgument(
            f"A reliability over {n_stimuli} stimuli and {counted(n_repeats, 'repeat')} cannot be "
            "estimated; it takes three stimuli and two repeats."
        )
    half = n_repeats // 2
    splits = list(_splits(n_repeats, half, seed))
    total = np.zeros(n_targets)
    for first, second in splits:
        total += _correlations(repeats[:, first].mean(axis=1), repeats[:, second].mean(axis=1))
    correlation = total / len(splits)
    return spearman_brown(correlation, n_repeats / half)


def spearman_brown(reliability: ArrayLike, factor: float = 2.0) -> NDArray[np.float64]:
    r"""Step a reliability up to a measurement `factor` times as long, :math:`k r / (1 + (k-1) r)`.

    Spearman (1910, doi:10.1111/j.2044-8295.1910.tb00206.x), Brown (1910,
    doi:10.1111/j.2044-8295.1910.tb00207.x). Where :math:`r \le -1 / (k - 1)` it
    is not defined: NaN.

    Parameters
    ----------
    reliability : float or array
        Correlation of two measurements.
    factor : float
        How many times as long.

    Returns
    -------
    array of the same shape

    Examples
    --------
    >>> spearman_brown([0.5, 1.0])
    array([0.66666667, 1.        ])
    """
    value = np.asarray(reliability, np.float64)
    below = 1 + (factor - 1) * value
    result = np.full(value.shape, np.nan)
    np.divide(factor * value, below, out=result, where=below > 1e-12)
    return result


def _splits(n_repeats: int, half: int, seed: int) -> Iterator[tuple[Sequence[int], Sequence[int]]]:
    """Yield pairs of halves: all ways to split, or random ones if they are many."""
    ways = comb(n_repeats, half) * comb(n_repeats - half, half) // 2
    if ways > N_SPLITS:
        rng = np.random.default_rng(seed)
        for _ in range(N_SPLITS):
            order = rng.permutation(n_repeats)
            yield order[:half].tolist(), order[half : 2 * half].tolist()
        return
    for first in combinations(range(n_repeats), half):
        rest = [number for number in range(n_repeats) if number not in first]
        for second in combinations(rest, half):
            if first < second:
                yield list(first), list(second)


def _correlations(a: NDArray[Any], b: NDArray[Any]) -> NDArray[np.float64]:
    scale = np.sqrt(np.square(a).sum(axis=0) * np.square(b).sum(axis=0))
    a = a - a.mean(axis=0)
    b = b - b.mean(axis=0)
    lengths = np.sqrt(np.square(a).sum(axis=0) * np.square(b).sum(axis=0))
    products = (a * b).sum(axis=0)
    result = np.full(len(lengths), np.nan)
    np.divide(products, lengths, out=result, where=lengths > 1e-12 * scale)
    return result
