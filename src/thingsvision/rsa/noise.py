"""Noise covariance between features, and distances in units of the noise."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from jaxtyping import Float, Shaped
from numpy.typing import ArrayLike, NDArray

from ..errors import InvalidArgument, counted, listing, unknown
from .blocked import Prepared, squared_distances
from .conditions import averaged, coded
from .dissimilarity import checked

Array = NDArray[np.float64]


def mahalanobis(
    measurements: Shaped[np.ndarray, "n_measurements n_features"],
    *,
    conditions: Any = None,
    residuals: ArrayLike | None = None,
    covariance: str = "shrinkage_eye",
    precision: ArrayLike | None = None,
) -> Float[np.ndarray, " n_pairs"]:
    """Compute the squared Mahalanobis distance of each pair of rows, per feature.

    ``(x - y)ᵀ S⁻¹ (x - y) / n_features``, as rsatoolbox has it; SciPy's is the square
    root of n_features times that. S is the covariance of `residuals`; without them, of
    the measurements around the mean of their condition; and where nothing was measured
    twice, of the features over the stimuli.

    Parameters
    ----------
    measurements : array, shape (n_measurements, n_features)
        No NaN and no infinity.
    conditions : sequence, length n_measurements, optional
        Which measurements are of the same condition; they are averaged.
    residuals : array, shape (n_residuals, n_features), optional
        Noise, e.g. what a general linear model left unexplained.
    covariance : str
        How S is estimated: see `COVARIANCES`.
    precision : array, shape (n_features, n_features), optional
        S⁻¹, where it is known; instead of `residuals`.

    Returns
    -------
    array, shape (n_pairs,)
        Not negative.

    Raises
    ------
    UnknownName
        If there is no such estimate of the covariance.
    InvalidArgument
        If a row is not finite, or S cannot be estimated or inverted.

    References
    ----------
    .. [1] Walther et al. (2016). doi:10.1016/j.neuroimage.2015.12.012

    Examples
    --------
    >>> patterns = np.array([[0.0, 0.0], [1.0, 0.0], [0.0, 2.0]])
    >>> mahalanobis(patterns, precision=np.diag([1.0, 0.25])).round(12)
    array([0.5, 0.5, 1. ])
    """
    measurements = checked(measurements)
    whiten = whitening(measurements, conditions, residuals, covariance, precision)
    patterns = measurements if conditions is None else averaged(measurements, coded(conditions)[0])
    white = whiten(np.asarray(patterns, dtype=np.float64))
    prepared = Prepared(lambda rows: np.array(white[rows]), white.shape, white.dtype)

    def finish(distances: NDArray[Any]) -> None:
        distances /= white.shape[1]

    found: Array = squared_distances(prepared, finish)
    return found.astype(measurements.dtype, copy=False)


def whitening(
    measurements: NDArray[Any],
    conditions: Any = None,
    residuals: ArrayLike | None = None,
    covariance: str = "shrinkage_eye",
    precision: ArrayLike | None = None,
) -> Callable[[Array], Array]:
    """Find the linear map after which the noise is the same in all directions.

    Parameters
    ----------
    measurements, conditions, residuals, covariance, precision
        As of `mahalanobis`.

    Returns
    -------
    callable
        Maps (n, n_features) to (n, n_features) such that squared Euclidean distances
        become ``(x - y)ᵀ S⁻¹ (x - y)``.
    """
    width = measurements.shape[1]
    if precision is not None:
        if residuals is not None:
            raise InvalidArgument("Give residuals or a precision, not both.")
        return _by_precision(np.asarray(precision, dtype=np.float64), width)
    if covariance not in COVARIANCES:
        raise unknown("estimate of the covariance", covariance, COVARIANCES)
    if covariance == "identity":
        return np.array
    noise, dof = _noise(measurements, conditions, residuals)
    if dof < 1:
        raise InvalidArgument(
            f"{counted(len(noise), 'row')} of noise leave no degree of freedom for a covariance. "
            "Give residuals=…, or covariance='identity' for distances without noise normalisation."
        )
    if not noise.any():
        raise InvalidArgument(
            "The noise is zero throughout, so its covariance cannot be inverted. Give residuals=…, "
            "or covariance='identity' for distances without noise normalisation."
        )
    return COVARIANCES[covariance](noise, dof)


def _noise(
    measurements: NDArray[Any], conditions: Any, residuals: ArrayLike | None
) -> tuple[Array, int]:
    """Give deviations from the mean, shape (n, n_features), and their degrees of freedom."""
    if residuals is not None:
        rest = checked(np.asarray(residuals)).astype(np.float64)
        if rest.shape[1] != measurements.shape[1]:
            raise InvalidArgument(
                f"The residuals have {rest.shape[1]} features, the measurements "
                f"{measurements.shape[1]}; they have to be of the same features."
            )
        return rest - rest.mean(axis=0), len(rest) - 1
    wide = measurements.astype(np.float64)
    codes = np.arange(len(wide)) if conditions is None else coded(conditions)[0]
    count = codes.max() + 1
    if count == len(wide):  # no repetitions
        return wide - wide.mean(axis=0), len(wide) - 1
    return wide - averaged(wide, codes)[codes], len(wide) - int(count)


def _shrinkage_eye(noise: Array, dof: int) -> Callable[[Array], Array]:
    """Shrink towards a multiple of the identity: Ledoit & Wolf (2004).

    doi:10.1016/S0047-259X(03)00096-4. As scikit-learn's ``ledoit_wolf``, times ``n / dof``.
    """
    count, width = noise.shape
    small = noise @ noise.T if count < width else noise.T @ noise
    square = np.square(small).sum() / count**2
    mean = np.trace(small) / count / width
    away = square - width * mean**2
    noisy = (np.square(np.square(noise).sum(axis=1)).sum() / count - square) / count
    shrunk = 1.0 if away <= 0 else min(1.0, noisy / away)
    floor, share = shrunk * mean * count / dof, (1 - shrunk) / dof
    if count >= width or not floor > 0:
        dense = share * (noise.T @ noise)
        dense[np.diag_indices(width)] += floor
        return _by_covariance(dense)
    _, singular, axes = np.linalg.svd(noise, full_matrices=False)  # few axes differ from the rest
    gains = 1 / np.sqrt(1 + share / floor * singular**2) - 1

    def whiten(rows: Array) -> Array:
        white: Array = (rows + (rows @ axes.T * gains) @ axes) / np.sqrt(floor)
        return white

    return whiten


def _shrinkage_diag(noise: Array, dof: int) -> Callable[[Array], Array]:
    """Shrink correlations towards zero: Schäfer & Strimmer (2005). doi:10.2202/1544-6115.1175."""
    deviations = _deviations(noise, dof)
    count, width = noise.shape
    unit = noise / deviations
    correlations = unit.T @ unit / (count - 1)
    squares = np.square(unit).T @ np.square(unit) / (count - 1)
    variances = count / dof**2 * (squares - np.square(correlations))
    off = ~np.eye(width, dtype=bool)
    total = np.square(correlations[off]).sum()
    shrunk = min(max(variances[off].sum() / total, 0.0), 1.0) if total > 0 else 1.0
    dense = noise.T @ noise / dof
    dense[off] *= 1 - shrunk
    return _by_covariance(dense)


def _diag(noise: Array, dof: int) -> Callable[[Array], Array]:
    """Take the variances alone: univariate noise normalisation."""
    deviations = _deviations(noise, dof)
    return lambda rows: rows / deviations


def _full(noise: Array, dof: int) -> Callable[[Array], Array]:
    """Take the sample covariance as it is."""
    if dof < noise.shape[1]:
        raise InvalidArgument(
            f"The covariance of {noise.shape[1]} features from {dof} degrees of freedom cannot be "
            "inverted. Take covariance='shrinkage_eye'."
        )
    return _by_covariance(noise.T @ noise / dof)


# Name → from noise and degrees of freedom to a whitening. The names are rsatoolbox's.
COVARIANCES: dict[str, Callable[[Array, int], Callable[[Array], Array]]] = {
    "shrinkage_eye": _shrinkage_eye,
    "shrinkage_diag": _shrinkage_diag,
    "diag": _diag,
    "full": _full,
    "identity": lambda noise, dof: np.array,
}


def _deviations(noise: Array, dof: int) -> Array:
    deviations: Array = np.sqrt(np.square(noise).sum(axis=0) / dof)
    if not deviations.all():
        constant = np.flatnonzero(deviations == 0)
        raise InvalidArgument(
            f"{counted(len(constant), 'feature')} (from 0) do not vary, so they have no noise to "
            f"be divided by: {listing(constant.tolist())}. Leave them out with select=…, or take "
            "covariance='shrinkage_eye'."
        )
    return deviations


def _by_covariance(dense: Array) -> Callable[[Array], Array]:
    from scipy.linalg import solve_triangular

    try:
        lower = np.linalg.cholesky(dense)
    except np.linalg.LinAlgError:
        raise InvalidArgument(
            "The noise covariance cannot be inverted: some features follow from others. Take "
            "covariance='shrinkage_eye', or leave features out with select=…"
        ) from None

    def whiten(rows: Array) -> Array:
        white: Array = solve_triangular(lower, rows.T, lower=True).T
        return np.ascontiguousarray(white)

    return whiten


def _by_precision(precision: Array, width: int) -> Callable[[Array], Array]:
    if precision.shape != (width, width):
        raise InvalidArgument(
            f"A precision of shape {precision.shape} does not fit {width} features; needed is "
            f"({width}, {width})."
        )
    scale = np.abs(precision).max()
    if not np.isfinite(scale) or np.abs(precision - precision.T).max() > 1e-8 * scale:
        raise InvalidArgument("The precision has to be finite and symmetric.")
    try:
        lower = np.linalg.cholesky(precision)
    except np.linalg.LinAlgError:
        raise InvalidArgument("The precision has to be positive definite.") from None
    return lambda rows: rows @ lower
