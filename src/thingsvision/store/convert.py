"""From one format to another, a few rows at a time."""

from __future__ import annotations

import os
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import ImageError, InvalidArgument
from ..features import FeatureSet
from . import make_store, open_features, records
from .failures import Failure
from .lock import hold
from .remote import location

# Bytes of rows that are held at once.
BLOCK = 2**26


@dataclass(frozen=True, eq=False)
class _Recorded:
    """What a store's ``stimuli.csv`` says of its stimuli; their images are not needed."""

    ids: tuple[str, ...]
    targets: NDArray[np.int64] | None
    classes: tuple[str, ...]
    digests: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.ids)

    def digest(self, row: int) -> str:
        return self.digests[row]

    def read(self, row: int) -> None:
        if isinstance(self.digests[row], Failure):
            raise ImageError(self.digests[row])


def convert_features(
    folder: str | os.PathLike[str], out: str | os.PathLike[str], format: str
) -> FeatureSet:
    """Write the features of a folder in another format.

    The new folder has the ids, targets, axes and provenance of the old one, which stays as it is.
    A conversion that was interrupted goes on where it stopped.

    Parameters
    ----------
    folder : path or URL
        What `extract_features` wrote.
    out : path or URL
        Folder to write to; made if it is missing.
    format : str
        A name in `STORES`, e.g. ``"mat"``.

    Returns
    -------
    FeatureSet
        The features in `out`.

    Raises
    ------
    StoreError
        If `folder` holds no finished features, or `out` other ones.
    InvalidArgument
        If both are the same folder.
    UnknownName
        If there is no such format.

    Examples
    --------
    >>> import tempfile
    >>> from thingsvision.extraction import extract_features
    >>> from thingsvision.testing import toy_network
    >>> images, folder = np.zeros((2, 8, 6, 3), np.uint8), tempfile.mkdtemp()
    >>> _ = extract_features(toy_network(), images, "fc", out=f"{folder}/npy")
    >>> convert_features(f"{folder}/npy", f"{folder}/hdf5", "hdf5")
    FeatureSet(2 stimuli; fc: 2 × 5)
    """
    source, target = location(folder), location(out)
    if source.resolve() == target.resolve():
        raise InvalidArgument(f"The features in {str(source)!r} cannot be written over themselves.")
    store = make_store(target, format)
    features = open_features(source)
    meta = records.read_meta(source)
    stimuli = _recorded(records.read_stimuli(source))
    provenance = {**meta["provenance"], "converted": {"from": meta["format"]}}
    with hold(target), closing(store):
        if not store.begin(meta["request"], provenance, stimuli):  # type: ignore[arg-type]
            batch = int(meta["request"].get("batch_size", 1))
            step = _step(features, batch)
            axes = {name: item.axes for name, item in features.items()}
            for start in range(0, len(stimuli), step):
                missing = [k for k in range(start, start + step, batch)
                           if k < len(stimuli) and not store.has(k)]  # fmt: skip
                if not missing:
                    continue
                block = {name: item[start : start + step] for name, item in features.items()}
                for first in missing:
                    rows = slice(first - start, first - start + batch)
                    arrays = {name: array[rows] for name, array in block.items()}
                    store.write(first, arrays, axes, stimuli.digests[first : first + batch])
            store.finish()
        return store.read()


def _recorded(rows: Sequence[dict[str, Any]]) -> _Recorded:
    targets = [row["target"] for row in rows]
    known = None if "" in targets else np.array(targets, dtype=np.int64)
    names = {int(row["target"]): row["class"] for row in rows if row["target"] != ""}
    classes = tuple(names.get(index, "") for index in range(max(names, default=-1) + 1))
    return _Recorded(
        tuple(row["id"] for row in rows), known, classes if any(classes) else (),
        tuple(records.digests_of(rows)),
    )  # fmt: skip


def _step(features: FeatureSet, batch_size: int) -> int:
    """Count the rows to hold at once: whole batches, on whose grid a store may lie."""
    row = sum(item.array.nbytes // max(1, len(item)) for item in features.values())
    return batch_size * max(1, BLOCK // max(1, row * batch_size))
