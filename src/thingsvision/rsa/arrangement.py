"""The order in which the stimuli of an RDM are shown, and what belongs to each of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ..errors import InvalidArgument, MismatchError, listing
from .rdm import RDM


def per_stimulus(
    values: Sequence[Any] | Mapping[str, Any] | None, rdm: RDM, what: str
) -> Sequence[Any] | None:
    """Bring values, given by id or by position, into the order of an RDM.

    Parameters
    ----------
    values : mapping from id, or sequence of length n_stimuli, optional
        What belongs to each stimulus; a mapping may hold more than is needed.
    rdm : RDM
        Its stimuli.
    what : str
        How messages call the values, in the plural.

    Returns
    -------
    sequence of length n_stimuli, or None for None

    Raises
    ------
    MismatchError
        If a mapping lacks stimuli; they are named.
    InvalidArgument
        If a sequence has another length, or the RDM has no ids to look up.

    Examples
    --------
    >>> import numpy as np
    >>> rdm = RDM(np.array([0.5]), ids=("b.jpg", "a.jpg"))
    >>> per_stimulus({"a.jpg": "animal", "b.jpg": "tool"}, rdm, "groups")
    ['tool', 'animal']
    """
    if isinstance(values, Mapping):
        if rdm.ids is None:
            raise InvalidArgument(f"The {what} are given by id, but {rdm!r} carries no ids.")
        missing = [name for name in rdm.ids if name not in values]
        if missing:
            raise MismatchError(f"The {what} lack {len(missing)} stimuli: {listing(missing)}.")
        return [values[name] for name in rdm.ids]
    if values is not None and len(values) != len(rdm):
        raise InvalidArgument(
            f"{len(values)} {what} were given for {len(rdm)} stimuli. Give one for each, in the "
            "order of the RDM."
        )
    return values


def arranged(
    rdm: RDM,
    order: Sequence[str] | Sequence[int] | None = None,
    groups: Sequence[str] | None = None,
) -> list[int]:
    """Say which row of an RDM stands where.

    Parameters
    ----------
    rdm : RDM
        Its stimuli.
    order : sequence of ids or of row numbers from 0, optional
        Followed exactly; it may leave stimuli out.
    groups : sequence of str, length n_stimuli, optional
        Without `order`, the stimuli of a group are brought together, the groups in the order
        in which they first appear.

    Returns
    -------
    list of int
        Row numbers.

    Raises
    ------
    MismatchError
        If the order has other stimuli than the RDM; they are named.
    InvalidArgument
        If the order names a stimulus twice, or fewer than two.

    Examples
    --------
    >>> import numpy as np
    >>> arranged(RDM(np.array([0.1, 0.8, 0.9])), groups=["animal", "tool", "animal"])
    [0, 2, 1]
    """
    if order is None:
        first: dict[str, int] = {}
        for name in groups or ():
            first.setdefault(name, len(first))
        rank = [first[name] for name in groups] if groups else [0] * len(rdm)
        return sorted(range(len(rdm)), key=rank.__getitem__)
    known = {name: row for row, name in enumerate(rdm.ids or ())}
    rows = [known.get(item, -1) if isinstance(item, str) else int(item) for item in order]
    strange = [item for item, row in zip(order, rows, strict=True) if not 0 <= row < len(rdm)]
    if strange:
        raise MismatchError(
            f"The order names stimuli that {rdm!r} has not: {listing(strange)}. Use its ids, or "
            f"row numbers from 0 to {len(rdm) - 1}."
        )
    if len(set(rows)) < len(rows) or len(rows) < 2:
        raise InvalidArgument("The order has to name two or more stimuli, none of them twice.")
    return rows
