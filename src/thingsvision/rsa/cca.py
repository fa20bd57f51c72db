"""Canonical correlations of two sets of activations: CCA, SVCCA and PWCCA as similarities."""

from __future__ import annotations

import warnings
from numbers import Real
from typing import Any, NamedTuple

import numpy as np

from ..errors import InvalidArgument, ThingsvisionWarning
from .activations import Activations, Array, joined_activations

# Two decompositions, and no package: scikit-learn's CCA iterates to a tolerance (off by 2e-5),
# cca-zoo needs Python 3.11 and has neither SVCCA nor PWCCA, repsim gives noise 0.95 in silence.

# Of the largest singular value: what is below is rounding, not a direction.
ROUNDING = 1e-10


def cca(
    x: Activations,
    y: Activations,
    variance: float | None = None,
    weighted: bool = False,
    by_position: bool = False,
) -> float:
    """Compute the mean canonical correlation of two sets of activations for the same stimuli.

    Canonical correlations are the cosines of the principal angles between the spaces that the
    centred columns span (Björck and Golub, 1973, doi:10.2307/2005662). With `variance` each side
    first keeps the principal components that hold so much of it: SVCCA (Raghu et al., 2017,
    doi:10.48550/arXiv.1706.05806). With `weighted` the mean is weighted by how much of `x` each
    canonical variate accounts for: PWCCA (Morcos et al., 2018, doi:10.48550/arXiv.1806.05759),
    which treats `x` and `y` differently.

    Parameters
    ----------
    x, y : Features or array, shapes (n_stimuli, ...)
        As in `cka`.
    variance : float, optional
        Share of the variance to keep, above 0 and up to 1, e.g. 0.99 as in SVCCA.
    weighted : bool
        Weight the mean.
    by_position : bool
        As in `cka`.

    Returns
    -------
    float
        In 0..1; without `variance` invariant to invertible linear transforms of the features.

    Raises
    ------
    InvalidArgument
        If a side has as many dimensions as the stimuli allow, n_stimuli - 1: then all
        correlations are 1, whatever the data. Else as `cka`.
    MismatchError
        As `cka`.

    Warns
    -----
    ThingsvisionWarning
        If both sides together have more dimensions than that, so that some are 1 at any rate.

    Notes
    -----
    Biased upwards: of unrelated activations of p and q dimensions the squared correlations sum to
    ``p q / (n_stimuli - 1)`` on average. Take many more stimuli than dimensions, or `cka`.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> x = rng.normal(size=(40, 3))
    >>> round(cca(x, x @ rng.normal(size=(3, 3))), 6)
    1.0
    """
    if variance is not None and not _is_share(variance):
        raise InvalidArgument(f"variance is {variance!r}; it is above 0 and up to 1, e.g. 0.99.")
    a, b = (
        _components(side - side.mean(axis=0), variance)
        for side in joined_activations(x, y, by_position)
    )
    _check_dimensions(a.basis.shape, b.basis.shape)
    turned, correlations, _ = np.linalg.svd(a.basis.T @ b.basis, full_matrices=False)
    weights = np.ones_like(correlations)
    if weighted:
        variates = a.basis @ turned
        weights = np.abs(variates.T @ a.kept).sum(axis=1)
    return float(np.average(np.minimum(correlations, 1), weights=weights))


def _is_share(value: Any) -> bool:
    if isinstance(value, bool):
        return False
    return isinstance(value, Real) and 0 < float(value) <= 1


class _Components(NamedTuple):
    basis: Array  # (n_stimuli, n_dimensions), orthonormal
    kept: Array  # (n_stimuli, n_features), what is left of the features


def _components(centred: Array, variance: float | None) -> _Components:
    """Find an orthonormal basis of the columns, of those that hold a share of the variance."""
    basis, scales, directions = np.linalg.svd(centred, full_matrices=False)
    count = int((scales > ROUNDING * scales[0]).sum())
    if variance is not None and variance < 1:
        shares = np.cumsum(scales**2) / np.sum(scales**2)
        count = min(count, int(np.searchsorted(shares, variance)) + 1)
    kept = (basis[:, :count] * scales[:count]) @ directions[:count]
    return _Components(basis[:, :count], kept)


def _check_dimensions(a: tuple[int, ...], b: tuple[int, ...]) -> None:
    room = a[0] - 1  # centring takes one
    told = f"x has {a[1]} dimensions and y {b[1]}, but {a[0]} stimuli leave room for {room}"
    if max(a[1], b[1]) >= room:
        raise InvalidArgument(
            f"{told}: all canonical correlations are 1, whatever the data. Take more stimuli, "
            "fewer dimensions with variance=0.99 or less, or cka(x, y)."
        )
    if a[1] + b[1] > room:
        warnings.warn(
            f"{told}, so {a[1] + b[1] - room} canonical correlations are 1 at any rate. Take more "
            "stimuli, fewer dimensions (variance=…), or cka(x, y).",
            ThingsvisionWarning,
            stacklevel=3,
        )
