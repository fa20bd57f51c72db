"""Rows that are left out before dissimilarities: not finite, or of images that failed."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import ThingsvisionWarning, listing
from ..features import Features


def whole_rows(features: NDArray[Any]) -> NDArray[np.bool_]:
    """Tell which rows hold no NaN and no infinity, shape (n_stimuli,)."""
    if features.dtype.kind != "f":
        return np.ones(len(features), dtype=bool)
    return np.array([bool(np.isfinite(row).all()) for row in features], dtype=bool)


def keep_rows(features: Features, nan: str, drop_failed: bool) -> tuple[Features, list[str]]:
    """Leave rows out as `compute_rdm` does, but in their place: it would copy all others."""
    array: Any = features.array
    whole = np.ones(len(array), bool)
    if drop_failed:
        whole &= np.array([name not in features.failures for name in features.ids])
    if nan == "drop":
        whole &= whole_rows(array.reshape(len(array), -1))
    if whole.all():
        return features, []
    rows = np.flatnonzero(whole)
    step = max(1, 2**24 // max(1, array[:1].nbytes))
    for start in range(0, len(rows), step):  # never to a row that is still to be read
        some = rows[start : start + step]
        array[start : start + len(some)] = array[some]
    dropped = [features.ids[row] for row in np.flatnonzero(~whole)]
    why = "hold NaN or infinity" if nan == "drop" else "failed"
    tell_dropped(dropped, len(whole), why, features.ids)
    ids = tuple(features.ids[row] for row in rows)
    return (
        replace(features, array=array[: len(rows)], ids=ids, targets=None, failures={}), dropped
    )  # fmt: skip


def tell_dropped(dropped: Sequence[Any], count: int, why: str, ids: Sequence[str] | None) -> None:
    """Warn of rows that were left out."""
    what = "stimuli" if ids else "rows (from 0)"
    warnings.warn(
        f"{len(dropped)} of {count} {what} {why} and were dropped: {listing(dropped)}.",
        ThingsvisionWarning,
        stacklevel=4,
    )
