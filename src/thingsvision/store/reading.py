"""Opening a finished store: what its record says must be what is there."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from ..errors import StoreError
from ..features import Features, FeatureSet
from ..provenance import digest_items
from ..text_files import reason_of
from . import records
from .failures import failures

# File, shape and type of an array → the array, opened lazily.
Get = Callable[[str, tuple[int, ...], "np.dtype[Any]"], Any]


def read_store(folder: Any, get: Get) -> FeatureSet:
    """Open the features in a folder lazily.

    Parameters
    ----------
    folder : path
        Where they lie.
    get : callable
        Opens an array of the folder's format.

    Raises
    ------
    StoreError
        If the store is unfinished, or files are missing or damaged.
    """
    meta = records.read_meta(folder)
    refuse_unfinished(folder, meta)
    rows = records.read_stimuli(folder)
    ids = tuple(row["id"] for row in rows)
    if digest_items(ids) != meta.get("ids"):
        raise StoreError(
            f"{records.STIMULI} in {str(folder)!r} was changed: its ids are not those, in "
            "that order, whose features were extracted. Put it back as it was, or delete the "
            "folder and extract the features again."
        )
    failed = failures(ids, records.digests_of(rows))
    has_targets = bool(rows) and all(row["target"] != "" for row in rows)
    targets = np.array([int(row["target"]) for row in rows]) if has_targets else None
    return FeatureSet(
        {
            address: Features(
                _opened(folder, get, entry, len(ids)), ids, address, tuple(entry["axes"]), targets,
                meta["provenance"], failed,
            )
            for address, entry in meta["arrays"].items()
        }
    )  # fmt: skip


def refuse_unfinished(folder: Any, meta: Mapping[str, Any]) -> None:
    """Refuse features that are not complete.

    Raises
    ------
    StoreError
        If the record of a folder says so.
    """
    if meta["status"] != records.FINISHED:
        raise StoreError(
            f"The features in {str(folder)!r} are unfinished. Run the same command "
            "again: it goes on where it stopped."
        )


def spec(entry: Mapping[str, Any]) -> tuple[str, tuple[int, ...], np.dtype[Any]]:
    """Take file, shape and type of an array from its record.

    Raises
    ------
    StoreError
        If one is missing.
    """
    try:
        return entry["file"], tuple(entry["shape"]), np.dtype(entry["dtype"])
    except (KeyError, TypeError) as error:
        raise StoreError(
            f"{records.META} was changed by hand: what it says of an array lacks {error}. Delete "
            "the folder and extract the features again."
        ) from error


def _opened(folder: Any, get: Get, entry: Mapping[str, Any], count: int) -> Any:
    file, shape, dtype = spec(entry)
    try:
        array = get(file, shape, dtype)
    except (OSError, ValueError, EOFError) as error:
        raise StoreError(
            f"The array {file!r} in {str(folder)!r} is missing or damaged: {reason_of(error)}. "
            "Delete the folder and extract the features again."
        ) from error
    if array.shape != shape or array.dtype != dtype or count != shape[0]:
        raise StoreError(
            f"The array {file!r} in {str(folder)!r} has the shape {array.shape} and type "
            f"{array.dtype}, but was written as {shape} and {dtype} for {count} stimuli. "
            "Files were changed: delete the folder and extract the features again."
        )
    return array
