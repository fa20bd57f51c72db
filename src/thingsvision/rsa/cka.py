"""Likeness of two sets of activations themselves: CKA, RV, Procrustes."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import InvalidArgument, unknown
from .activations import LEAST, Activations, Array, joined_activations, warn_of_bias
from .draws import check_count, generator

KERNELS = ("linear", "rbf")
MEDIAN_OF = 2000  # stimuli, at most, whose median distance sets the width of the RBF kernel


def cka(
    x: Activations,
    y: Activations,
    kernel: str = "linear",
    debiased: bool = True,
    bandwidth: float = 1.0,
    batch_size: int | None = None,
    n_passes: int = 1,
    seed: int = 0,
    by_position: bool = False,
) -> float:
    """Compute the centred kernel alignment of two sets of activations for the same stimuli.

    ``HSIC(K, L) / sqrt(HSIC(K, K) HSIC(L, L))`` (Kornblith et al., 2019,
    doi:10.48550/arXiv.1905.00414). The biased HSIC is ``tr(K H L H) / (n - 1)^2`` with
    ``H = I - 1/n``: with many features and few stimuli it finds even noise alike. The
    debiased one is the unbiased estimate of Song et al. (2012, Journal of Machine Learning
    Research 13, 1393-1434), around 0 for unrelated activations. By mini-batches, the unbiased
    HSICs of the batches are averaged before the ratio is taken (Nguyen et al., 2021,
    doi:10.48550/arXiv.2010.15327), so memory does not grow with the number of stimuli.

    Parameters
    ----------
    x, y : Features or array, shapes (n_stimuli, ...)
        Of the same stimuli; all axes but the first are flattened. Features are joined by id.
    kernel : str
        ``"linear"``, invariant to orthogonal transforms, shift and scale of the features; or
        ``"rbf"``, ``exp(-d^2 / (2 s^2))``, d the Euclidean distance.
    debiased : bool
        Use the unbiased HSIC.
    bandwidth : float
        s of the RBF kernel as a multiple of the median distance between stimuli (of at most
        2,000, drawn by the seed), for x and y apart.
    batch_size : int, optional
        Stimuli in a mini-batch, 4 or more; only debiased. Stimuli that do not fill one are left
        out of that pass.
    n_passes : int
        How often the stimuli are shuffled into mini-batches; more bring the estimate nearer to
        that of all stimuli at once.
    seed : int
        Of the shuffling, 0 or more.
    by_position : bool
        Take an array, which carries no ids, to be in the order of Features that do.

    Returns
    -------
    float
        In 0..1 if biased. Debiased it may be a little below 0 or, at small n, above 1.

    Raises
    ------
    InvalidArgument
        If there are fewer than four stimuli, activations are not finite or the same for all
        stimuli, or an argument is out of its range.
    MismatchError
        If the stimuli differ, or cannot be joined because only one side has ids.
    UnknownName
        If there is no such kernel.

    Warns
    -----
    ThingsvisionWarning
        If the biased estimate is asked for with more features than stimuli.

    Examples
    --------
    >>> x, y = np.random.default_rng(0).normal(size=(2, 100, 50))
    >>> round(cka(x, 2 * x[:, ::-1] + 1), 6)
    1.0
    >>> round(cka(x, y), 2), round(cka(x, y, debiased=False), 2)
    (-0.05, 0.3)
    """
    if kernel not in KERNELS:
        raise unknown("kernel", kernel, KERNELS)
    if isinstance(bandwidth, bool) or not bandwidth > 0 or not np.isfinite(bandwidth):
        raise InvalidArgument(f"bandwidth={bandwidth!r} is not allowed: a number above 0.")
    a, b = joined_activations(x, y, by_position)
    rng = generator(seed)
    batches: Iterator[NDArray[Any]] = iter([np.arange(len(a))])
    if batch_size is not None:
        batches = _batches(len(a), batch_size, n_passes, debiased, rng)
    if not debiased:
        warn_of_bias("CKA", a, b, "debiased=True")
    widths = (0.0, 0.0)
    if kernel == "rbf":
        few = generator(seed).permutation(len(a))[:MEDIAN_OF]
        widths = (bandwidth * _median_distance(a[few]), bandwidth * _median_distance(b[few]))
    sums, count = np.zeros(3), 0
    for rows in batches:
        if kernel == "linear":
            sums += _linear_hsics(a[rows], b[rows], debiased)
        else:
            kernels = _rbf(a[rows], widths[0]), _rbf(b[rows], widths[1])
            sums += [
                _hsic(one, other, debiased)
                for one, other in [kernels, (kernels[0],) * 2, (kernels[1],) * 2]
            ]
        count += 1
    both, own, other = (float(value) for value in sums / count)
    if own <= 0 or other <= 0:
        raise InvalidArgument(
            f"The unbiased estimate of the variance of {'x' if own <= 0 else 'y'} is not positive, "
            f"so no alignment can be estimated from {len(a)} stimuli. Take more stimuli."
        )
    return both / float(np.sqrt(own * other))


def rv(x: Activations, y: Activations, by_position: bool = False) -> float:
    """Compute the RV coefficient of two sets of activations for the same stimuli.

    ``tr(XX'YY') / sqrt(tr((XX')^2) tr((YY')^2))``, columns centred (Robert and Escoufier,
    1976, doi:10.2307/2347233): the same as biased linear `cka`, and biased like it.

    Parameters
    ----------
    x, y : Features or array, shapes (n_stimuli, ...)
        As in `cka`.
    by_position : bool
        As in `cka`.

    Returns
    -------
    float
        In 0..1.

    Raises
    ------
    InvalidArgument, MismatchError
        As `cka`.

    Warns
    -----
    ThingsvisionWarning
        If there are more features than stimuli.

    Examples
    --------
    >>> x = np.random.default_rng(0).normal(size=(20, 3))
    >>> round(rv(x, -5 * x), 6)
    1.0
    """
    a, b = joined_activations(x, y, by_position)
    warn_of_bias("The RV coefficient", a, b, "cka(x, y), which is debiased")
    both, own, other = _linear_hsics(a, b, False)
    return float(both / np.sqrt(own * other))


def procrustes(x: Activations, y: Activations, by_position: bool = False) -> float:
    """Compute how well one set of activations can be turned into another, as a similarity.

    ``|X'Y|_* / (|X|_F |Y|_F)``, columns centred, ``|.|_*`` the sum of singular values: the cosine
    of the angle that the best orthogonal transform leaves (Schönemann, 1966,
    doi:10.1007/BF02289451). `scipy.spatial.procrustes` gives 1 less its square; the number of
    features may differ here. The same as the Bures similarity of the kernels.

    Parameters
    ----------
    x, y : Features or array, shapes (n_stimuli, ...)
        As in `cka`.
    by_position : bool
        As in `cka`.

    Returns
    -------
    float
        In 0..1; invariant to orthogonal transforms, shift and scale of the features.

    Raises
    ------
    InvalidArgument, MismatchError
        As `cka`.

    Warns
    -----
    ThingsvisionWarning
        If there are more features than stimuli: noise is alike then.

    Examples
    --------
    >>> x = np.random.default_rng(0).normal(size=(20, 3))
    >>> round(procrustes(x, x[:, ::-1]), 6)
    1.0
    """
    a, b = joined_activations(x, y, by_position)
    warn_of_bias("Procrustes similarity", a, b, "cka(x, y), which is debiased")
    a, b = (_small(one - one.mean(axis=0)) for one in (a, b))
    turned = np.linalg.svd(a.T @ b, compute_uv=False).sum()
    return float(turned / (np.linalg.norm(a) * np.linalg.norm(b)))


def _linear_hsics(a: Array, b: Array, debiased: bool) -> Array:
    """Compute HSIC of (a, b), (a, a), (b, b) for linear kernels, shape (3,)."""
    a, b = (_small(one - one.mean(axis=0)) for one in (a, b))
    n = len(a)
    found = []
    for one, other in ((a, b), (a, a), (b, b)):
        products = float(np.square(one.T @ other).sum())  # the sum of K * L
        if not debiased:
            found.append(products / (n - 1) ** 2)
            continue
        # The rows of a centred K sum to 0, and without its diagonal to less that.
        k, m = (np.einsum("ij,ij->i", side, side) for side in (one, other))
        found.append(_unbiased(products - k @ m, -k, -m))
    return np.array(found)


def _hsic(k: Array, m: Array, debiased: bool) -> float:
    """Compute HSIC of two kernels, each of shape (n_stimuli, n_stimuli)."""
    n = len(k)
    if debiased:
        k, m = k - np.diag(k.diagonal()), m - np.diag(m.diagonal())
        return _unbiased(float(np.vdot(k, m)), k.sum(axis=1), m.sum(axis=1))
    centred = k - k.mean(axis=0)
    centred -= centred.mean(axis=1, keepdims=True)
    return float(np.vdot(centred, m)) / (n - 1) ** 2


def _unbiased(products: float, k: Array, m: Array) -> float:
    """Estimate HSIC from the sums of kernels without diagonals: of products, and of rows."""
    n = len(k)
    total = products + k.sum() * m.sum() / ((n - 1) * (n - 2)) - 2 / (n - 2) * (k @ m)
    return float(total / (n * (n - 3)))


def _small(centred: Array) -> Array:
    """Rotate features into as many as there are stimuli where they are more; K stays as it is."""
    n_stimuli, n_features = centred.shape
    if n_features <= n_stimuli:
        return centred
    return np.asarray(np.linalg.qr(centred.T, mode="r")).T


def _rbf(rows: Array, width: float) -> Array:
    """Compute the RBF kernel less 1: no HSIC minds a constant, and a wide kernel is all but 1."""
    from scipy.spatial.distance import cdist

    return np.asarray(np.expm1(cdist(rows, rows, "sqeuclidean") / (-2 * width**2)))


def _median_distance(rows: Array) -> float:
    from scipy.spatial.distance import pdist

    median = float(np.median(pdist(rows)))
    if median == 0:
        raise InvalidArgument(
            "The median distance between stimuli is 0: most activations are the same, so the RBF "
            "kernel has no width. Take kernel='linear', or leave doubled stimuli out."
        )
    return median


def _batches(
    n_stimuli: int, batch_size: int, n_passes: int, debiased: bool, rng: np.random.Generator
) -> Iterator[NDArray[Any]]:
    """Shuffle the stimuli into full batches, once in each pass."""
    check_count(batch_size, "batch_size", LEAST)
    check_count(n_passes, "n_passes", 1)
    if not debiased:
        raise InvalidArgument(
            "The biased CKA of mini-batches depends on their size and tends to no limit. Leave "
            "debiased=True, or batch_size out."
        )
    if batch_size > n_stimuli:
        raise InvalidArgument(
            f"batch_size={batch_size} is more than the {n_stimuli} stimuli; leave it out."
        )
    return (
        order[start : start + batch_size]
        for order in (rng.permutation(n_stimuli) for _ in range(n_passes))
        for start in range(0, n_stimuli - batch_size + 1, batch_size)
    )
