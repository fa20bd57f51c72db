"""Correction of p values for many tests."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float


def benjamini_hochberg(p: Float[np.ndarray, " n"]) -> Float[np.ndarray, " n"]:
    """Adjust p values so that those below q have a false discovery rate of at most q.

    Benjamini and Hochberg (1995, doi:10.1111/j.2517-6161.1995.tb02031.x); for tests that
    are independent or positively dependent.

    Examples
    --------
    >>> benjamini_hochberg(np.array([0.01, 0.04, 0.03])).round(3)
    array([0.03, 0.04, 0.04])
    """
    order = np.argsort(p)
    scaled = p[order] * len(p) / np.arange(1, len(p) + 1)
    adjusted = np.empty(len(p))
    adjusted[order] = np.minimum.accumulate(scaled[::-1])[::-1]
    return np.minimum(adjusted, 1)


def holm(p: Float[np.ndarray, " n"]) -> Float[np.ndarray, " n"]:
    """Adjust p values so that the chance of any false rejection below α is at most α.

    Holm (1979, Scandinavian Journal of Statistics 6, 65-70); for tests that depend in
    whatever way.

    Examples
    --------
    >>> holm(np.array([0.01, 0.04, 0.03])).round(3)
    array([0.03, 0.06, 0.06])
    """
    order = np.argsort(p)
    scaled = p[order] * np.arange(len(p), 0, -1)
    adjusted = np.empty(len(p))
    adjusted[order] = np.maximum.accumulate(scaled)
    return np.minimum(adjusted, 1)
