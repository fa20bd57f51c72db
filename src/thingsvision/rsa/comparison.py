"""Comparisons: how alike RDMs are.

A comparison is a function from the pairs of some RDMs, ``(n_a, n_pairs)``, and
of others, ``(n_b, n_pairs)``, to their likeness, ``(n_a, n_b)``, and a row of
`COMPARISONS`. Another package adds one through the entry-point group
``thingsvision.comparisons``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Float
from numpy.typing import ArrayLike, NDArray

from ..errors import InvalidArgument, MismatchError, counted, listing
from ..features import Features, FeatureSet
from ..registry import Registry
from .matrix import check_matrix, condensed, stimuli_of_pairs
from .rdm import RDM

if TYPE_CHECKING:
    import pandas as pd

COMPARISONS = Registry(
    "comparison",
    {name: f"thingsvision.rsa.comparison:{name}" for name in ("pearson", "spearman")},
    group="thingsvision.comparisons",
)

RDMs = RDM | ArrayLike | Sequence[Any] | Mapping[str, Any]


def pearson(
    a: Float[np.ndarray, "n_a n_pairs"], b: Float[np.ndarray, "n_b n_pairs"]
) -> Float[np.ndarray, "n_a n_b"]:
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
    return np.clip(_standardised(a) @ _standardised(b).T, -1, 1)


def spearman(
    a: Float[np.ndarray, "n_a n_pairs"], b: Float[np.ndarray, "n_b n_pairs"]
) -> Float[np.ndarray, "n_a n_b"]:
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
    ranks_a = np.stack([average_ranks(row) for row in a])
    return pearson(ranks_a, np.stack([average_ranks(row) for row in b]))


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
        A name in `thingsvision.rsa.COMPARISONS`: ``"pearson"``, ``"spearman"``.
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
        If something is no RDM, is constant, or has fewer than three stimuli.

    Examples
    --------
    >>> model = RDM(np.array([0.1, 0.8, 0.9]), ids=("cat.jpg", "dog.jpg", "cup.jpg"))
    >>> human = RDM(np.array([0.7, 0.8, 0.2]), ids=("cup.jpg", "dog.jpg", "cat.jpg"))
    >>> round(compare_rdms(model, human, comparison="spearman"), 3)
    0.5
    """
    compare = COMPARISONS[comparison]
    side_a, side_b = _side(a, "a"), _side(b, "b")
    joined = _joined(side_a, side_b, by_position)
    values = compare(_pairs(side_a, joined), _pairs(side_b, joined))
    if side_a.single and side_b.single:
        return float(values[0, 0])
    import pandas as pd

    table: pd.DataFrame = pd.DataFrame(values, index=list(side_a.names), columns=list(side_b.names))
    table.attrs |= {"comparison": comparison, "joined_by": "position" if joined is None else "id"}
    return table


def average_ranks(values: NDArray[Any]) -> NDArray[np.float64]:
    """Rank numbers from 1 on, equal ones sharing their mean rank, shape (n,) to (n,).

    Examples
    --------
    >>> average_ranks(np.array([0.3, 0.1, 0.3]))
    array([2.5, 1. , 2.5])
    """
    order = np.argsort(values, kind="stable")
    ordered = values[order]
    first = np.flatnonzero(np.concatenate(([True], ordered[1:] != ordered[:-1])))
    after = np.append(first[1:], len(values))
    ranks = np.empty(len(values))
    ranks[order] = np.repeat((first + after + 1) / 2, after - first)
    return ranks


def _standardised(rows: NDArray[np.float64]) -> NDArray[np.float64]:
    """Bring rows to mean zero and length one."""
    centred: NDArray[np.float64] = rows - rows.mean(axis=1, keepdims=True)
    centred /= np.abs(centred).max(axis=1, keepdims=True)  # so that squares cannot overflow
    centred /= np.sqrt(np.square(centred).sum(axis=1, keepdims=True))
    return centred


@dataclass(frozen=True)
class _Side:
    """One side of a comparison."""

    rdms: Sequence[RDM]
    names: Sequence[str | int]
    labels: Sequence[str]  # how messages call them
    single: bool


def _side(data: RDMs, argument: str) -> _Side:
    """Make a list of RDMs of whatever was handed over."""
    if isinstance(data, (Features, FeatureSet, str)):
        raise InvalidArgument(
            f"{argument} is {data!r}, which is no RDM. Make one with compute_rdm(features) or "
            "load_rdm(path)."
        )
    if isinstance(data, RDM):
        return _Side([data], [data.name or 0], [_label(data, argument)], True)
    names: Sequence[str | int]
    if isinstance(data, Mapping):
        names = list(data)
        labels = [f"{argument}[{name!r}]" for name in names]
        rdms = [_rdm(item, label) for item, label in zip(data.values(), labels, strict=True)]
    else:
        items = _items(data, argument)
        if not isinstance(items, list):
            return _Side([_rdm(items, argument)], [0], [argument], True)
        rdms = [_rdm(item, f"{argument}[{number}]") for number, item in enumerate(items)]
        names = [rdm.name or number for number, rdm in enumerate(rdms)]
        labels = [_label(rdm, f"{argument}[{number}]") for number, rdm in enumerate(rdms)]
    if not rdms:
        raise InvalidArgument(f"{argument} holds no RDM; give at least one.")
    return _Side(rdms, names, labels, False)


def _items(data: Any, argument: str) -> list[Any] | NDArray[Any]:
    """Split several RDMs into a list; leave one as it is."""
    if isinstance(data, (list, tuple)) and any(
        isinstance(item, (RDM, np.ndarray)) for item in data
    ):
        return list(data)
    array = np.asarray(data)
    if array.ndim == 3 or (array.ndim == 2 and array.shape[0] != array.shape[1]):
        return list(array)
    if array.ndim not in (1, 2):
        raise InvalidArgument(
            f"{argument} has shape {array.shape}. RDMs are a square matrix, a row of pairs, rows "
            "(n_rdms, n_pairs) or a stack (n_rdms, n_stimuli, n_stimuli)."
        )
    return array


def _rdm(item: Any, label: str) -> RDM:
    """Make one RDM of a record, a square matrix or a row of pairs."""
    if isinstance(item, RDM):
        return item
    if isinstance(item, (Features, FeatureSet, str)):
        raise InvalidArgument(
            f"{label} is {item!r}, which is no RDM; see compute_rdm and load_rdm."
        )
    array = np.asarray(item)
    if array.dtype.kind not in "biuf":
        raise InvalidArgument(f"{label} holds {array.dtype}, not real numbers.")
    if array.ndim != 1:
        check_matrix(array, label, negative=True)
        array = condensed(array)
    elif stimuli_of_pairs(len(array)) is None:
        raise InvalidArgument(
            f"{label} has {counted(len(array), 'value')}, which is no number of pairs: "
            "n stimuli have n (n - 1) / 2 (3, 6, 10, …). "
            "Give the upper triangle without the diagonal."
        )
    return RDM(array, name="")


def _label(rdm: RDM, label: str) -> str:
    return f"{label} ({rdm.name})" if rdm.name else label


def _joined(a: _Side, b: _Side, by_position: bool) -> tuple[str, ...] | None:
    """Say by which ids, in which order, all RDMs are joined; None is by position.

    Raises
    ------
    MismatchError
        If they cannot be joined.
    """
    rdms, labels = [*a.rdms, *b.rdms], [*a.labels, *b.labels]
    sizes = dict(zip(labels, map(len, rdms), strict=True))
    named = {label: rdm.ids for label, rdm in zip(labels, rdms, strict=True) if rdm.ids is not None}
    bare = [label for label in labels if label not in named]
    ids = next(iter(named.values()), None)
    if ids is not None:
        first = next(iter(named))
        for label, others in named.items():
            _refuse_other_ids(first, ids, label, others)
    if len(set(sizes.values())) > 1:
        told = [f"{label} has {size}" for label, size in sizes.items()]
        raise MismatchError(
            f"RDMs of different numbers of stimuli cannot be compared: {listing(told)}. "
            "Bring them to the same stimuli, e.g. with rdm.select(ids)."
        )
    if len(rdms[0]) < 3:
        raise InvalidArgument(
            f"RDMs of {len(rdms[0])} stimuli have too few pairs to compare; three stimuli are the "
            "least, and a dozen where it is to mean something."
        )
    if ids is not None and bare:
        if not by_position:
            raise MismatchError(
                f"{listing(list(named))} names its stimuli and {listing(bare)} does not, so they "
                "cannot be joined by id. Name them, with load_rdm(path, ids=…) or "
                "RDM.from_matrix(matrix, ids=…), or say by_position=True if both are surely in "
                "the same order."
            )
        if any(others != ids for others in named.values()):
            raise MismatchError(
                f"by_position=True says nothing about {listing(bare)}: the RDMs with ids stand in "
                f"different orders ({listing(list(named))}). Bring them into one with "
                "rdm.select(ids)."
            )
        return None
    return ids


def _refuse_other_ids(
    first: str, ids: tuple[str, ...], second: str, others: tuple[str, ...]
) -> None:
    """Refuse RDMs that do not have the same stimuli, naming those that the other has not."""
    if ids == others:
        return
    here, there = set(ids), set(others)
    absent = {
        second: [name for name in ids if name not in there],
        first: [name for name in others if name not in here],
    }
    if not any(absent.values()):
        return
    told = [
        f"{len(names)} of {counted(len(names) + len(here & there), 'id')} are missing from "
        f"{label}: "
        f"{listing(names)}"
        for label, names in absent.items()
        if names
    ]
    raise MismatchError(
        f"{first} and {second} have different stimuli. {'. '.join(told)}. They share "
        f"{len(here & there)}; take a common subset with rdm.select(ids) if that is meant."
    )


def _pairs(side: _Side, ids: tuple[str, ...] | None) -> NDArray[np.float64]:
    """Lay the RDMs of one side out as rows in the order of the ids, refusing constant ones."""
    rows = np.empty((len(side.rdms), len(side.rdms[0].dissimilarities)))
    constant = []
    for row, (rdm, label) in enumerate(zip(side.rdms, side.labels, strict=True)):
        if ids is not None and rdm.ids is not None and rdm.ids != ids:
            rdm = rdm.select(ids)
        rows[row] = rdm.dissimilarities
        rounding = 64 * np.finfo(rdm.dissimilarities.dtype).eps * np.abs(rows[row]).max()
        if np.ptp(rows[row]) <= rounding:
            constant.append(label)
    if constant:
        raise InvalidArgument(
            f"RDMs without variance cannot be compared, and constant up to rounding are: "
            f"{listing(constant)}."
        )
    return rows
