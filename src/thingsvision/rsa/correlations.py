"""Comparisons that are one matrix product: correlations and the cosine."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float
from numpy.typing import NDArray

from .ranks import ranked

Rows = Float[np.ndarray, "n_a n_pairs"]
Columns = Float[np.ndarray, "n_b n_pairs"]
Table = Float[np.ndarray, "n_a n_b"]
BLOCK = 32_768  # numbers of a at a time


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
    return _cosines(a, standardised(b), centre=True)


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
    return _cosines(a, unit(b), centre=False)


def _cosines(a: NDArray[np.float64], b: NDArray[np.float64], centre: bool) -> NDArray[np.float64]:
    """Multiply the rows of a, less their means if so, with b, and divide by their lengths.

    Some rows at a time, so that they stay in the cache.
    """
    values, squares = np.empty((len(a), len(b))), np.empty(len(a))
    step = max(1, BLOCK // a.shape[1])
    work = np.empty((min(step, len(a)), a.shape[1]))
    with np.errstate(over="ignore", invalid="ignore"):
        for start in range(0, len(a), step):
            part = slice(start, start + step)
            rows = a[part]
            if centre:
                means = rows.mean(axis=1, keepdims=True)
                rows = np.subtract(rows, means, out=work[: len(rows)])
            np.einsum("ij,ij->i", rows, rows, out=squares[part])
            np.matmul(rows, b.T, out=values[part])
    if not _in_range(squares):
        values = (standardised(a) if centre else unit(a)) @ b.T
    else:
        values /= np.sqrt(squares)[:, None]
    return np.clip(values, -1, 1, out=values)


def _in_range(squares: NDArray[np.float64]) -> bool:
    """Tell whether squares neither overflowed nor lost digits."""
    return bool(squares.min() > 1e-250 and squares.max() < 1e300)


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
    if not _in_range(squares):
        rows /= np.maximum(rows.max(axis=1, keepdims=True), -rows.min(axis=1, keepdims=True))
        squares = np.einsum("ij,ij->i", rows, rows)
    rows /= np.sqrt(squares)[:, None]
    return rows
