"""Comparisons by way of the kernel of an RDM: whitened correlation and cosine, and Bures.

The kernel is the doubly centred matrix ``-H D H / 2``, ``H = I - 1/n``: for an RDM of
squared Euclidean distances the inner products of the centred activations.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from .correlations import Columns, Rows, Table, unit
from .matrix import condensed, squared


def whitened_cosine(a: Rows, b: Columns) -> Table:
    """Compute the cosine of each row of a with each row of b, whitened.

    ``a' V^-1 b / sqrt(a' V^-1 a b' V^-1 b)``, V the covariance of the dissimilarities of
    noise that is independent over stimuli: the pairs that share a stimulus vary together.
    Equal to linear CKA of the kernels (Diedrichsen et al., 2021,
    doi:10.51628/001c.27664), which is how it is computed.

    Parameters
    ----------
    a, b : array of float64, shapes (n_a, n_pairs) and (n_b, n_pairs)
        No row is all zero. The theory is that of squared distances (squared euclidean,
        mahalanobis, crossnobis).

    Returns
    -------
    array, shape (n_a, n_b)
        In -1..1.

    Examples
    --------
    >>> whitened_cosine(np.array([[1.0, 2.0, 3.0]]), np.array([[1.0, 2.0, 3.0]])).round(12)
    array([[1.]])
    """
    return np.clip(unit(whitened(a)) @ unit(whitened(b)).T, -1, 1)


def whitened_correlation(a: Rows, b: Columns) -> Table:
    """Compute the correlation of each row of a with each row of b, whitened.

    `whitened_cosine` of the rows less their means (Diedrichsen et al., 2021,
    doi:10.51628/001c.27664).

    Parameters
    ----------
    a, b : array of float64, shapes (n_a, n_pairs) and (n_b, n_pairs)
        No row is constant.

    Returns
    -------
    array, shape (n_a, n_b)
        In -1..1.

    Examples
    --------
    >>> rows = np.array([[1.0, 2.0, 4.0]])
    >>> whitened_correlation(rows, 3 * rows + 1).round(12)
    array([[1.]])
    """
    centred_a = a - a.mean(axis=1, keepdims=True)
    return whitened_cosine(centred_a, b - b.mean(axis=1, keepdims=True))


def bures(a: Rows, b: Columns) -> Table:
    """Compute the Bures similarity of the kernels of each row of a and each row of b.

    ``tr((A^1/2 B A^1/2)^1/2) / sqrt(tr A tr B)``, the cosine of the Procrustes angle
    (Harvey, Larsen and Williams, 2023, Proceedings of Machine Learning Research 243, 60-75).
    Negative eigenvalues, which kernels of distances that are not squared Euclidean have,
    count as zero: each kernel is taken to be the nearest that has none.

    Parameters
    ----------
    a, b : array of float64, shapes (n_a, n_pairs) and (n_b, n_pairs)
        No row is all zero.

    Returns
    -------
    array, shape (n_a, n_b)
        In 0..1.

    Examples
    --------
    >>> bures(np.array([[1.0, 4.0, 1.0]]), np.array([[2.0, 8.0, 2.0]])).round(12)
    array([[1.]])
    """
    roots_a, traces_a = _roots([kernel(squared(row)) for row in a])
    roots_b, traces_b = _roots([kernel(squared(row)) for row in b])
    values = np.array(
        [[np.linalg.svd(x.T @ y, compute_uv=False).sum() for y in roots_b] for x in roots_a]
    )
    return np.asarray(values / np.sqrt(np.outer(traces_a, traces_b)))


def kernel(distances: NDArray[np.float64]) -> NDArray[np.float64]:
    """Centre a square matrix of distances doubly, times -1/2, shape (n_stimuli, n_stimuli)."""
    inner: NDArray[np.float64] = distances / -2
    means = inner.mean(axis=0)
    inner -= means
    inner -= (means - means.mean())[:, None]
    return inner


def whitened(rows: NDArray[np.float64]) -> NDArray[np.float64]:
    """Lay the kernels of RDMs out as rows whose inner products are those of the kernels.

    Shape (n_rows, n_pairs) to (n_rows, n_pairs + n_stimuli): the pairs, twice as heavy, and the
    diagonal.
    """
    laid = []
    for row in rows:
        inner = kernel(squared(row))
        laid.append(np.concatenate([np.sqrt(2) * condensed(inner), inner.diagonal()]))
    return np.stack(laid)


def _roots(
    kernels: list[NDArray[np.float64]],
) -> tuple[list[NDArray[np.float64]], list[float]]:
    """Take a root R, and the trace, of the nearest kernel R R' without negative eigenvalues."""
    roots, traces = [], []
    for inner in kernels:
        values, vectors = np.linalg.eigh(inner)
        values = np.maximum(values, 0)
        roots.append(vectors * np.sqrt(values))
        traces.append(float(values.sum()))
    return roots, traces
