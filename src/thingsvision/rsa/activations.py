"""Two sets of activations for measures that compare them directly: joined, checked, flattened."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ..errors import InvalidArgument, MismatchError, ThingsvisionWarning, counted, listing
from ..features import Features, FeatureSet, as_features
from .matrix import check_ids

Array = NDArray[np.float64]
Activations = Features | FeatureSet | ArrayLike
LEAST = 4  # stimuli, for the unbiased estimate of CKA


def joined_activations(x: Activations, y: Activations, by_position: bool) -> tuple[Array, Array]:
    """Bring the activations of both into one order, as (n_stimuli, n_features).

    Raises
    ------
    MismatchError
        If they are not of the same stimuli.
    InvalidArgument
        If they are no real numbers, too few, not finite, or all the same.
    """
    (a, ids_a), (b, ids_b) = as_features(x), as_features(y)
    if ids_a is not None and ids_b is not None and tuple(ids_a) != tuple(ids_b):
        check_ids(ids_a, len(a), "x")
        check_ids(ids_b, len(b), "y")
        absent = {
            "y": [name for name in ids_a if name not in set(ids_b)],
            "x": [name for name in ids_b if name not in set(ids_a)],
        }
        told = [
            f"from {side} are missing {listing(names)}" for side, names in absent.items() if names
        ]
        if told:
            raise MismatchError(
                f"x and y have different stimuli: {'; '.join(told)}. Take those that both have."
            )
        place = {name: row for row, name in enumerate(ids_b)}
        b = np.asarray(b)[[place[name] for name in ids_a]]
    if (ids_a is None) != (ids_b is None) and not by_position:
        bare = "x" if ids_a is None else "y"
        raise MismatchError(
            f"{bare} is an array without ids and the other side has them, so they cannot be joined "
            "by id. Say by_position=True if both are surely in the same order."
        )
    for what, array in (("x", a), ("y", b)):
        if np.ndim(array) == 0:
            raise InvalidArgument(f"{what} has shape (): no activations (n_stimuli, …).")
    if np.shape(a)[:1] != np.shape(b)[:1]:
        raise MismatchError(
            f"x has shape {np.shape(a)} and y {np.shape(b)}; the first axis is the stimuli, which "
            "have to be the same."
        )
    return _checked(a, "x"), _checked(b, "y")


def _checked(data: Any, what: str) -> Array:
    array = np.asarray(data)
    if array.ndim == 0 or array.dtype.kind not in "biuf":
        raise InvalidArgument(
            f"{what} of shape {array.shape} holds {array.dtype}. Give real numbers, shape "
            "(n_stimuli, …)."
        )
    if len(array) < LEAST:
        raise InvalidArgument(
            f"{what} has {len(array)} rows; {LEAST} stimuli are the least, and many more where the "
            "result is to mean something."
        )
    rows = array.reshape(len(array), -1).astype(np.float64)
    broken = np.flatnonzero(~np.isfinite(rows).all(axis=1))
    if len(broken):
        raise InvalidArgument(
            f"{what} holds NaN or infinity in {counted(len(broken), 'row')} (from 0): "
            f"{listing(list(broken))}."
        )
    if not np.ptp(rows, axis=0).any():
        raise InvalidArgument(f"{what} is the same for all stimuli, so nothing is aligned with it.")
    # All that is asked of activations leaves their scale out, and squares have to stay in range.
    return np.ldexp(rows, -int(np.frexp(np.abs(rows).max())[1]))


def warn_of_bias(what: str, a: Array, b: Array, instead: str) -> None:
    """Warn of a measure that finds noise alike where features outnumber stimuli."""
    n_features = max(a.shape[1], b.shape[1])
    if n_features > len(a):
        warnings.warn(
            f"{what} is biased upwards with more features ({n_features}) than stimuli ({len(a)}): "
            f"unrelated activations come out alike. Take {instead}.",
            ThingsvisionWarning,
            stacklevel=3,
        )
