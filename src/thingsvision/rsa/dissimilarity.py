"""Dissimilarities: from features, one row a stimulus, to the distances between all rows.

A dissimilarity is a function from ``(n_stimuli, n_features)`` to a symmetric
``(n_stimuli, n_stimuli)`` with zeros on its diagonal, and a row of
`DISSIMILARITIES`. Another package adds one through the entry-point group
``thingsvision.dissimilarities``.

All four here are squared Euclidean distances between rows that were first
brought to some form (unit length, say), because for unit vectors
``1 - u·v = |u - v|² / 2``. `_squared_distances` computes these by matrix
products, which are fast, and again where products lose digits: distances that
are small against the length of the vectors.

float32 and float64 are kept; float16 becomes float32, integers become float64.
Against a float64 computation the relative error is about 1e-11 in float64, and
below 1e-5 in float32.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from jaxtyping import Float, Shaped
from numpy.typing import NDArray

from ..errors import InvalidArgument, listing
from ..registry import Registry

DISSIMILARITIES = Registry(
    "dissimilarity",
    {
        name: f"thingsvision.rsa.dissimilarity:{name}"
        for name in ("correlation", "cosine", "euclidean", "gaussian")
    },
    group="thingsvision.dissimilarities",
)

# Distances below these fractions of |x|² + |y|² are computed again: from float32
# products in float64, from float64 products by subtracting the two rows.
CLOSE = {np.dtype(np.float32): 0.05, np.dtype(np.float64): 1e-5}
DENSE = 0.002  # above this share of close pairs a float64 product is faster than subtracting
BLOCK = 2**23  # numbers held at once in float64 (64 MB)

Rows = Callable[[Any], NDArray[np.float64]]  # row numbers or a slice → those rows, brought to form


class UndefinedRows(InvalidArgument):
    """Rows for which a dissimilarity is not defined; it can say them again by id."""

    def __init__(self, problem: str, rows: Sequence[int], ids: Sequence[str] | None = None) -> None:
        self.problem, self.rows = problem, [int(row) for row in rows]
        what = "rows (from 0)" if ids is None else "stimuli"
        names = self.rows if ids is None else [ids[row] for row in self.rows]
        super().__init__(
            f"{problem} {len(self.rows)} {what}: {listing(names)}. "
            "Leave these stimuli out, or look at what their features should be."
        )

    def naming(self, ids: Sequence[str] | None) -> UndefinedRows:
        """Make the same error with the ids of the stimuli instead of row numbers."""
        return UndefinedRows(self.problem, self.rows, ids)


def correlation(
    features: Shaped[np.ndarray, "n_stimuli n_features"],
) -> Float[np.ndarray, "n_stimuli n_stimuli"]:
    """Compute one minus the Pearson correlation of each pair of rows.

    ``1 - r(x, y)`` [1]_: 0 for rows that differ by a positive scale and a shift,
    2 for opposite ones.

    Parameters
    ----------
    features : array, shape (n_stimuli, n_features)
        At least two stimuli; no NaN and no infinity.

    Returns
    -------
    array, shape (n_stimuli, n_stimuli)
        In 0..2, exactly symmetric, zero on the diagonal.

    Raises
    ------
    InvalidArgument
        If a row is constant (its correlation is undefined) or not finite.

    References
    ----------
    .. [1] Kriegeskorte, Mur & Bandettini (2008). doi:10.3389/neuro.06.004.2008

    Examples
    --------
    >>> correlation(np.array([[1.0, 2.0, 3.0], [2.0, 4.0, 6.0], [3.0, 2.0, 1.0]])).round(12)
    array([[0., 0., 2.],
           [0., 0., 2.],
           [2., 2., 0.]])
    """
    features = _checked(features)
    constant = features.max(axis=1) == features.min(axis=1)
    _refuse("Correlation is undefined for features that are all equal. They are so for", constant)
    centred = _by_length(features, centre=True)
    return _halved(_squared_distances(centred, features.shape, features.dtype))


def cosine(
    features: Shaped[np.ndarray, "n_stimuli n_features"],
) -> Float[np.ndarray, "n_stimuli n_stimuli"]:
    """Compute one minus the cosine of the angle between each pair of rows.

    ``1 - x·y / (|x| |y|)``.

    Parameters
    ----------
    features : array, shape (n_stimuli, n_features)
        At least two stimuli; no NaN and no infinity.

    Returns
    -------
    array, shape (n_stimuli, n_stimuli)
        In 0..2, exactly symmetric, zero on the diagonal.

    Raises
    ------
    InvalidArgument
        If a row is all zeros (its angle is undefined) or not finite.

    Examples
    --------
    >>> cosine(np.array([[1.0, 0.0], [3.0, 0.0], [0.0, 2.0]])).round(12)
    array([[0., 0., 1.],
           [0., 0., 1.],
           [1., 1., 0.]])
    """
    features = _checked(features)
    zero = (features == 0).all(axis=1)
    _refuse("The cosine is undefined for features that are all zero. They are so for", zero)
    unit = _by_length(features, centre=False)
    return _halved(_squared_distances(unit, features.shape, features.dtype))


def euclidean(
    features: Shaped[np.ndarray, "n_stimuli n_features"],
) -> Float[np.ndarray, "n_stimuli n_stimuli"]:
    """Compute the Euclidean distance, not squared, between each pair of rows.

    ``sqrt(sum((x - y)²))``, in the units of the features.

    Parameters
    ----------
    features : array, shape (n_stimuli, n_features)
        At least two stimuli; no NaN and no infinity.

    Returns
    -------
    array, shape (n_stimuli, n_stimuli)
        Not negative, exactly symmetric, zero on the diagonal.

    Raises
    ------
    InvalidArgument
        If a row is not finite.

    Examples
    --------
    >>> euclidean(np.array([[0.0, 0.0], [3.0, 4.0]]))
    array([[0., 5.],
           [5., 0.]])
    """
    features = _checked(features)
    rows, exponent = _by_range(features)
    distances = _squared_distances(rows, features.shape, features.dtype)
    np.sqrt(distances, out=distances)
    np.ldexp(distances, exponent, out=distances)
    return distances


def gaussian(
    features: Shaped[np.ndarray, "n_stimuli n_features"],
) -> Float[np.ndarray, "n_stimuli n_stimuli"]:
    """Compute one minus a Gaussian kernel of the distance between each pair of rows.

    ``1 - exp(-D² / mean(D²))`` with D² the squared Euclidean distances and the
    mean over the whole matrix, its diagonal included [1]_. It depends on which
    stimuli there are: that of a subset is not a part of that of the whole.

    Parameters
    ----------
    features : array, shape (n_stimuli, n_features)
        At least two stimuli; no NaN and no infinity.

    Returns
    -------
    array, shape (n_stimuli, n_stimuli)
        In 0..1, exactly symmetric, zero on the diagonal.

    Raises
    ------
    InvalidArgument
        If a row is not finite, or all rows are the same (the mean is then zero).

    References
    ----------
    .. [1] Muttenthaler & Hebart (2021). doi:10.3389/fninf.2021.679838

    Examples
    --------
    >>> gaussian(np.array([[0.0], [1.0]])).round(4)  # mean(D²) = 1/2, and 1 - exp(-2) = 0.8647
    array([[0.    , 0.8647],
           [0.8647, 0.    ]])
    """
    features = _checked(features)
    rows, _ = _by_range(features)
    distances = _squared_distances(rows, features.shape, features.dtype)
    mean = distances.mean(dtype=np.float64)
    if mean == 0:
        raise InvalidArgument(
            f"The Gaussian dissimilarity is undefined: all {len(features)} stimuli have the same "
            "features, so their mean distance is zero. Look at what their features should be."
        )
    distances /= -mean
    np.expm1(distances, out=distances)
    np.negative(distances, out=distances)
    return distances


def _checked(features: NDArray[Any]) -> NDArray[Any]:
    """Bring features to float32 or float64, and refuse what has no distances."""
    if features.ndim != 2 or features.shape[0] < 2 or features.shape[1] < 1:
        raise InvalidArgument(
            f"Features of shape {features.shape} have no dissimilarities. Needed is "
            "(n_stimuli, n_features) with at least two stimuli and one feature."
        )
    if features.dtype.kind not in "biuf":
        raise InvalidArgument(f"Features of type {features.dtype} are not real numbers.")
    if features.dtype not in CLOSE:
        features = features.astype(np.float32 if features.dtype == np.float16 else np.float64)
    broken = ~np.isfinite(features).all(axis=1)
    _refuse("Features have to be finite numbers. NaN or infinity is found in", broken)
    return features


def _refuse(problem: str, rows: NDArray[np.bool_]) -> None:
    if rows.any():
        raise UndefinedRows(problem, np.flatnonzero(rows).tolist())


def _by_length(features: NDArray[Any], centre: bool) -> Rows:
    """Give rows of length one, if wanted after subtracting their mean."""

    def rows(index: Any) -> NDArray[np.float64]:
        block = np.array(features[index], dtype=np.float64, order="C")
        if centre:
            _to_range(block)
            block -= block.mean(axis=1, keepdims=True)
            block -= block.mean(axis=1, keepdims=True)  # what the first mean lost to rounding
        _to_range(block)
        block /= np.sqrt(np.square(block).sum(axis=1, keepdims=True))
        return block

    return rows


def _to_range(block: NDArray[np.float64]) -> None:
    """Scale each row by a power of two, which is exact, to keep its squares in range."""
    exponents = np.frexp(np.abs(block).max(axis=1, keepdims=True))[1]
    np.ldexp(block, -exponents, out=block)


def _by_range(features: NDArray[Any]) -> tuple[Rows, int]:
    """Give rows all scaled by one power of two, which is exact, to keep squares in range."""
    exponent = int(np.frexp(max(features.max(), -features.min()))[1])

    def rows(index: Any) -> NDArray[np.float64]:
        block = np.array(features[index], dtype=np.float64, order="C")
        np.ldexp(block, -exponent, out=block)
        return block

    return rows, exponent


def _halved(squared: NDArray[Any]) -> NDArray[Any]:
    """Make ``1 - u·v`` of ``|u - v|²``."""
    squared /= 2
    np.minimum(squared, 2, out=squared)
    return squared


def _squared_distances(rows: Rows, shape: tuple[int, ...], dtype: np.dtype[Any]) -> NDArray[Any]:
    """Compute squared Euclidean distances between all rows, tile by tile.

    ``|x - y|² = |x|² + |y|² - 2 x·y``, after subtracting about the mean row,
    which changes no distance and keeps the lengths, and so the rounding, small.

    Returns
    -------
    array, shape (n_stimuli, n_stimuli), of the given type
    """
    n_stimuli, n_features = shape
    size = int(np.clip(BLOCK // n_features, 64, 1024))
    tiles = [slice(first, min(first + size, n_stimuli)) for first in range(0, n_stimuli, size)]
    sample = np.arange(0, n_stimuli, -(-n_stimuli // min(size, 256)))
    centre = rows(sample).mean(axis=0)
    centred = np.empty((n_stimuli, n_features), dtype)
    for tile in tiles:
        centred[tile] = rows(tile) - centre
    out = np.zeros((n_stimuli, n_stimuli), dtype)
    for number, a in enumerate(tiles):
        for b in tiles[number:]:
            distances, close = _products(centred[a], centred[b], a == b)
            if dtype != np.float64 and close.mean() > DENSE:
                distances, close = _products(rows(a) - centre, rows(b) - centre, a == b)
            _subtract(distances, close, rows, a.start, b.start, n_features)
            if a == b:
                distances = np.triu(distances, 1)
                distances += distances.T
            out[a, b], out[b, a] = distances, distances.T
    return out


def _products(
    x: NDArray[Any], y: NDArray[Any], same: bool
) -> tuple[NDArray[Any], NDArray[np.bool_]]:
    """Compute squared distances by a matrix product, and say which lost digits."""
    lengths = np.add.outer(_squares(x), _squares(y))
    distances = x @ y.T
    distances *= -2
    distances += lengths
    lengths *= CLOSE[x.dtype]
    close = distances < lengths
    np.maximum(distances, 0, out=distances)
    return distances, np.triu(close, 1) if same else close


def _squares(block: NDArray[Any]) -> NDArray[Any]:
    squares: NDArray[np.float64] = np.square(block).sum(axis=1, dtype=np.float64)
    return squares.astype(block.dtype)


def _subtract(
    distances: NDArray[Any],
    close: NDArray[np.bool_],
    rows: Rows,
    first_row: int,
    first_column: int,
    n_features: int,
) -> None:
    """Replace the distances of close pairs by sums of squared differences in float64."""
    i, j = np.nonzero(close)
    step = max(1, BLOCK // 4 // n_features)
    for start in range(0, len(i), step):
        some = slice(start, start + step)
        difference = rows(first_row + i[some]) - rows(first_column + j[some])
        distances[i[some], j[some]] = np.square(difference, out=difference).sum(axis=1)
