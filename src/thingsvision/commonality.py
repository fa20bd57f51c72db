"""Commonality analysis: from variances explained by sets of models to unique and shared parts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import combinations
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .errors import InvalidArgument

MOST = 4  # more models have parts beyond reading: five have 31


def subsets(names: Sequence[str]) -> list[tuple[str, ...]]:
    """List all sets of models but the empty one, small ones first.

    Raises
    ------
    InvalidArgument
        If there are not two to four models.

    Examples
    --------
    >>> subsets(["a", "b"])
    [('a',), ('b',), ('a', 'b')]
    """
    if not 2 <= len(names) <= MOST:
        raise InvalidArgument(
            f"Variance is partitioned among two to four models; {len(names)} were given."
        )
    sizes = range(1, len(names) + 1)
    return [chosen for size in sizes for chosen in combinations(names, size)]


def commonalities(
    explained: Mapping[tuple[str, ...], NDArray[np.float64] | float],
) -> dict[tuple[str, ...], Any]:
    r"""Divide the variance that all models explain into unique and shared parts.

    The part of a set :math:`S` of models is what all of them share and no other explains,
    :math:`\sum_{Q \subseteq S} (-1)^{|Q| + 1} R^2(Q \cup \bar S)`, with :math:`\bar S`
    the other models and :math:`R^2(\emptyset) = 0`; of one model it is its unique part (Nimon et
    al. 2008, doi:10.3758/BRM.40.2.457). The parts sum up to the variance explained by
    all. Shared parts may be below zero, where a model helps another (suppression); of
    cross-validated variances, unique parts too.

    Parameters
    ----------
    explained : dict of tuple of str to float or array
        :math:`R^2` of each set of models, see `subsets`.

    Returns
    -------
    dict of tuple of str to float or array
        The part of each set.

    Examples
    --------
    >>> commonalities({("a",): 0.5, ("b",): 0.4, ("a", "b"): 0.6})
    {('a',): 0.2, ('b',): 0.1, ('a', 'b'): 0.3}
    """
    known = {frozenset(chosen): np.asarray(value) for chosen, value in explained.items()}
    everyone = frozenset().union(*known)
    parts = {}
    for chosen in explained:
        others = everyone - set(chosen)
        total: Any = 0.0
        for size in range(len(chosen) + 1):
            for inside in combinations(chosen, size):
                together = others | set(inside)
                if together:
                    total = total + (-1) ** (size + 1) * known[together]
        parts[chosen] = np.round(total, 15) if np.ndim(total) else round(float(total), 15)
    return parts
