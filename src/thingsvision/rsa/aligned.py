"""Several RDMs, or features, brought stimulus for stimulus before one is fitted to another."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from ..errors import InvalidArgument
from .joining import Side, laid_out
from .matrix import squared


def names_of(one: Side) -> list[str]:
    """Name the RDMs of a side: by their own names, where these tell them apart."""
    names = [name if isinstance(name, str) else "" for name in one.names]
    apart = len(set(names)) == len(names) and all(names)
    return names if apart else list(one.labels)


def square_stack(one: Side, ids: tuple[str, ...] | None) -> NDArray[np.float64]:
    """Lay the RDMs of a side out in the order of the ids, shape (n_rdms, n_stimuli, n_stimuli).

    Refuses RDMs without variance.
    """
    return np.stack([squared(row) for row in laid_out(one, ids)])


def features_side(n_stimuli: int, ids: tuple[str, ...] | None) -> Side:
    """Let features take part in joining: a side of which only ids and size count."""
    pairs = np.empty(n_stimuli * (n_stimuli - 1) // 2)
    return Side([pairs], [ids], [0], ["the features"], True, [None])


def order_of(ids: Sequence[str], own: Sequence[str]) -> list[int]:
    """Say which row of one order stands where in another."""
    rows = {name: row for row, name in enumerate(own)}
    return [rows[name] for name in ids]


def check_count(n_stimuli: int, least: int, what: str) -> None:
    """Refuse fewer stimuli than an analysis takes."""
    if n_stimuli < least:
        raise InvalidArgument(
            f"{what} of {n_stimuli} stimuli would mean nothing; it takes at least {least}."
        )
