"""Dissimilarities of counts: the divergence of Poisson distributions with these rates."""

from __future__ import annotations

from typing import Any

import numpy as np
from jaxtyping import Float, Shaped
from numpy.typing import NDArray

from ..errors import InvalidArgument
from .conditions import left_out
from .crossvalidated import crossed
from .dissimilarity import UndefinedRows, checked


def poisson(
    features: Shaped[np.ndarray, "n_stimuli n_features"],
    *,
    prior_lambda: float = 1.0,
    prior_weight: float = 0.1,
) -> Float[np.ndarray, " n_pairs"]:
    """Compute the symmetrised Kullback–Leibler divergence of Poisson rates, per feature.

    ``sum((x - y) (log x - log y)) / n_features``, as rsatoolbox has it, with rates x drawn
    towards a prior: ``x = (features + prior_weight prior_lambda) / (1 + prior_weight)``.

    Parameters
    ----------
    features : array, shape (n_stimuli, n_features)
        Counts or rates, not negative; no NaN and no infinity.
    prior_lambda : float
        Rate expected beforehand, in the units of the features; positive.
    prior_weight : float
        How many measurements the expectation is worth; positive, or zero for none.

    Returns
    -------
    array, shape (n_pairs,)
        Not negative.

    Raises
    ------
    InvalidArgument
        If a row is not finite or holds negative numbers, or without a prior zeros.

    References
    ----------
    .. [1] Schütt et al. (2023). doi:10.7554/eLife.82566

    Examples
    --------
    >>> counts = np.array([[1.0, 0.0], [4.0, 0.0]])
    >>> poisson(counts).round(4)  # x = 1, y = 4.1 / 1.1: (y - x) log(y) / 2
    array([1.7941])
    """
    features = checked(features)
    rates = _rates(features, prior_lambda, prior_weight)
    logs = np.log(rates)
    pairs = crossed(rates, logs)
    # Where the product lost digits, the differences themselves.
    rows, columns = np.triu_indices(len(rates), 1)
    sizes = np.einsum(
        "ij,ij->i", np.abs(rates - rates.mean(axis=0)), np.abs(logs - logs.mean(axis=0))
    )
    close = np.flatnonzero(pairs * rates.shape[1] < 1e-5 * (sizes[rows] + sizes[columns]))
    for pair in close:
        x, y = rows[pair], columns[pair]
        pairs[pair] = np.mean((rates[x] - rates[y]) * (logs[x] - logs[y]))
    return pairs.astype(features.dtype, copy=False)


def poisson_cv(
    measurements: Shaped[np.ndarray, "n_measurements n_features"],
    *,
    conditions: Any = None,
    folds: Any = None,
    prior_lambda: float = 1.0,
    prior_weight: float = 0.1,
) -> Float[np.ndarray, " n_pairs"]:
    """Compute the cross-validated divergence of Poisson rates of conditions, per feature.

    ``sum((x - y) (log x' - log y')) / n_features`` with x, y the rates of two conditions
    outside a fold and x', y' inside it, averaged over the folds. rsatoolbox (0.3.2) gives the
    last fold's instead of the mean of all.

    Parameters
    ----------
    measurements : array, shape (n_measurements, n_features)
        Counts or rates, not negative; each condition at least once in each fold.
    conditions : sequence, length n_measurements
        Condition of each measurement.
    folds : sequence, length n_measurements
        Fold of each measurement, e.g. its run.
    prior_lambda, prior_weight : float
        As of ``poisson``.

    Returns
    -------
    array, shape (n_pairs,)
        Estimates, which may be negative.

    Raises
    ------
    InvalidArgument
        As of ``poisson``, or if folds are missing.

    References
    ----------
    .. [1] Schütt et al. (2023). doi:10.7554/eLife.82566

    Examples
    --------
    >>> counts = np.array([[1.0], [4.0], [1.0], [4.0]])
    >>> folds = [1, 1, 2, 2]
    >>> poisson_cv(counts, conditions=["a", "b", "a", "b"], folds=folds).round(4)
    array([3.5882])
    """
    measurements = checked(measurements)
    rates = _rates(measurements, prior_lambda, prior_weight)
    # A mean of rates drawn to the prior is the mean, drawn to the prior.
    splits = list(left_out(rates, conditions, folds))
    total = sum(crossed(train, np.log(test)) for train, test in splits)
    found: NDArray[np.float64] = np.asarray(total / len(splits))
    return found.astype(measurements.dtype, copy=False)


def _rates(features: NDArray[Any], rate: float, weight: float) -> NDArray[np.float64]:
    if not (np.isfinite(rate) and rate > 0 and np.isfinite(weight) and weight >= 0):
        raise InvalidArgument(
            f"prior_lambda={rate!r} has to be a positive number, and prior_weight={weight!r} one "
            "that is not negative."
        )
    negative = (features < 0).any(axis=1)
    if negative.any():
        problem = "Rates are not negative. Negative features are found in"
        raise UndefinedRows(problem, np.flatnonzero(negative).tolist())
    rates = (features.astype(np.float64) + rate * weight) / (1 + weight)
    zero = (rates == 0).any(axis=1)
    if zero.any():
        problem = "Without a prior the divergence from a rate of zero is infinite. Zeros are in"
        raise UndefinedRows(problem, np.flatnonzero(zero).tolist())
    return rates
