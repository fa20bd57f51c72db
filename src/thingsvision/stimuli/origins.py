"""Where stimuli lay when they were read, and how to find them again."""

from __future__ import annotations

import os
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ..errors import StimulusError
from ..provenance import digest
from .folders import nfc
from .hdf5_images import Hdf5Image
from .loading import load_stimuli
from .stimulus_set import Source, StimulusSet
from .texts import load_texts


def describe_origin(stimuli: StimulusSet) -> dict[str, str]:
    """Say where stimuli lie, for the provenance.

    Parameters
    ----------
    stimuli : StimulusSet
        Images or texts.

    Returns
    -------
    dict of str to str
        ``"kind"`` is files, hdf5, arrays or texts; files have the ``"root"`` that their ids are
        relative to, or, where ids are names of their own, the deepest folder around them.

    Examples
    --------
    >>> describe_origin(StimulusSet(("a cat",), ("a cat",)))
    {'kind': 'texts'}
    """
    first = stimuli.sources[0]
    if isinstance(first, str):
        return {"kind": "texts"}
    if isinstance(first, Hdf5Image):
        return {"kind": "hdf5", "file": str(first.dataset.path.absolute()),
                "dataset": first.dataset.name}  # fmt: skip
    if not isinstance(first, Path):
        return {"kind": "arrays"}
    files = [source.absolute() for source in stimuli.sources if isinstance(source, Path)]
    root = files[0].parents[_depth(stimuli.ids[0], files[0])]
    pairs = zip(stimuli.ids, files, strict=True)
    if not all(nfc(path.as_posix()) == nfc((root / name).as_posix()) for name, path in pairs):
        root = Path(os.path.commonpath([path.parent for path in files]))
    return {"kind": "files", "root": str(root)}


def find_again(
    ids: Sequence[str],
    digests: Sequence[str],
    origin: Mapping[str, str],
    where: StimulusSet | Any = None,
) -> list[Source | None]:
    """Find the stimuli of features again: by id, and those that have no such name by digest.

    Parameters
    ----------
    ids : sequence of str
        Of the features' rows.
    digests : sequence of str
        SHA-256 of what each was read from.
    origin : dict
        From `describe_origin`.
    where : StimulusSet, or what `load_stimuli` or `load_texts` take, optional
        Where they are now, if not where they were.

    Returns
    -------
    list of pathlib.Path, Hdf5Image, array, str or None
        What each can be read from; None for those that are not there.

    Raises
    ------
    StimulusError
        If there is no such folder or file any more, or it was never known.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # on other files in the folder
        pool = _pool(ids, digests, origin, where)
    by_id = dict(zip(pool.ids, pool.sources, strict=True))
    found = [by_id.get(nfc(name)) for name in ids]
    missing = {digests[row] for row, source in enumerate(found) if source is None}
    if missing:
        known = set(ids)
        by_digest = {
            pool.digest(row): source
            for row, source in enumerate(pool.sources)
            if pool.ids[row] not in known
        }
        for row, source in enumerate(found):
            if source is None:
                found[row] = by_digest.get(digests[row])
    return found


def _pool(
    ids: Sequence[str], digests: Sequence[str], origin: Mapping[str, str], where: Any
) -> StimulusSet:
    kind = origin.get("kind")
    if isinstance(where, StimulusSet):
        return where
    if where is not None:
        return load_texts(where) if kind == "texts" else load_stimuli(where)
    if kind == "texts":  # a text that was given no other name is its own id
        own = [name for name, wanted in zip(ids, digests, strict=True)
               if digest(name.encode()) == wanted]  # fmt: skip
        if own:
            return StimulusSet(tuple(own), tuple(own))
        raise StimulusError("the texts have names of their own and are not recorded")
    if kind == "hdf5":
        return load_stimuli(origin["file"], dataset=origin["dataset"])
    if kind == "files":
        root = Path(origin["root"])
        paths = tuple(root / name for name in ids)
        if root.is_dir() and all(path.is_file() for path in paths):
            return StimulusSet(tuple(nfc(name) for name in ids), paths)
        return load_stimuli(root)
    what = "they were arrays" if kind == "arrays" else "where they lay was not recorded"
    raise StimulusError(what)


def _depth(name: str, path: Path) -> int:
    """Count how many folders above a file the root of its id lies."""
    return min(name.count("/"), len(path.parents) - 1)
