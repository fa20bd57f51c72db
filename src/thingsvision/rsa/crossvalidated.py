"""Crossnobis: distances whose mean is zero where there is nothing but noise."""

from __future__ import annotations

from typing import Any

import numpy as np
from jaxtyping import Float, Shaped
from numpy.typing import ArrayLike, NDArray

from .conditions import left_out
from .dissimilarity import checked
from .matrix import condensed
from .noise import whitening


def crossnobis(
    measurements: Shaped[np.ndarray, "n_measurements n_features"],
    *,
    conditions: Any = None,
    folds: Any = None,
    residuals: ArrayLike | None = None,
    covariance: str = "shrinkage_eye",
    precision: ArrayLike | None = None,
) -> Float[np.ndarray, " n_pairs"]:
    """Compute the cross-validated squared Mahalanobis distance of conditions, per feature.

    ``(x - y)ᵀ S⁻¹ (x' - y') / n_features`` with x, y the means of two conditions outside a
    fold and x', y' inside it, averaged over the folds [1]_. As the noise of different folds
    is independent, its mean is the true distance, and zero where there is none.

    Parameters
    ----------
    measurements : array, shape (n_measurements, n_features)
        Each condition at least once in each fold; no NaN and no infinity.
    conditions : sequence, length n_measurements
        Condition of each measurement.
    folds : sequence, length n_measurements
        Fold of each measurement, e.g. its run.
    residuals, covariance, precision
        What S is, as of ``mahalanobis``. Without residuals and precision, it is estimated
        from the measurements around the mean of their condition. ``covariance="identity"``
        gives the cross-validated squared Euclidean distance, rsatoolbox's default.

    Returns
    -------
    array, shape (n_pairs,)
        Estimates: negative ones are as they should be, in the order in which the conditions
        first appear.

    Raises
    ------
    InvalidArgument
        If a row is not finite, there is one fold only, or a condition lacks in a fold.

    References
    ----------
    .. [1] Walther et al. (2016). doi:10.1016/j.neuroimage.2015.12.012

    Examples
    --------
    >>> measurements = np.array([[0.0, 0.0], [1.0, 2.0], [0.0, 0.0], [3.0, -1.0]])
    >>> crossnobis(  # (1 · 3 + 2 · -1) / 2
    ...     measurements, conditions=["a", "b", "a", "b"], folds=[1, 1, 2, 2], covariance="identity"
    ... )
    array([0.5])
    """
    measurements = checked(measurements)
    splits = list(left_out(measurements.astype(np.float64), conditions, folds))
    whiten = whitening(measurements, conditions, residuals, covariance, precision)
    total = sum(crossed(whiten(train), whiten(test)) for train, test in splits)
    found: NDArray[np.float64] = np.asarray(total / len(splits))
    return found.astype(measurements.dtype, copy=False)


def crossed(first: NDArray[Any], second: NDArray[Any]) -> NDArray[np.float64]:
    """Compute ``(x - y)·(x' - y') / n_features`` of all pairs of rows, shape (n_pairs,)."""
    first, second = first - first.mean(axis=0), second - second.mean(axis=0)
    kernel = first @ second.T
    own = kernel.diagonal().copy()
    kernel += kernel.T.copy()
    pairs: NDArray[np.float64] = condensed(np.add.outer(own, own) - kernel)
    pairs /= first.shape[1]
    return pairs
