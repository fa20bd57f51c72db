"""Comparisons that are one matrix product: correlations and the cosine."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from jaxtyping import Float
from numpy.typing import NDArray

from .ranks import ranked

Rows = Float[np.ndarray, "n_a n_pairs"]
Columns = Float[np.ndarray, "n_b n_pairs"]
Table = Float[np.ndarray, "n_a n_b"]


def pearson(a: Rows, b: Columns) -> Table:
    """Compute the Pearson correlation of each row of a with each row of b.

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
    >>> pearson(np.array([[1.0, 2.0, 3.0]]), np.array([[2.0, 4.0, 6.0], [3.0, 2.0, 1.0]])).round(12)
    array([[ 1., -1.]])
    """
    return _product(a, standardised(b), standardised)


def spearman(a: Rows, b: Columns) -> Table:
    """Compute the Spearman rank correlation of each row of a with each row of b.

    The Pearson correlation of the ranks, equal values sharing their mean rank.
    Each row is ranked once.

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
    >>> spearman(np.array([[1.0, 2.0, 3.0]]), np.array([[1.0, 10.0, 11.0]])).round(12)
    array([[1.]])
    """
    return pearson(ranked(a), ranked(b))


def rho_a(a: Rows, b: Columns) -> Table:
    """Compute Spearman's rho-a: the rank correlation expected if ties were broken at random.

    ``12 sum((r_a - mean) (r_b - mean)) / (n^3 - n)``, r the ranks with ties
    sharing their mean. Unlike `spearman` it does not favour models that predict ties
    (Schütt et al., 2023, doi:10.7554/eLife.82566).

    Parameters
    ----------
    a, b : array of float64, shapes (n_a, n_pairs) and (n_b, n_pairs)

    Returns
    -------
    array, shape (n_a, n_b)
        In -1..1; a row with ties does not reach 1 even with itself.

    Examples
    --------
    >>> rho_a(np.array([[1.0, 2.0, 2.0]]), np.array([[1.0, 2.0, 3.0]])).round(12)
    array([[0.75]])
    """
    n_pairs = a.shape[1]
    middle = (n_pairs + 1) / 2
    products = (ranked(a) - middle) @ (ranked(b) - middle).T
    return np.asarray(products * (12 / (float(n_pairs) ** 3 - n_pairs)))


def cosine(a: Rows, b: Columns) -> Table:
    """Compute the cosine of the angle between each row of a and each row of b.

    Parameters
    ----------
    a, b : array of float64, shapes (n_a, n_pairs) and (n_b, n_pairs)
        No row is all zero.

    Returns
    -------
    array, shape (n_a, n_b)
        In -1..1; 0..1 where no dissimilarity is negative.

    Examples
    --------
    >>> cosine(np.array([[1.0, 0.0, 0.0]]), np.array([[3.0, 0.0, 4.0]]))
    array([[0.6]])
    """
    return _product(a, unit(b), unit)


def _product(
    a: NDArray[np.float64],
    b: NDArray[np.float64],
    normalised: Callable[[NDArray[np.float64]], NDArray[np.float64]],
) -> NDArray[np.float64]:
    """Multiply the normalised rows of a, some at a time so that they stay in the cache, with b."""
    values = np.empty((len(a), len(b)))
    step = max(1, 65_536 // a.shape[1])
    for start in range(0, len(a), step):
        part = slice(start, start + step)
        np.matmul(normalised(a[part]), b.T, out=values[part])
    return np.clip(values, -1, 1, out=values)


def standardised(rows: NDArray[np.float64]) -> NDArray[np.float64]:
    """Bring rows to mean zero and length one."""
    centred: NDArray[np.float64] = rows - rows.mean(axis=1, keepdims=True)
    return _unit(centred)


def unit(rows: NDArray[np.float64]) -> NDArray[np.float64]:
    """Bring rows to length one."""
    return _unit(rows.copy())


def _unit(rows: NDArray[np.float64]) -> NDArray[np.float64]:
    """Bring rows to length one, in place."""
    squares = np.einsum("ij,ij->i", rows, rows)
    if not (squares.min() > 1e-100 and squares.max() < 1e300):  # squares that left their range
        rows /= np.maximum(rows.max(axis=1, keepdims=True), -rows.min(axis=1, keepdims=True))
        squares = np.einsum("ij,ij->i", rows, rows)
    rows /= np.sqrt(squares)[:, None]
    return rows
