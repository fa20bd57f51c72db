"""How far the features in a folder are, without claiming it."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

from ..provenance import plain
from ..stimuli import StimulusSet
from . import records
from .claims import refuse_foreign, refuse_other
from .remote import is_remote, location


def count_done(
    folder: str | os.PathLike[str], format: str, request: Mapping[str, Any], stimuli: StimulusSet
) -> int:
    """Count the stimuli whose features a folder has already; it stays as it is.

    Parameters
    ----------
    folder : path or URL
        Where they would be written.
    format : str
        The format that they would have.
    request : dict
        What decides the features; weights are not compared, so that none need be loaded.
    stimuli : StimulusSet
        What is wanted.

    Raises
    ------
    StoreError
        If the folder holds anything else.
    """
    folder = location(folder)
    if not (folder / records.META).is_file():
        if not is_remote(folder) and folder.is_dir():
            refuse_foreign(folder)
        return 0
    meta = records.read_meta(folder)
    wanted = {"format": format, "request": {**plain(request), "weights": None}}
    there = {**meta, "request": {**meta["request"], "weights": None}}
    refuse_other(folder, there, wanted, stimuli.ids)
    if meta["status"] == records.FINISHED:
        return len(stimuli)
    step = int(request["batch_size"])
    starts = records.read_all_progress(folder)
    return sum(min(step, len(stimuli) - start) for start in starts)
