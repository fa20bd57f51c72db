"""Variance partitioning of responses: what sets of features explain alone, and what they share."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from ..commonality import commonalities, subsets
from ..errors import InvalidArgument
from .model import fit_encoding

if TYPE_CHECKING:
    import pandas as pd


def partition_variance(features: Mapping[str, Any], responses: Any, **options: Any) -> pd.DataFrame:
    r"""Divide the variance that features explain of responses into unique and shared parts.

    One ridge model is fitted for each set of features, a banded one for sets of two
    and more; all are scored on the same held-out stimuli. The parts follow from their
    :math:`R^2` by `commonalities` (Nimon et al. 2008, doi:10.3758/BRM.40.2.457; for encoding
    models Lescroart et al. 2015, doi:10.3389/fncom.2015.00135) and sum up to that of all.

    Parameters
    ----------
    features : mapping from name to Features or array (n_stimuli, ...)
        Two to four, e.g. of modules.
    responses : Responses, Features or array, shape (n_stimuli, n_targets)
        Joined to the features by id.
    **options
        As of `fit_encoding`, but for ``several``.

    Returns
    -------
    pandas.DataFrame
        One row per target and set: target, models (joined by `` & ``), n_models,
        part (unique to one, or shared by just these), explained (:math:`R^2` of the set).
        ``attrs`` is the record of `fit_encoding`.

    Raises
    ------
    InvalidArgument
        If there are not two to four; also as `fit_encoding`.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> a, b = rng.normal(size=(2, 200, 1))
    >>> table = partition_variance({"a": a, "b": b}, a + b, alphas=[0.01])
    >>> table["models"].tolist(), round(float(table["part"].sum()), 3)
    (['a', 'b', 'a & b'], 1.0)
    """
    import pandas as pd

    if "several" in options or not isinstance(features, Mapping):
        raise InvalidArgument(
            "partition_variance takes a mapping from name to features, and no `several`: single "
            "ones are fitted by ridge, sets by banded ridge."
        )
    explained, result = {}, None
    for chosen in subsets(list(features)):
        given = {name: features[name] for name in chosen}
        several = "each" if len(chosen) == 1 else "bands"
        result = fit_encoding(given, responses, several=several, **options)
        explained[chosen] = result.scores["r2"][0]
    assert result is not None
    parts = commonalities(explained)
    names = result.target_names or range(result.alphas.shape[2])
    rows = [
        {
            "target": target,
            "models": " & ".join(chosen),
            "n_models": len(chosen),
            "part": float(parts[chosen][number]),
            "explained": float(np.asarray(explained[chosen])[number]),
        }
        for number, target in enumerate(names)
        for chosen in explained
    ]
    table = pd.DataFrame(rows)
    table.attrs |= dict(result.provenance)
    return table
