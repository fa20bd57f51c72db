"""Folds: which stimuli a model is fitted on, and which it is tested on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .errors import InvalidArgument, MismatchError, counted, listing

Rows = NDArray[np.intp]
Folds = list[tuple[Rows, Rows]]


@dataclass(frozen=True)
class Splitting:
    """Outer folds, and the inner folds of each, as positions among its training rows."""

    outer: Folds
    inner: list[Folds]
    description: str
    inner_description: str


def split(
    n_stimuli: int,
    cv: Any,
    inner_cv: Any,
    groups: Sequence[Any] | None,
    seed: int,
    nested: bool = True,
) -> Splitting:
    """Lay out the folds of a nested cross-validation.

    Parameters
    ----------
    n_stimuli : int
        Number of rows.
    cv, inner_cv : int, splitter of scikit-learn, or list of (train, test)
        A number is of shuffled folds with this seed; of groups, if there are any.
    groups : sequence of length n_stimuli, optional
        Stimuli of one group are never in both parts of a fold.
    seed : int
        Of numbers of folds.
    nested : bool
        Whether inner folds are needed.

    Returns
    -------
    Splitting

    Raises
    ------
    InvalidArgument
        If folds cannot be made, have empty parts, overlap, or would not be the same again.

    Examples
    --------
    >>> folds = split(6, 3, 2, None, seed=0)
    >>> len(folds.outer), len(folds.inner[0]), folds.description
    (3, 2, 'KFold(n_splits=3, random_state=0, shuffle=True)')
    """
    labels = None if groups is None else np.asarray(groups)
    outer_cv, inner = (
        _splitter(cv, "cv", seed, labels),
        _splitter(inner_cv, "inner_cv", seed, labels),
    )
    outer = _folds(outer_cv, np.arange(n_stimuli), labels, "cv")
    return Splitting(
        outer,
        [_folds(inner, train, labels, "inner_cv") for train, _ in outer] if nested else [],
        str(outer_cv),
        str(inner),
    )


def groups_of(
    groups: Sequence[Any] | Mapping[str, Any] | ArrayLike | None,
    ids: Sequence[str] | None,
    n_stimuli: int,
) -> Sequence[Any] | None:
    """Bring groups, given by id or by position, into the order of the rows.

    Raises
    ------
    MismatchError
        If a mapping lacks stimuli; they are named.
    InvalidArgument
        If a sequence has another length, or there are no ids to look up.
    """
    if groups is None:
        return None
    if isinstance(groups, Mapping):
        if ids is None:
            raise InvalidArgument("The groups are given by id, but the stimuli carry no ids.")
        missing = [name for name in ids if name not in groups]
        if missing:
            raise MismatchError(f"The groups lack {len(missing)} stimuli: {listing(missing)}.")
        return [groups[name] for name in ids]
    found = np.asarray(groups)
    if found.shape != (n_stimuli,):
        raise InvalidArgument(
            f"{len(found)} groups were given for {counted(n_stimuli, 'row')}. Give one for each."
        )
    return list(found)


def _splitter(cv: Any, name: str, seed: int, groups: Any) -> Any:
    """Make a splitter of what was given, once it is sure to give the same folds again."""
    from sklearn.model_selection import GroupKFold, KFold, check_cv

    if isinstance(cv, (int, np.integer)) and not isinstance(cv, bool):
        if cv < 2:
            raise InvalidArgument(
                f"{name}={cv}: two folds are the least. For one split into training and test, give "
                f"{name}=ShuffleSplit(1, test_size=0.2, random_state=0)."
            )
        if groups is None:
            return KFold(int(cv), shuffle=True, random_state=seed)
        return GroupKFold(int(cv))
    if isinstance(cv, str) or not hasattr(cv, "split"):
        try:
            return check_cv([(train, test) for train, test in cv])
        except (TypeError, ValueError) as error:
            raise InvalidArgument(
                f"{name}={cv!r} is no number of folds, splitter of scikit-learn, or list of "
                "(train, test)."
            ) from error
    random = getattr(cv, "shuffle", hasattr(cv, "random_state"))
    if random and not isinstance(getattr(cv, "random_state", None), (int, np.integer)):
        raise InvalidArgument(
            f"{name}={cv} would give other folds each time. Give it a seed: random_state=0."
        )
    return cv


def _folds(cv: Any, rows: Rows, groups: Any, name: str) -> Folds:
    """List the folds of some rows, as positions among them."""
    chosen = None if groups is None else groups[rows]
    try:
        folds = [
            (np.asarray(train), np.asarray(test))
            for train, test in cv.split(np.zeros((len(rows), 1)), None, chosen)
        ]
    except (ValueError, TypeError) as error:
        raise InvalidArgument(
            f"{name}={cv} cannot split {counted(len(rows), 'row')}: {error}"
        ) from error
    folds = [tuple(np.flatnonzero(p) if p.dtype == bool else p for p in fold) for fold in folds]  # type: ignore[misc]
    for number, (train, test) in enumerate(folds):
        both = np.intersect1d(train, test)
        if len(train) < 2 or not len(test) or len(both):
            what = (
                f"{len(both)} rows in both parts"
                if len(both)
                else (f"{counted(len(train), 'training row')} and {counted(len(test), 'test row')}")
            )
            raise InvalidArgument(
                f"Fold {number} of {name} has {what}. A fold needs two training rows and one test "
                "row, none of them in both."
            )
        if max(train.max(), test.max()) >= len(rows):
            raise InvalidArgument(f"Fold {number} of {name} goes beyond {len(rows)} rows.")
    if not folds:
        raise InvalidArgument(f"{name} gives no fold.")
    return folds
