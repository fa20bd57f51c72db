"""Several model RDMs, or features, and the RDMs they are fitted to, stimulus for stimulus."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import InvalidArgument, MismatchError, counted, listing
from .matrix import check_matrix, condensed
from .rdm import RDM


def named_rdms(data: Any, argument: str) -> dict[str, RDM]:
    """Make a mapping of RDMs of whatever was handed over.

    Parameters
    ----------
    data : RDM, square matrix, rows of pairs, stack, or list or mapping of RDMs
        A two-axis array with equal sides is one square matrix.
    argument : str
        How messages call it; names of RDMs without one are numbered.

    Returns
    -------
    dict of str to RDM

    Raises
    ------
    InvalidArgument
        If something is no RDM, or there is none.
    """
    items: dict[str, Any]
    if isinstance(data, Mapping):
        items = {str(name): item for name, item in data.items()}
    elif isinstance(data, RDM):
        items = {data.name or argument: data}
    elif isinstance(data, list | tuple) and any(isinstance(x, RDM | np.ndarray) for x in data):
        items = {}
        for number, item in enumerate(data):
            name = item.name if isinstance(item, RDM) else ""
            items[name if name and name not in items else f"{argument}[{number}]"] = item
    else:
        array = np.asarray(data)
        several = array.ndim == 3 or (array.ndim == 2 and array.shape[0] != array.shape[1])
        items = (
            {f"{argument}[{number}]": item for number, item in enumerate(array)}
            if several
            else {argument: array}
        )
    if not items:
        raise InvalidArgument(f"{argument} holds no RDM; give at least one.")
    return {name: _rdm(item, f"{argument} ({name})") for name, item in items.items()}


def aligned(
    named_ids: Mapping[str, tuple[str, ...] | None], sizes: Mapping[str, int], by_position: bool
) -> tuple[str, ...] | None:
    """Say by which ids, in which order, all are joined; None is by position.

    Parameters
    ----------
    named_ids : dict of str to tuple of str or None
        Ids of each record.
    sizes : dict of str to int
        Numbers of stimuli.
    by_position : bool
        Whether what has no ids may be joined with what has.

    Returns
    -------
    tuple of str or None

    Raises
    ------
    MismatchError
        If they cannot be joined.
    """
    with_ids = {name: ids for name, ids in named_ids.items() if ids is not None}
    bare = [name for name in named_ids if name not in with_ids]
    first = next(iter(with_ids), None)
    for name, ids in with_ids.items():
        if first is None or set(ids) == set(with_ids[first]):
            continue
        lost = [item for item in with_ids[first] if item not in set(ids)]
        more = [item for item in ids if item not in set(with_ids[first])]
        told = f"missing from {name}: {listing(lost)}. " if lost else ""
        told += f"missing from {first}: {listing(more)}. " if more else ""
        raise MismatchError(
            f"{first} and {name} have different stimuli; {told}Take a common subset with "
            "select(ids) if that is meant."
        )
    if len(set(sizes.values())) > 1:
        told = listing([f"{name} has {size}" for name, size in sizes.items()])
        raise MismatchError(f"Different numbers of stimuli cannot be joined: {told}.")
    if first is None:
        return None
    if bare and not by_position:
        raise MismatchError(
            f"{listing(list(with_ids))} names its stimuli and {listing(bare)} does not, so they "
            "cannot be joined by id. Name them, or say by_position=True if both are surely in the "
            "same order."
        )
    if bare and len(set(with_ids.values())) > 1:
        raise MismatchError(
            f"by_position=True says nothing about {listing(bare)}: what carries ids stands in "
            "different orders. Bring it into one with select(ids)."
        )
    return None if bare else with_ids[first]


def pair_rows(rdms: Mapping[str, RDM], ids: Sequence[str] | None) -> NDArray[np.float64]:
    """Lay RDMs out as square matrices in the order of the ids, shape (n_rdms, n, n)."""
    found = [
        rdm if ids is None or rdm.ids is None or rdm.ids == tuple(ids) else rdm.select(ids)
        for rdm in rdms.values()
    ]
    return np.stack([rdm.square().astype(np.float64, copy=False) for rdm in found])


def _rdm(item: Any, label: str) -> RDM:
    if isinstance(item, RDM):
        return item
    array = np.asarray(item)
    if array.dtype.kind not in "biuf" or array.ndim not in (1, 2):
        raise InvalidArgument(
            f"{label} is no RDM: it holds {array.dtype} of shape {array.shape}. Make one with "
            "compute_rdm(features) or load_rdm(path)."
        )
    if array.ndim == 2:
        check_matrix(array, label, negative=True)
        array = condensed(array)
    return RDM(array)


def check_count(n_stimuli: int, least: int, what: str) -> None:
    """Refuse fewer stimuli than an analysis takes."""
    if n_stimuli < least:
        raise InvalidArgument(
            f"{what} of {counted(n_stimuli, 'stimulus')} would mean nothing; it takes at least "
            f"{least}."
        )
