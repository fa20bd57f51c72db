"""Variance partitioning: what model RDMs explain of others on their own, and what they share."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ..commonality import commonalities, subsets
from ..errors import InvalidArgument, listing
from ..folds import groups_of, split
from .aligned import check_count, names_of, square_stack
from .components import pairs_among
from .joining import joined, side
from .reweighting import FEWEST, check_parts, nonnegative_weights

if TYPE_CHECKING:
    import pandas as pd


def partition_rdms(
    models: Mapping[str, Any],
    reference: Any,
    *,
    cv: Any = 5,
    groups: Sequence[Any] | Mapping[str, Any] | None = None,
    nonnegative: bool = True,
    by_position: bool = False,
    seed: int = 0,
) -> pd.DataFrame:
    r"""Divide the variance that models explain of an RDM into unique and shared parts.

    Every set of models is fitted to the pairs of the training stimuli by least squares,
    with an offset. :math:`R^2 = 1 - \sum (d - \hat d)^2 / \sum (d - \bar d)^2` is taken on the
    pairs of the test stimuli and averaged over folds; the parts follow from it by
    `commonalities` (Nimon et al. 2008, doi:10.3758/BRM.40.2.457; for RDMs Groen et al.
    2018, doi:10.7554/eLife.32962) and sum up to that of all models.

    Parameters
    ----------
    models : mapping from name to RDM, or to several RDMs
        Two to four models.
    reference : RDM, list or mapping of them, or array
        What is explained, e.g. one RDM a subject; each on its own.
    cv : int, splitter of scikit-learn, list of (train, test), or None
        Folds of stimuli; pairs of a training and a test stimulus are not used. None fits
        and tests on all pairs, for comparison with published figures.
    groups : sequence of length n_stimuli, or mapping from id, optional
        Stimuli of one group are kept together.
    nonnegative : bool
        Whether weights may not fall below zero, as sums of dissimilarities are.
    by_position : bool
        Take what carries no ids to be in the order of what does.
    seed : int
        Of the folds.

    Returns
    -------
    pandas.DataFrame
        One row per reference and set of models: reference, models (joined by `` & ``),
        n_models, part (unique to one, or shared by just these), explained
        (:math:`R^2` of the set), n_stimuli, n_folds, seed. ``attrs`` records folds and joining.

    Raises
    ------
    MismatchError
        If the stimuli differ or cannot be joined by id.
    InvalidArgument
        If there are not two to four models, or too few stimuli; if a reference is constant.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> a, b = rng.random((2, 1225))
    >>> table = partition_rdms({"a": a, "b": b}, a + b, cv=None)
    >>> table["models"].tolist(), round(float(table["part"].sum()), 3)
    (['a', 'b', 'a & b'], 1.0)
    """
    import pandas as pd

    if not isinstance(models, Mapping):
        raise InvalidArgument("models is a mapping from name to RDM, e.g. {'early': a, 'late': b}.")
    sets = subsets([str(name) for name in models])
    banded = {str(name): side(item, str(name)) for name, item in models.items()}
    references = side(reference, "reference")
    ids = joined([*banded.values(), references], by_position)
    bands = {name: _scaled(square_stack(band, ids)) for name, band in banded.items()}
    targets, names = _scaled(square_stack(references, ids)), names_of(references)
    count = targets.shape[1]
    check_count(count, 4 if cv is None else 2 * FEWEST, "A partition")
    everything = np.arange(count)
    described = "None"
    folds = [(everything, everything)]
    if cv is not None:
        laid_out = split(count, cv, cv, groups_of(groups, ids, count), seed, nested=False)
        folds, described = laid_out.outer, laid_out.description
        check_parts(folds, "cv")
    explained = {
        chosen: np.mean(
            [
                _explained(np.concatenate([bands[name] for name in chosen]), targets, fold,
                           nonnegative)
                for fold in folds
            ],
            axis=0,
        )
        for chosen in sets
    }  # fmt: skip
    undefined = [
        name for name, value in zip(names, explained[sets[0]], strict=True) if np.isnan(value)
    ]
    if undefined:
        raise InvalidArgument(
            f"RDMs without variance cannot be explained, and constant in a fold are: "
            f"{listing(undefined)}."
        )
    parts = commonalities(explained)
    rows = [
        {
            "reference": name,
            "models": " & ".join(chosen),
            "n_models": len(chosen),
            "part": float(parts[chosen][which]),
            "explained": float(explained[chosen][which]),
            "n_stimuli": count,
            "n_folds": len(folds),
            "seed": seed,
        }
        for which, name in enumerate(names)
        for chosen in sets
    ]
    table = pd.DataFrame(rows)
    table.attrs |= {"cv": described, "joined_by": "position" if ids is None else "id"}
    return table


def _scaled(squares: NDArray[np.float64]) -> NDArray[np.float64]:
    """Bring each RDM to a largest value of 1, which no share of variance minds."""
    return np.asarray(squares / np.abs(squares).max(axis=(1, 2), keepdims=True))


def _explained(
    squares: NDArray[np.float64], targets: NDArray[np.float64], fold: tuple[Any, Any],
    nonnegative: bool,
) -> NDArray[np.float64]:  # fmt: skip
    """Fit on the training pairs and give the variance explained of the test pairs, (n_targets,)."""
    (given, truth), (shown, wanted) = (
        (pairs_among(squares, rows).T, pairs_among(targets, rows).T) for rows in fold
    )
    mean, level = given.mean(axis=0), truth.mean(axis=0)
    centred, aims = given - mean, truth - level
    if nonnegative:
        scales = np.sqrt(np.square(centred).sum(axis=0))
        scales[scales <= 1e-12 * np.abs(given).max()] = 0
        weights = np.stack(
            [
                nonnegative_weights(centred.T @ centred, centred.T @ aim, scales, 0.0)
                for aim in aims.T
            ],
            axis=1,
        )
    else:
        weights = np.linalg.lstsq(centred, aims, rcond=None)[0]
    error = np.square(wanted - level - (shown - mean) @ weights).sum(axis=0)
    variance = np.square(wanted - wanted.mean(axis=0)).sum(axis=0)
    share = np.full(len(error), np.nan)
    scale = np.square(wanted).sum(axis=0)
    np.divide(error, variance, out=share, where=variance > 1e-12 * scale)
    return np.asarray(1 - share)
