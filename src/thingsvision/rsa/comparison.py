"""Comparisons: how alike RDMs are.

A comparison is a function from the pairs of some RDMs, ``(n_a, n_pairs)``, and
of others, ``(n_b, n_pairs)``, to their likeness, ``(n_a, n_b)``, and a row of
`COMPARISONS`. Another package adds one through the entry-point group
``thingsvision.comparisons``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..registry import Registry
from .joining import RDMs, joined, laid_out, side

if TYPE_CHECKING:
    import pandas as pd

_HERE = "thingsvision.rsa"
COMPARISONS = Registry(
    "comparison",
    {
        "pearson": f"{_HERE}.correlations:pearson",
        "spearman": f"{_HERE}.correlations:spearman",
        "kendall_tau_a": f"{_HERE}.kendall:kendall_tau_a",
        "kendall_tau_b": f"{_HERE}.kendall:kendall_tau_b",
        "rho_a": f"{_HERE}.correlations:rho_a",
        "cosine": f"{_HERE}.correlations:cosine",
        "whitened_correlation": f"{_HERE}.kernels:whitened_correlation",
        "whitened_cosine": f"{_HERE}.kernels:whitened_cosine",
        "bures": f"{_HERE}.kernels:bures",
    },
    group="thingsvision.comparisons",
)
OF_CONSTANTS = ("cosine", "whitened_cosine", "bures")  # defined for RDMs without variance too


def compare_rdms(
    a: RDMs, b: RDMs, comparison: str = "pearson", by_position: bool = False
) -> float | pd.DataFrame:
    """Compare RDMs over the pairs of their stimuli.

    Stimuli are joined by id: an RDM with the same ids in another order is
    brought into the order of the first.

    Parameters
    ----------
    a, b : RDM, list or mapping of them, or array
        One RDM is an `RDM`, a square matrix (n_stimuli, n_stimuli) or a row
        of pairs (n_pairs,). Several are a list or a mapping from name to any of
        these, rows (n_rdms, n_pairs) or a stack (n_rdms, n_stimuli, n_stimuli).
        An array with two equal sides is one square matrix.
    comparison : str
        A name in `thingsvision.rsa.COMPARISONS`: ``"pearson"``, ``"spearman"``,
        ``"kendall_tau_a"``, ``"kendall_tau_b"``, ``"rho_a"``, ``"cosine"``,
        ``"whitened_correlation"``, ``"whitened_cosine"``, ``"bures"``.
    by_position : bool
        Take an array, which carries no ids, to be in the order of the RDMs that
        do. Those that carry ids are joined by them all the same.

    Returns
    -------
    float or pandas.DataFrame
        A number for two RDMs; else a table, one row for each of a and one column
        for each of b, named where they have names. ``table.attrs`` records the
        comparison and whether stimuli were joined by ``"id"`` or ``"position"``.

    Raises
    ------
    UnknownName
        If there is no such comparison.
    MismatchError
        If the stimuli differ, in number or by id, or cannot be joined because
        only some RDMs carry ids.
    InvalidArgument
        If something is no RDM, is constant (all zero, for the cosines and Bures), or has
        fewer than four stimuli, whose three pairs or less would say nothing.

    Examples
    --------
    >>> import numpy as np
    >>> from thingsvision import RDM
    >>> ids = ("cat.jpg", "dog.jpg", "cup.jpg", "pot.jpg")
    >>> model = RDM(np.array([0.1, 0.8, 0.9, 0.7, 0.9, 0.2]), ids)
    >>> human = RDM(np.array([0.3, 0.7, 0.8, 0.9, 0.6, 0.2]), ids[::-1])
    >>> round(compare_rdms(model, human, comparison="spearman"), 3)
    0.638
    """
    compare = COMPARISONS[comparison]
    side_a, side_b = side(a, "a"), side(b, "b")
    ids = joined([side_a, side_b], by_position)
    constant_too = comparison in OF_CONSTANTS
    values = compare(laid_out(side_a, ids, constant_too), laid_out(side_b, ids, constant_too))
    if side_a.single and side_b.single:
        return float(values[0, 0])
    import pandas as pd

    table: pd.DataFrame = pd.DataFrame(values, index=list(side_a.names), columns=list(side_b.names))
    table.attrs |= {"comparison": comparison, "joined_by": "position" if ids is None else "id"}
    return table
