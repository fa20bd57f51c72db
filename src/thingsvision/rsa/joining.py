"""What a comparison is handed, and how its stimuli are joined: by id, or by position if said so."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ..arrays import as_array, is_table
from ..errors import InvalidArgument, MismatchError, counted, listing
from ..features import Features, FeatureSet
from .matrix import check_matrix, check_pairs, condensed, stimuli_of_pairs
from .rdm import RDM

LEAST = 4  # stimuli: of three, with three pairs, rank correlations have four values, ±1/2 and ±1
RDMs = RDM | ArrayLike | Sequence[Any] | Mapping[str, Any]


@dataclass(frozen=True)
class Side:
    """One side of a comparison, or the subjects of a reference."""

    pairs: Sequence[NDArray[Any]] | NDArray[Any]  # a row (n_pairs,) for each RDM
    ids: Sequence[tuple[str, ...] | None]
    names: Sequence[str | int]
    labels: Sequence[str]  # how messages call them
    single: bool
    rdms: Sequence[RDM | None]  # the records, where records were handed over

    @cached_property
    def sizes(self) -> dict[str, int]:
        """The number of stimuli of each."""
        if isinstance(self.pairs, np.ndarray):
            return dict.fromkeys(self.labels, stimuli_of_pairs(self.pairs.shape[1]) or 0)
        lengths = [len(row) for row in self.pairs]
        stimuli = {length: stimuli_of_pairs(length) or 0 for length in set(lengths)}
        return dict(zip(self.labels, [stimuli[length] for length in lengths], strict=True))


def side(data: RDMs, argument: str) -> Side:
    """Make rows of pairs of whatever was handed over as `argument`.

    Raises
    ------
    InvalidArgument
        If something in it is no RDM.
    """
    if isinstance(data, (Features, FeatureSet, str)):
        raise InvalidArgument(
            f"{argument} is {data!r}, which is no RDM. Make one with compute_rdm(features) or "
            "load_rdm(path)."
        )
    if is_table(data) and data.shape[0] == data.shape[1]:  # type: ignore[union-attr]
        data = RDM.from_matrix(data, name=argument)  # type: ignore[arg-type]
        return _side_of([data], [0], [argument], True)
    if isinstance(data, RDM):
        return _side_of([data], [data.name or 0], [_label(data, argument)], True)
    if isinstance(data, Mapping):
        names: Sequence[str | int] = list(data)
        labels = [f"{argument}[{name!r}]" for name in names]
        items: Any = list(data.values())
    else:
        items = _items(data, argument)
        if not isinstance(items, list):
            if items.ndim == 2 and items.shape[0] != items.shape[1]:
                return _rows(items, argument)
            return _side_of([items], [0], [argument], True)
        labels = [f"{argument}[{number}]" for number in range(len(items))]
        names = [getattr(item, "name", "") or number for number, item in enumerate(items)]
        labels = [_label(item, label) for item, label in zip(items, labels, strict=True)]
    if not len(items):
        raise InvalidArgument(f"{argument} holds no RDM; give at least one.")
    return _side_of(items, names, labels, False)


def joined(sides: Sequence[Side], by_position: bool, least: int = LEAST) -> tuple[str, ...] | None:
    """Say by which ids, in which order, all RDMs are joined; None is by position.

    Raises
    ------
    MismatchError
        If they cannot be joined.
    InvalidArgument
        If there are fewer stimuli than `least`.
    """
    sizes = {label: size for one in sides for label, size in one.sizes.items()}
    labelled = [pair for one in sides for pair in zip(one.labels, one.ids, strict=True)]
    named = {label: ids for label, ids in labelled if ids is not None}
    bare = [label for label, ids in labelled if ids is None]
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
    count = next(iter(sizes.values()))
    if count < least:
        raise InvalidArgument(
            f"There are {count} stimuli; {'four' if least == 4 else 'three'} are the least, and "
            f"a dozen where it is to mean something: {count} stimuli have no more than "
            f"{counted(count * (count - 1) // 2, 'pair')}."
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


def laid_out(
    one: Side, ids: tuple[str, ...] | None, constant_too: bool = False
) -> NDArray[np.float64]:
    """Lay the RDMs of one side out as rows in the order of the ids, shape (n_rdms, n_pairs).

    Refuses RDMs without variance, or with `constant_too` those that are all zero.
    """
    if isinstance(one.pairs, np.ndarray):  # rows without ids stay where they are
        rows = one.pairs.astype(np.float64, copy=False)
        dtypes = [one.pairs.dtype]
    else:
        rows = np.empty((len(one.pairs), len(one.pairs[0])))
        dtypes = [values.dtype for values in one.pairs]
        for row, (values, own, rdm) in enumerate(zip(one.pairs, one.ids, one.rdms, strict=True)):
            rows[row] = values
            if rdm is not None and ids is not None and own is not None and own != ids:
                rows[row] = rdm.select(ids).dissimilarities
    largest, least = rows.max(axis=1), rows.min(axis=1)
    scale = np.maximum(largest, -least)
    rounding = scale * [64 * np.finfo(dtype).eps for dtype in dtypes]
    flat = scale == 0 if constant_too else largest - least <= rounding
    named = [label for label, no in zip(one.labels, flat, strict=True) if no]
    if named and constant_too:
        raise InvalidArgument(f"RDMs that are all zero have no angle: {listing(named)}.")
    if named:
        raise InvalidArgument(
            f"RDMs without variance cannot be compared, and constant up to rounding are: "
            f"{listing(named)}."
        )
    return rows


def _side_of(
    items: Sequence[Any], names: Sequence[str | int], labels: Sequence[str], single: bool
) -> Side:
    rdms = [item if isinstance(item, RDM) else None for item in items]
    pairs = [
        _pairs(item, label) if rdm is None else rdm.dissimilarities
        for item, rdm, label in zip(items, rdms, labels, strict=True)
    ]
    ids = [None if rdm is None else rdm.ids for rdm in rdms]
    return Side(pairs, ids, names, labels, single, rdms)


def _items(data: Any, argument: str) -> list[Any] | NDArray[Any]:
    """Split several RDMs into a list; leave one RDM, or rows, as they are."""
    if isinstance(data, (list, tuple)):
        if not len(data) or any(isinstance(item, (RDM, np.ndarray)) for item in data):
            return list(data)
        if any(is_table(item) for item in data):
            return [RDM.from_matrix(item) if is_table(item) else item for item in data]
    array = as_array(data, argument)
    if array.ndim == 0:
        raise InvalidArgument(
            f"{argument} is {_kind(data)}, which is no RDM. Make one with compute_rdm(features) or "
            "load_rdm(path); give several as a list."
        )
    if array.ndim == 3:
        if array.shape[1] != array.shape[2] and array.shape[0] == array.shape[1]:
            raise InvalidArgument(
                f"{argument} has shape {array.shape}; RDMs are stacked along the first axis, "
                f"(n_rdms, n_stimuli, n_stimuli): np.moveaxis({argument}, 2, 0)."
            )
        return list(array)
    if array.ndim == 2 and _lie_in_columns(array):
        raise InvalidArgument(
            f"{argument} has shape {array.shape}, which looks like one RDM a column. RDMs are "
            f"rows, (n_rdms, n_pairs): give {argument}.T; or list({argument}) if there are "
            f"{len(array)} of {stimuli_of_pairs(array.shape[1]) or 'so few'} stimuli each."
        )
    if array.ndim not in (1, 2):
        raise InvalidArgument(
            f"{argument} has shape {array.shape}. RDMs are a square matrix, a row of pairs, rows "
            "(n_rdms, n_pairs) or a stack (n_rdms, n_stimuli, n_stimuli)."
        )
    return array


def _rows(array: NDArray[Any], argument: str) -> Side:
    """Take rows of pairs, shape (n_rdms, n_pairs), as they are, once they are checked."""
    count = len(array)
    labels = [f"{argument}[{number}]" for number in range(count)]
    if not count:
        raise InvalidArgument(f"{argument} holds no RDM; give at least one.")
    if array.dtype.kind != "f" or not array.size or not (array.min() >= 0 and array.max() < np.inf):
        return _side_of(list(array), range(count), labels, False)  # says which, or converts
    _check_length(array.shape[1], labels[0])
    return Side(array, [None] * count, range(count), labels, False, [None] * count)


def _pairs(item: Any, label: str) -> NDArray[Any]:
    """Make a row of pairs of a square matrix or of such a row."""
    if isinstance(item, (Features, FeatureSet, str)):
        raise InvalidArgument(
            f"{label} is {item!r}, which is no RDM; see compute_rdm and load_rdm."
        )
    array = as_array(item, label)
    if array.ndim == 0:
        raise InvalidArgument(f"{label} is {_kind(item)}, which is no RDM.")
    if array.dtype.kind not in "biuf":
        raise InvalidArgument(f"{label} holds {array.dtype}, not real numbers.")
    if array.ndim != 1:
        check_matrix(array, label)
        array = condensed(array)
    else:
        _check_length(len(array), label)
        check_pairs(array, label)
    return array.astype(np.float64) if array.dtype.kind in "biu" else array


def _lie_in_columns(array: NDArray[Any]) -> bool:
    """Tell whether rows are as many as pairs, and more than the columns, which are subjects."""
    n_rows, n_columns = array.shape
    return n_rows > n_columns > 0 and n_rows > 3 and stimuli_of_pairs(n_rows) is not None


def _kind(data: Any) -> str:
    return (
        repr(data) if data is None or isinstance(data, int | float) else f"a {type(data).__name__}"
    )


def _check_length(n_pairs: int, label: str) -> None:
    if stimuli_of_pairs(n_pairs) is None:
        raise InvalidArgument(
            f"{label} has {counted(n_pairs, 'value')}, which is no number of pairs: "
            "n stimuli have n (n - 1) / 2 (3, 6, 10, …). "
            "Give the upper triangle without the diagonal."
        )


def _label(item: Any, label: str) -> str:
    return f"{label} ({item.name})" if isinstance(item, RDM) and item.name else label


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
