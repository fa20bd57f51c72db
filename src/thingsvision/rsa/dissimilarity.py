"""Dissimilarities: from features, one row a stimulus, to the distances between all rows.

A dissimilarity is a function from ``(n_stimuli, n_features)`` to the pairs ``(n_pairs,)`` above
the diagonal, row by row as in ``scipy.spatial.distance.pdist``, and a row of `DISSIMILARITIES`.
It may have options, which are keyword arguments. If ``out`` is among them, it takes the pairs
slice by slice, for results that go to disk. If ``folds`` is, it is cross-validated: it takes
repeated measurements, and its estimates may be negative. Another package adds one through the
entry-point group ``thingsvision.dissimilarities``; it may return the square matrix as well.

Those in this file are squared Euclidean distances between rows that were first brought to some
form (unit length, say), because for unit vectors ``1 - u·v = |u - v|² / 2``.

float32 and float64 are kept; float16 becomes float32, integers become float64.
Against a float64 computation the relative error is about 1e-11 in float64, and
below 1e-5 in float32.
"""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from typing import Any

import numpy as np
from jaxtyping import Float, Shaped
from numpy.typing import NDArray

from ..errors import InvalidArgument, listing
from ..registry import Registry
from .blocked import Pairs, Prepared, Rows, squared_distances

HERE = "thingsvision.rsa"
DISSIMILARITIES = Registry(
    "dissimilarity",
    {
        "correlation": f"{HERE}.dissimilarity:correlation",
        "cosine": f"{HERE}.dissimilarity:cosine",
        "euclidean": f"{HERE}.dissimilarity:euclidean",
        "squared_euclidean": f"{HERE}.dissimilarity:squared_euclidean",
        "gaussian": f"{HERE}.dissimilarity:gaussian",
        "mahalanobis": f"{HERE}.noise:mahalanobis",
        "crossnobis": f"{HERE}.crossvalidated:crossnobis",
        "poisson": f"{HERE}.poisson:poisson",
        "poisson_cv": f"{HERE}.poisson:poisson_cv",
    },
    group="thingsvision.dissimilarities",
)
CROSSVALIDATED = ("crossnobis", "poisson_cv")  # estimates, which may be negative

Distances = Float[np.ndarray, " n_pairs"] | Pairs


def may_be_negative(dissimilarity: str) -> bool:
    """Say whether a dissimilarity of this name is cross-validated: its estimates may be < 0."""
    if dissimilarity in CROSSVALIDATED or dissimilarity not in DISSIMILARITIES:
        return dissimilarity in CROSSVALIDATED
    return "folds" in inspect.signature(DISSIMILARITIES[dissimilarity]).parameters


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
    features: Shaped[np.ndarray, "n_stimuli n_features"], *, out: Pairs | None = None
) -> Distances:
    """Compute one minus the Pearson correlation of each pair of rows.

    ``1 - r(x, y)`` [1]_: 0 for rows that differ by a positive scale and a shift,
    2 for opposite ones.

    Parameters
    ----------
    features : array, shape (n_stimuli, n_features)
        At least two stimuli; no NaN and no infinity.
    out : Pairs, optional
        Takes the pairs instead of a new array.

    Returns
    -------
    array, shape (n_pairs,)
        In 0..2.

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
    array([0., 2., 2.])
    """
    features = checked(features)
    _refuse("Correlation is undefined for features that are all equal. They are so for", features)
    rows = _by_length(features, centre=True)
    found: Distances = squared_distances(
        Prepared(rows, features.shape, features.dtype), _halve, out
    )
    return found


def cosine(
    features: Shaped[np.ndarray, "n_stimuli n_features"], *, out: Pairs | None = None
) -> Distances:
    """Compute one minus the cosine of the angle between each pair of rows.

    ``1 - x·y / (|x| |y|)``.

    Parameters
    ----------
    features : array, shape (n_stimuli, n_features)
        At least two stimuli; no NaN and no infinity.
    out : Pairs, optional
        Takes the pairs instead of a new array.

    Returns
    -------
    array, shape (n_pairs,)
        In 0..2.

    Raises
    ------
    InvalidArgument
        If a row is all zeros (its angle is undefined) or not finite.

    Examples
    --------
    >>> cosine(np.array([[1.0, 0.0], [3.0, 0.0], [0.0, 2.0]])).round(12)
    array([0., 1., 1.])
    """
    features = checked(features)
    _refuse("The cosine is undefined for features that are all zero. They are so for", features, 0)
    rows = _by_length(features, centre=False)
    found: Distances = squared_distances(
        Prepared(rows, features.shape, features.dtype), _halve, out
    )
    return found


def euclidean(
    features: Shaped[np.ndarray, "n_stimuli n_features"], *, out: Pairs | None = None
) -> Distances:
    """Compute the Euclidean distance, not squared, between each pair of rows.

    ``sqrt(sum((x - y)²))``, in the units of the features.

    Parameters
    ----------
    features : array, shape (n_stimuli, n_features)
        At least two stimuli; no NaN and no infinity.
    out : Pairs, optional
        Takes the pairs instead of a new array.

    Returns
    -------
    array, shape (n_pairs,)
        Not negative.

    Raises
    ------
    InvalidArgument
        If a row is not finite.

    Examples
    --------
    >>> euclidean(np.array([[0.0, 0.0], [3.0, 4.0]]))
    array([5.])
    """
    features = checked(features)
    rows, exponent = _by_range(features)

    def finish(distances: NDArray[Any]) -> None:
        np.sqrt(distances, out=distances)
        _scale(distances, exponent)

    found: Distances = squared_distances(
        Prepared(rows, features.shape, features.dtype), finish, out
    )
    return found


def squared_euclidean(
    features: Shaped[np.ndarray, "n_stimuli n_features"], *, out: Pairs | None = None
) -> Distances:
    """Compute the squared Euclidean distance between each pair of rows.

    ``sum((x - y)²)``, in the squared units of the features; n_features times what
    rsatoolbox calls Euclidean, which is the mean.

    Parameters
    ----------
    features : array, shape (n_stimuli, n_features)
        At least two stimuli; no NaN and no infinity.
    out : Pairs, optional
        Takes the pairs instead of a new array.

    Returns
    -------
    array, shape (n_pairs,)
        Not negative.

    Raises
    ------
    InvalidArgument
        If a row is not finite.

    Examples
    --------
    >>> squared_euclidean(np.array([[0.0, 0.0], [3.0, 4.0]]))
    array([25.])
    """
    features = checked(features)
    rows, exponent = _by_range(features)

    def finish(distances: NDArray[Any]) -> None:
        _scale(distances, 2 * exponent)

    found: Distances = squared_distances(
        Prepared(rows, features.shape, features.dtype), finish, out
    )
    return found


def gaussian(
    features: Shaped[np.ndarray, "n_stimuli n_features"],
    *,
    bandwidth: float | None = None,
    out: Pairs | None = None,
) -> Distances:
    """Compute one minus a Gaussian kernel of the distance between each pair of rows.

    ``1 - exp(-D² / mean(D²))`` with D² the squared Euclidean distances and the
    mean over the whole matrix, its diagonal included [1]_. It depends on which
    stimuli there are: that of a subset is not a part of that of the whole. With
    a bandwidth s it does not: ``1 - exp(-D² / (2 s²))``.

    Parameters
    ----------
    features : array, shape (n_stimuli, n_features)
        At least two stimuli; no NaN and no infinity.
    bandwidth : float, optional
        Standard deviation of the kernel, in the units of the features. Without
        it, ``sqrt(mean(D²) / 2)``.
    out : Pairs, optional
        Takes the pairs instead of a new array.

    Returns
    -------
    array, shape (n_pairs,)
        In 0..1.

    Raises
    ------
    InvalidArgument
        If a row is not finite, all rows are the same (the mean is then zero), or
        the bandwidth is not positive.

    References
    ----------
    .. [1] Muttenthaler & Hebart (2021). doi:10.3389/fninf.2021.679838

    Examples
    --------
    >>> gaussian(np.array([[0.0], [1.0]])).round(4)  # mean(D²) = 1/2, and 1 - exp(-2) = 0.8647
    array([0.8647])
    >>> gaussian(np.array([[0.0], [1.0]]), bandwidth=1.0).round(4)  # 1 - exp(-1/2)
    array([0.3935])
    """
    if bandwidth is not None and not (np.isfinite(bandwidth) and bandwidth > 0):
        raise InvalidArgument(
            f"bandwidth={bandwidth!r} is no bandwidth. Give a positive number in the units of the "
            "features, or leave it out to take the mean distance."
        )
    features = checked(features)
    rows, exponent = _by_range(features)
    prepared = Prepared(rows, features.shape, features.dtype)
    if bandwidth is not None:
        scale = 2 * float(np.ldexp(bandwidth, -exponent)) ** 2
    elif (features[1] == features[0]).all() and (features == features[0]).all():
        raise InvalidArgument(
            f"The Gaussian dissimilarity is undefined: all {len(features)} stimuli have the same "
            "features, so their mean distance is zero. Look at what their features should be."
        )
    else:
        scale = prepared.mean_distance()
    limits = np.finfo(features.dtype)
    scale = float(np.clip(scale, limits.tiny, limits.max))

    def finish(distances: NDArray[Any]) -> None:
        with np.errstate(over="ignore"):  # far beyond the bandwidth
            distances /= -scale
        np.expm1(distances, out=distances)
        np.negative(distances, out=distances)

    found: Distances = squared_distances(prepared, finish, out)
    return found


def checked(features: NDArray[Any]) -> NDArray[Any]:
    """Bring features to float32 or float64, and refuse what has no distances."""
    if features.ndim != 2 or features.shape[0] < 2 or features.shape[1] < 1:
        raise InvalidArgument(
            f"Features of shape {features.shape} have no dissimilarities. Needed is "
            "(n_stimuli, n_features) with at least two stimuli and one feature."
        )
    if features.dtype.kind not in "biuf":
        raise InvalidArgument(f"Features of type {features.dtype} are not real numbers.")
    if features.dtype not in (np.float32, np.float64):
        features = features.astype(np.float32 if features.dtype == np.float16 else np.float64)
    if not np.isfinite([features.max(), features.min()]).all():
        broken = [row for row, values in enumerate(features) if not np.isfinite(values).all()]
        problem = "Features have to be finite numbers. NaN or infinity is found in"
        raise UndefinedRows(problem, broken)
    return features


def _refuse(problem: str, features: NDArray[Any], value: float | None = None) -> None:
    """Refuse rows that hold nothing but one value, that given or any."""
    few = features[:, :: -(-features.shape[1] // 16)]  # enough to acquit nearly all rows
    suspects = np.flatnonzero((few == (few[:, :1] if value is None else value)).all(axis=1))
    rows = [
        int(row)
        for row in suspects
        if (features[row] == (features[row, 0] if value is None else value)).all()
    ]
    if rows:
        raise UndefinedRows(problem, rows)


def _by_length(features: NDArray[Any], centre: bool) -> Rows:
    """Give rows of length one, if wanted after subtracting their mean."""
    single = features.dtype == np.float32  # its squares are in the range of float64

    def rows(index: Any) -> NDArray[np.float64]:
        block = np.array(features[index], dtype=np.float64, order="C")
        if not single:
            _to_range(block)
        if centre:
            block -= block.mean(axis=1, keepdims=True)
            block -= block.mean(axis=1, keepdims=True)  # what the first mean lost to rounding
            if not single:
                _to_range(block)
        block /= np.sqrt(np.einsum("ij,ij->i", block, block))[:, None]
        return block

    return rows


def _to_range(block: NDArray[np.float64]) -> None:
    """Scale each row by a power of two, which is exact, to keep its squares in range."""
    largest = np.maximum(block.max(axis=1, keepdims=True), -block.min(axis=1, keepdims=True))
    _scale(block, -np.frexp(largest)[1])


def _by_range(features: NDArray[Any]) -> tuple[Rows, int]:
    """Give rows all scaled by one power of two, which is exact, to keep squares in range."""
    exponent = int(np.frexp(max(features.max(), -features.min()))[1])

    def rows(index: Any) -> NDArray[np.float64]:
        block = np.array(features[index], dtype=np.float64, order="C")
        _scale(block, -exponent)
        return block

    return rows, exponent


def _scale(values: NDArray[Any], exponent: Any) -> None:
    """Multiply by powers of two in two steps, as one of them may be out of range."""
    half = np.floor_divide(exponent, 2)
    values *= np.ldexp(values.dtype.type(1), half)
    values *= np.ldexp(values.dtype.type(1), exponent - half)


def _halve(squared: NDArray[Any]) -> None:
    """Make ``1 - u·v`` of ``|u - v|²``."""
    squared /= 2
    np.minimum(squared, 2, out=squared)
