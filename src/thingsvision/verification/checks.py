"""What verification sees in the arrays: numbers that are odd, or not what was written."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import counted, listing
from ..features import FeatureSet
from ..store.base import SUMS
from ..store.sums import checksum

# Bytes that are looked at in one go.
BLOCK = 2**26

OK, WRONG, UNCHECKED = "ok", "wrong", "not checked"


@dataclass(frozen=True)
class Check:
    """One thing that was looked at.

    Parameters
    ----------
    what : str
        Its name.
    result : {"ok", "wrong", "not checked"}
        What was found.
    says : str
        The same in words.
    """

    what: str
    result: str
    says: str


def check_numbers(
    meta: Mapping[str, Any], features: FeatureSet, rows: list[dict[str, str]]
) -> tuple[NDArray[np.int64], Check, dict[str, list[int]]]:
    """Look at every number once.

    Parameters
    ----------
    meta : dict
        The record of the features.
    features : FeatureSet
        The features.
    rows : list of dict
        Of ``stimuli.csv``.

    Returns
    -------
    suspicious : array of int
        Rows that hold NaN, infinity or only zeros, but for images that failed.
    check : Check
        The same in words.
    damaged : dict of str to list of int
        Module address → first row of each batch that is not what was written.
    """
    batch = max(1, int(meta["request"].get("batch_size", 1)))
    sums = [word.split(",") for word in meta.get(SUMS, [])]
    damaged: dict[str, list[int]] = {}
    failed = np.array([row.get("status", OK) != OK for row in rows])
    odd, empty = np.zeros(len(rows), bool), np.zeros(len(rows), bool)
    for place, (module, item) in enumerate(features.items()):
        for start, block in _blocks(item.array, batch):
            for first in range(0, len(block), batch):
                known = sums[(start + first) // batch] if sums else [""]
                if known != [""] and known[place] != checksum(block[first : first + batch]):
                    damaged.setdefault(module, []).append(start + first)
            flat = block.reshape(len(block), -1)
            part = slice(start, start + len(block))
            if flat.dtype.kind in "fc":
                odd[part] |= ~np.isfinite(flat).all(axis=1)
            empty[part] |= ~flat.any(axis=1) & (flat.shape[1] > 1)
    odd &= ~failed
    empty &= ~failed & ~odd
    suspicious = np.flatnonzero(odd | empty)
    words = []
    if failed.any():
        ids = [rows[row]["id"] for row in np.flatnonzero(failed)]
        verb = "has" if len(ids) == 1 else "have"
        words.append(
            f"{counted(len(ids), 'image')} could not be decoded and {verb} no features: "
            f"{listing(ids, 5)}"
        )
    if odd.any():
        ids = [rows[row]["id"] for row in np.flatnonzero(odd)]
        words.append(f"NaN or infinity in {counted(len(ids), 'row')}: {listing(ids, 5)}")
    if empty.any():
        words.append(f"{counted(int(empty.sum()), 'row')} of zeros in some module")
    return suspicious, Check("numbers", OK, "; ".join(words) or "all finite"), damaged


def check_sums(
    meta: Mapping[str, Any], rows: list[dict[str, str]], damaged: Mapping[str, list[int]]
) -> Check:
    """Say which batches are not what was written."""
    sums = meta.get(SUMS, [])
    if damaged:
        batch = int(meta["request"]["batch_size"])
        where = [
            f"{module} ({listing([f'{s} to {min(s + batch, len(rows)) - 1}' for s in starts], 3)})"
            for module, starts in damaged.items()
        ]
        return Check(
            "checksums", WRONG, f"the files were changed since they were written, in rows of "
            f"{listing(where, 5)}. Extract the features again."
        )  # fmt: skip
    if not sums or not all(sums):
        return Check("checksums", UNCHECKED, "none were recorded when the features were written")
    return Check("checksums", OK, "every number is what was written")


def _blocks(array: Any, batch: int) -> Iterator[tuple[int, NDArray[Any]]]:
    """Give the rows in whole batches, some at once."""
    size = int(np.prod(array.shape[1:], dtype=np.int64)) * array.dtype.itemsize
    step = batch * max(1, BLOCK // max(1, size * batch))
    for start in range(0, len(array), step):
        yield start, np.asarray(array[start : start + step])
