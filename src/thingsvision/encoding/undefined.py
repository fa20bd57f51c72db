"""What is said of scores that mean nothing: which targets have none, which modules predict none."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import ThingsvisionWarning, counted, listing
from .runs import Run

Bools = NDArray[np.bool_]


def warn_of_undefined(
    scores: NDArray[np.float64],
    runs: Sequence[Run],
    target_names: Sequence[str] | None,
    average: str,
    stacklevel: int = 4,
) -> None:
    """Warn of targets without a score, by name, those that are not finite and those constant.

    Parameters
    ----------
    scores : array, shape (n_models, n_targets)
        Pearson correlations.
    runs : sequence of Run
        One per model.
    target_names : sequence of str, optional
        Numbers from 0 stand for them otherwise.
    average : {"folds", "pooled"}
        How scores were taken together.
    stacklevel : int
        Of the warning.
    """
    lost = np.asarray(np.isnan(scores).any(axis=0))
    if not lost.any():
        return
    broken: Bools = np.any(
        [~np.isfinite(one.yy + one.pp) for run in runs for one in run.sums], axis=0
    )
    told = []
    for which, why in (
        (lost & broken, "hold NaN or infinity"),
        (lost & ~broken, "are constant over the test stimuli"
         + (" of a fold" if average == "folds" else "")),
    ):  # fmt: skip
        if which.any():
            told.append(f"{listing(_names(which, target_names))} {why}")
    hint = (
        ' With average="pooled" only those constant over all have none.'
        if average == "folds" and (lost & ~broken).any()
        else ""
    )
    warnings.warn(
        f"{lost.sum()} of {counted(len(lost), 'target')} have no score: {'; '.join(told)}.{hint}",
        ThingsvisionWarning,
        stacklevel=stacklevel,
    )


def warn_of_constant(
    features: Mapping[str, NDArray[Any]],
    modules: Sequence[str],
    runs: Sequence[Run],
    target_names: Sequence[str] | None,
    stacklevel: int = 4,
) -> None:
    """Warn of features and of predictions that are constant, whose correlation counts as 0.

    Parameters
    ----------
    features : dict of str to array, shape (n_stimuli, n_features)
        By module.
    modules : sequence of str
        Names of the models, one per run.
    runs : sequence of Run
        One per model.
    target_names : sequence of str, optional
        Numbers from 0 stand for them otherwise.
    stacklevel : int
        Of the warning.
    """
    flat = [name for name, array in features.items() if _is_constant(array)]
    if flat:
        of = f" of {listing([repr(name) for name in flat])}" if any(flat) else ""
        warnings.warn(
            f"The features{of} are the same for all stimuli, so they predict nothing but the mean "
            "of the training responses. Its correlation with those held out says nothing: it is "
            "set to 0 in a fold, and is negative for folds pooled.",
            ThingsvisionWarning,
            stacklevel=stacklevel,
        )
    told = []
    for module, run in zip(modules, runs, strict=True):
        constant = _constant_predictions(run)
        if constant.any() and module not in flat:
            of = f" of {module!r}" if module else ""
            told.append(f"{listing(_names(constant, target_names))}{of}")
    if told:
        warnings.warn(
            "Predictions are constant up to rounding over the test stimuli of a fold, which counts "
            f"there as a correlation of 0, for the targets {'; '.join(told)}. Either the features "
            "do not vary over these stimuli, or the largest penalty was best, which is to say that "
            "nothing can be predicted.",
            ThingsvisionWarning,
            stacklevel=stacklevel,
        )


def _constant_predictions(run: Run) -> Bools:
    """Say for which targets predictions are constant in a fold where responses vary."""
    folds = [one.varying() for one in run.sums if one.count > 1]
    of_targets = [measured & ~predicted for measured, predicted in folds]
    result: Bools = np.any(of_targets, axis=0) if of_targets else np.zeros(len(run.sums[0].y), bool)
    return result


def _is_constant(array: NDArray[Any]) -> bool:
    """Tell whether all rows are the same; most often the first two say that they are not."""
    return bool((array[1:2] == array[:1]).all() and (array == array[:1]).all())


def _names(which: Bools, target_names: Sequence[str] | None) -> list[Any]:
    numbers: list[int] = np.flatnonzero(which).tolist()
    return [number if target_names is None else target_names[number] for number in numbers]
