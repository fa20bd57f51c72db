"""What is done to features before their dissimilarities: some are chosen, or weighted."""

from __future__ import annotations

from typing import Any

import numpy as np
from jaxtyping import Shaped
from numpy.typing import ArrayLike, NDArray

from ..errors import InvalidArgument, counted, listing


def chosen(
    features: Shaped[np.ndarray, "n_stimuli n_features"],
    select: ArrayLike | None = None,
    weights: ArrayLike | None = None,
) -> NDArray[Any]:
    """Take some features, and multiply each by its weight.

    Parameters
    ----------
    features : array, shape (n_stimuli, n_features)
        Flattened: feature 0 comes first.
    select : array of bool, shape (n_features,), or of int, optional
        A mask, or the numbers of the wanted features from 0, none twice.
    weights : array, shape (n_features,) or (n_selected,), optional
        Finite, not negative, not all zero. A squared distance is then ``sum(w² (x - y)²)``.

    Returns
    -------
    array, shape (n_stimuli, n_selected)
        In the type of the features; float64 where they are integers and weighted.

    Raises
    ------
    InvalidArgument
        If the selection or the weights do not fit the features.

    Examples
    --------
    >>> chosen(np.array([[1.0, 2.0, 3.0]]), select=[0, 2], weights=[1, 10])
    array([[ 1., 30.]])
    """
    if features.ndim != 2:
        raise InvalidArgument(
            f"Features of shape {features.shape} are not (n_stimuli, n_features)."
        )
    width = features.shape[1]
    rows: Any = None
    if select is not None:
        rows = _rows(np.asarray(select), width)
        features = features[:, rows]
    if weights is None:
        return features
    factors = np.asarray(weights)
    if factors.dtype.kind not in "biuf" or factors.ndim != 1:
        raise InvalidArgument(
            f"weights of shape {factors.shape} and type {factors.dtype} are no row of numbers; "
            f"give one for each of the {counted(features.shape[1], 'feature')}."
        )
    if rows is not None and len(factors) == width:
        factors = factors[rows]
    if len(factors) != features.shape[1]:
        raise InvalidArgument(
            f"There are {counted(len(factors), 'weight')} for "
            f"{counted(features.shape[1], 'feature')}; each feature needs one."
        )
    bad = np.flatnonzero(~(np.isfinite(factors) & (factors >= 0)))
    if len(bad) or not factors.any():
        which = (
            f"those of features {listing(bad.tolist())} (from 0) are not"
            if len(bad)
            else "all are zero"
        )
        raise InvalidArgument(
            f"Weights have to be finite, not negative, and not all zero; {which}."
        )
    kept = features.dtype if features.dtype.kind == "f" else np.dtype(np.float64)
    weighted: NDArray[Any] = features * factors.astype(kept)
    return weighted


def _rows(wanted: NDArray[Any], width: int) -> NDArray[Any]:
    if wanted.ndim == 1 and wanted.dtype == bool:
        if len(wanted) != width:
            raise InvalidArgument(
                f"The mask select=… is of {counted(len(wanted), 'feature')}, but there are {width}."
            )
        wanted = np.flatnonzero(wanted)
    elif wanted.ndim != 1 or (wanted.dtype.kind not in "iu" and wanted.size):
        raise InvalidArgument(
            f"select=… of shape {wanted.shape} and type {wanted.dtype} selects no features. Give a "
            "mask of True and False, or the numbers of the features, from 0."
        )
    if not wanted.size:
        raise InvalidArgument("select=… leaves no feature. Select one or more.")
    outside = wanted[(wanted < 0) | (wanted >= width)]
    if len(outside):
        raise InvalidArgument(
            f"select=… asks for features {listing(outside.tolist())}, which there are not: the "
            f"{counted(width, 'feature')} are numbered from 0 to {width - 1}."
        )
    numbers, times = np.unique(wanted, return_counts=True)
    if (times > 1).any():
        raise InvalidArgument(
            f"select=… asks several times for features {listing(numbers[times > 1].tolist())}. "
            "To let a feature count more, give weights=…."
        )
    return wanted
