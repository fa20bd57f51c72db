"""Choice of the best module of a network, judged on what it was not chosen by."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ..errors import InvalidArgument, listing, unknown
from .bootstrap import RESAMPLE
from .ceiling import check_subjects
from .comparison import COMPARISONS, OF_CONSTANTS
from .draws import check_count, generator
from .joining import RDMs, joined, laid_out, side
from .matrix import condensed, squared

if TYPE_CHECKING:
    import pandas as pd

LEAST = 4  # stimuli in a fold


@dataclass(frozen=True, eq=False)
class ModuleChoice:
    """The module that was chosen, and how good such a choice is.

    Parameters
    ----------
    module : str or int
        The best on all data.
    estimate : float
        Mean over folds of the held-out comparison of the module that the rest of the data
        chose. Unlike the comparison of the best module on all data it is not inflated by the
        choice.
    folds : pandas.DataFrame
        A row a fold: fold, module (chosen), trained (its comparison on the rest), estimate
        (held out), n_stimuli and n_subjects held out.
    comparison : str
        How RDMs were compared.
    over : str
        What was held out.
    seed : int
        Of the folds.
    """

    module: str | int
    estimate: float
    folds: pd.DataFrame
    comparison: str
    over: str
    seed: int


def choose_module(
    module_rdms: RDMs,
    subject_rdms: RDMs,
    comparison: str = "pearson",
    over: str = "both",
    n_folds: int = 5,
    seed: int = 0,
    by_position: bool = False,
) -> ModuleChoice:
    """Choose the module that is most like the subjects, and judge the choice on held-out data.

    In each fold the module is chosen by the mean over the other subjects on the pairs among
    the other stimuli, and judged by the held-out subjects on the pairs among the held-out
    stimuli; with ``"both"`` every fold of stimuli meets every fold of subjects.

    Parameters
    ----------
    module_rdms : mapping from module to RDM, or list of RDM
        As in `compare_rdms`; two or more.
    subject_rdms : list or mapping of RDM, or array
        One RDM a subject.
    comparison : str
        A name in `thingsvision.rsa.COMPARISONS`.
    over : str
        What is held out: ``"stimuli"``, ``"subjects"`` or ``"both"``.
    n_folds : int
        At least 2. Of stimuli, with four or more in each; subjects fall into so many folds
        too, or into one each where they are fewer.
    seed : int
        Of the folds, 0 or more.
    by_position : bool
        As in `compare_rdms`.

    Returns
    -------
    ModuleChoice
        The module chosen on all data, the held-out estimate, and the folds.

    Raises
    ------
    InvalidArgument
        If there is one module only, or too few stimuli or subjects for the folds, or an RDM
        is constant over a fold.
    MismatchError
        If stimuli do not match.
    UnknownName
        If there is no such comparison or factor.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> subjects = rng.random(190) + rng.random((4, 190))
    >>> modules = {"early": rng.random(190), "late": subjects.mean(axis=0)}
    >>> choice = choose_module(modules, subjects)
    >>> choice.module, len(choice.folds)
    ('late', 20)
    """
    import pandas as pd

    compare = COMPARISONS[comparison]
    if over not in RESAMPLE:
        raise unknown("factor to hold out", over, RESAMPLE)
    check_count(n_folds, "n_folds", 2)
    modules, subjects = side(module_rdms, "module_rdms"), side(subject_rdms, "subject_rdms")
    ids = joined([modules, subjects], by_position)
    n_stimuli, n_subjects = next(iter(subjects.sizes.values())), len(subjects.pairs)
    check_subjects(n_subjects, 1 if over == "stimuli" else 2)
    if len(modules.pairs) < 2:
        raise InvalidArgument("One module leaves nothing to choose; give two or more.")
    if over != "subjects" and n_stimuli < LEAST * n_folds:
        raise InvalidArgument(
            f"{n_stimuli} stimuli do not fill {n_folds} folds of {LEAST} or more. Take "
            f"n_folds={n_stimuli // LEAST} at most"
            f"{', or over=' + repr('subjects') if n_stimuli < 2 * LEAST else ''}."
        )
    constant_too = comparison in OF_CONSTANTS
    rows = laid_out(modules, ids, constant_too)
    of_subjects = laid_out(subjects, ids, constant_too)
    rng = generator(seed)
    stimulus_folds = _folds(rng, n_stimuli, 1 if over == "subjects" else n_folds)
    subject_folds = _folds(rng, n_subjects, 1 if over == "stimuli" else min(n_folds, n_subjects))
    squares = np.stack([squared(row) for row in np.concatenate([rows, of_subjects])])
    found: list[dict[str, Any]] = []
    for stimuli in stimulus_folds:
        rest = _without(n_stimuli, stimuli)
        trained_on, tested_on = _among(squares, rest), _among(squares, stimuli)
        flat = (np.ptp(tested_on, axis=1) == 0) | (np.ptp(trained_on, axis=1) == 0)
        if flat.any():
            labels = np.array([*modules.labels, *subjects.labels])
            raise InvalidArgument(
                f"In a fold of {len(stimuli)} stimuli there are RDMs without variance: "
                f"{listing(list(labels[flat]))}. Take fewer folds, or leave these RDMs out."
            )
        for people in subject_folds:
            others = _without(n_subjects, people)
            trained = compare(trained_on[: len(rows)], trained_on[len(rows) + others]).mean(axis=1)
            best = int(trained.argmax())
            tested = compare(tested_on[[best]], tested_on[len(rows) + people]).mean()
            found.append(
                {
                    "fold": len(found),
                    "module": modules.names[best],
                    "trained": float(trained[best]),
                    "estimate": float(tested),
                    "n_stimuli": len(stimuli),
                    "n_subjects": len(people),
                }
            )
    folds = pd.DataFrame(found)
    best = int(compare(rows, of_subjects).mean(axis=1).argmax())
    estimate = float(folds["estimate"].mean())
    return ModuleChoice(modules.names[best], estimate, folds, comparison, over, seed)


def _folds(rng: np.random.Generator, number: int, n_folds: int) -> list[NDArray[Any]]:
    """Split rows at random into folds of nearly equal size."""
    return [np.sort(fold) for fold in np.array_split(rng.permutation(number), n_folds)]


def _without(number: int, fold: NDArray[Any]) -> NDArray[Any]:
    """Take the rows that are not in a fold; all, where the fold is all."""
    rest = np.setdiff1d(np.arange(number), fold)
    return rest if len(rest) else fold


def _among(squares: NDArray[np.float64], rows: NDArray[Any]) -> NDArray[np.float64]:
    """Take the pairs among some stimuli, shape (n_rdms, n_pairs)."""
    return np.stack([condensed(square[np.ix_(rows, rows)]) for square in squares])
