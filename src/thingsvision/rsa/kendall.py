"""Kendall's rank correlations, which count pairs of pairs."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from .correlations import Columns, Rows, Table


def kendall_tau_a(a: Rows, b: Columns) -> Table:
    """Compute Kendall's tau-a of each row of a with each row of b.

    ``(concordant - discordant) / (n (n - 1) / 2)``, n the number of pairs of stimuli:
    ties count for neither side, so a model that predicts ties gains nothing by them
    (Nili et al., 2014, doi:10.1371/journal.pcbi.1003553).

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
    >>> kendall_tau_a(np.array([[1.0, 2.0, 2.0]]), np.array([[1.0, 2.0, 3.0]])).round(3)
    array([[0.667]])
    """
    every = a.shape[1] * (a.shape[1] - 1) / 2
    shares = np.sqrt(np.outer(1 - _tied(a) / every, 1 - _tied(b) / every))
    return np.asarray(kendall_tau_b(a, b) * shares)


def kendall_tau_b(a: Rows, b: Columns) -> Table:
    """Compute Kendall's tau-b of each row of a with each row of b.

    ``(concordant - discordant) / sqrt((N - ties in a) (N - ties in b))`` with N the
    number of pairs of pairs (Kendall, 1945, doi:10.1093/biomet/33.3.239); as
    `scipy.stats.kendalltau`, which counts.

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
    >>> kendall_tau_b(np.array([[1.0, 2.0, 3.0]]), np.array([[1.0, 3.0, 2.0]])).round(3)
    array([[0.333]])
    """
    from scipy.stats import kendalltau  # slow to import

    ordered = [np.unique(row, return_inverse=True)[1] for row in b]  # integers sort faster
    values = np.empty((len(a), len(b)))
    for row, one in enumerate(a):
        levels = np.unique(one, return_inverse=True)[1]
        for column, other in enumerate(ordered):
            values[row, column] = kendalltau(levels, other, method="asymptotic").statistic
    return values


def _tied(rows: NDArray[np.float64]) -> NDArray[np.float64]:
    """Count the pairs of equal values in each row, shape (n_rows,)."""
    counts = [np.unique(row, return_counts=True)[1].astype(np.float64) for row in rows]
    return np.array([(count * (count - 1)).sum() / 2 for count in counts])
