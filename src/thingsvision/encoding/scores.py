"""Scores: how well predictions agree with responses, target by target."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
from jaxtyping import Float
from numpy.typing import ArrayLike, NDArray

from ..arrays import as_numbers
from ..errors import InvalidArgument

ROUNDING = 1e-12  # variances below this share of the mean square are rounding


def pearson_score(measured: ArrayLike, predicted: ArrayLike) -> Float[np.ndarray, " n_targets"]:
    r"""Compute the Pearson correlation of measured and predicted responses of each target.

    Parameters
    ----------
    measured, predicted : array, shape (n_stimuli, n_targets)
        Of the same stimuli.

    Returns
    -------
    array, shape (n_targets,)
        In -1..1; NaN where the measured response is constant or either is not finite, 0 where only
        the prediction is constant.

    Raises
    ------
    InvalidArgument
        If they differ in shape, hold no numbers, or are of fewer than two stimuli.

    Examples
    --------
    >>> measured = np.array([[1.0, 7.0], [2.0, 7.0], [3.0, 7.0]])
    >>> pearson_score(measured, -measured)
    array([-1., nan])
    """
    return _sums(measured, predicted).pearson()


def r2_score(measured: ArrayLike, predicted: ArrayLike) -> Float[np.ndarray, " n_targets"]:
    r"""Compute the share of variance explained of each target.

    :math:`1 - \sum (y - \hat y)^2 / \sum (y - \bar y)^2`.

    Parameters
    ----------
    measured, predicted : array, shape (n_stimuli, n_targets)
        Of the same stimuli.

    Returns
    -------
    array, shape (n_targets,)
        At most 1; below 0 where the mean of these stimuli would have predicted better; NaN where
        the measured response is constant or either is not finite.

    Raises
    ------
    InvalidArgument
        If they differ in shape, hold no numbers, or are of fewer than two stimuli.

    Examples
    --------
    >>> measured = np.array([[1.0], [2.0], [3.0]])
    >>> r2_score(measured, measured), r2_score(measured, np.full((3, 1), 2.0))
    (array([1.]), array([0.]))
    """
    return _sums(measured, predicted).r2()


def normalised_pearson(pearson: ArrayLike, reliability: ArrayLike) -> NDArray[np.float64]:
    r"""Divide a correlation by the largest that a perfect model would reach.

    :math:`r / \sqrt\rho`, the correction for attenuation by noise in the measurement (Spearman
    1904, doi:10.2307/1412159; for encoding models Schoppe et al. 2016,
    doi:10.3389/fncom.2016.00010).

    Parameters
    ----------
    pearson, reliability : array, shape (…, n_targets) and (n_targets,)
        The reliability is a share of variance, see `split_half_reliability`.

    Returns
    -------
    array, shape (…, n_targets)
        May exceed 1 by chance; NaN where the reliability is not above zero.

    Examples
    --------
    >>> normalised_pearson(np.array([0.3, 0.3]), np.array([0.25, -0.1]))
    array([0.6, nan])
    """
    known = _known(reliability)
    result: NDArray[np.float64] = as_numbers(pearson, "pearson") / np.sqrt(known)
    return result


def normalised_r2(r2: ArrayLike, reliability: ArrayLike) -> NDArray[np.float64]:
    r"""Divide a share of variance by the share that a perfect model explains, :math:`R^2 / \rho`.

    Parameters
    ----------
    r2, reliability : array, shape (…, n_targets) and (n_targets,)
        See `split_half_reliability`.

    Returns
    -------
    array, shape (…, n_targets)
        NaN where the reliability is not above zero.

    Examples
    --------
    >>> normalised_r2(np.array([0.1]), np.array([0.5]))
    array([0.2])
    """
    known = _known(reliability)
    result: NDArray[np.float64] = as_numbers(r2, "r2") / known
    return result


def _known(reliability: ArrayLike) -> NDArray[np.float64]:
    values = as_numbers(reliability, "reliability")
    return np.where(values > 0, np.minimum(values, 1), np.nan)


def _sums(measured: ArrayLike, predicted: ArrayLike) -> Sums:
    y, p = as_numbers(measured, "measured"), as_numbers(predicted, "predicted")
    if y.shape != p.shape or y.ndim != 2 or len(y) < 2:
        raise InvalidArgument(
            f"measured has shape {y.shape} and predicted {p.shape}; both are (n_stimuli, "
            "n_targets) of the same stimuli, two or more. One target is a column: y[:, None]."
        )
    with np.errstate(invalid="ignore"):  # of targets that are not finite
        return Sums.of(y, p, y.mean(axis=0))


@dataclass
class Sums:
    """What scores are made of, per target; sums over folds are those of all their rows."""

    count: int
    shift: NDArray[np.float64]  # subtracted beforehand, so that sums of squares stay exact
    y: NDArray[np.float64]
    p: NDArray[np.float64]
    yy: NDArray[np.float64]
    pp: NDArray[np.float64]
    yp: NDArray[np.float64]
    error: NDArray[np.float64]

    @classmethod
    def of(cls, measured: NDArray[Any], predicted: NDArray[Any], shift: NDArray[Any]) -> Sums:
        """Sum up responses and predictions, shape (n_stimuli, n_targets)."""
        y = np.asarray(measured, np.float64) - shift
        p = np.asarray(predicted, np.float64) - shift
        return cls(
            len(y), shift, y.sum(0), p.sum(0), np.square(y).sum(0), np.square(p).sum(0),
            (y * p).sum(0), np.square(y - p).sum(0),
        )  # fmt: skip

    def __add__(self, other: Sums) -> Sums:
        return Sums(
            self.count + other.count, self.shift, self.y + other.y, self.p + other.p,
            self.yy + other.yy, self.pp + other.pp, self.yp + other.yp, self.error + other.error,
        )  # fmt: skip

    @classmethod
    def joined(cls, parts: Sequence[Sums]) -> Sums:
        """Lay sums of blocks of targets side by side."""
        return cls(
            parts[0].count, *(np.concatenate(row) for row in zip(*map(_arrays, parts), strict=True))
        )

    @classmethod
    def taken(cls, models: Sequence[Sums], which: NDArray[np.intp]) -> Sums:
        """Take for each target the sums of one of several models."""
        columns = np.arange(len(which))
        rows = zip(*map(_arrays, models), strict=True)
        return cls(models[0].count, *(np.stack(row)[which, columns] for row in rows))

    def _variance(self, squares: NDArray[Any], total: NDArray[Any]) -> NDArray[np.float64]:
        variance = squares - total**2 / self.count
        scale = squares + self.count * np.square(self.shift)
        result: NDArray[np.float64] = np.where(variance > ROUNDING * scale, variance, 0)
        return result

    def varying(self) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
        """Say for which targets responses, and predictions, vary; of NaN only the latter do."""
        measured, predicted = self._variance(self.yy, self.y), self._variance(self.pp, self.p)
        return measured > 0, (predicted > 0) | ~np.isfinite(self.pp)

    def pearson(self) -> NDArray[np.float64]:
        """Correlation of each target, as `pearson_score`."""
        measured = self._variance(self.yy, self.y)
        product = measured * self._variance(self.pp, self.p)
        covariance = self.yp - self.y * self.p / self.count
        result = np.divide(
            covariance, np.sqrt(product), out=np.zeros(len(product)), where=product > 0
        )
        known = (measured > 0) & np.isfinite(self.pp)
        defined: NDArray[np.float64] = np.where(known, np.clip(result, -1, 1), np.nan)
        return defined

    def r2(self) -> NDArray[np.float64]:
        """Share of variance explained of each target, as `r2_score`."""
        measured = self._variance(self.yy, self.y)
        share = np.full(len(measured), np.nan)
        np.divide(self.error, measured, out=share, where=measured > 0)
        return np.asarray(1 - share)


def _arrays(sums: Sums) -> list[NDArray[np.float64]]:
    return [getattr(sums, field.name) for field in fields(sums)[1:]]
