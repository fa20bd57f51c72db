"""When a folder is refused: it holds something else, or what would not fit what is there."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from ..errors import StimulusError, StoreError, listing
from ..provenance import differences
from ..stimuli import StimulusSet
from .failures import Failure
from .sums import Sums

# Rows that one environment began are not continued by another.
ENVIRONMENT = ("framework", "device", "versions")


def refuse_foreign(folder: Any) -> None:
    """Refuse a folder that holds files but no features.

    Raises
    ------
    StoreError
        If there are any; some are named.
    """
    present = [item.name for item in folder.iterdir() if not item.name.startswith(".")]
    if present:
        raise StoreError(
            f"The folder {str(folder)!r} holds other files ({listing(present, 5)}) and "
            "no features. Choose a new or empty folder."
        )


def refuse_other(folder: Any, meta: Mapping[str, Any], wanted: Mapping[str, Any]) -> None:
    """Refuse a folder that holds features of another request.

    Raises
    ------
    StoreError
        Names what differs.
    """
    if changed := differences({key: meta[key] for key in wanted}, wanted):
        raise StoreError(
            f"{str(folder)!r} holds features of another request: {listing(changed)}. "
            "Choose another folder, or delete this one."
        )


def refuse_elsewhere(folder: Any, meta: Mapping[str, Any], provenance: Mapping[str, Any]) -> None:
    """Refuse to go on with rows that another environment began.

    Raises
    ------
    StoreError
        Names what differs.
    """
    old, new = (
        # Any of several GPUs may go on.
        {key: str(record.get(key)).partition(":")[0] if key == "device" else record.get(key)
         for key in ENVIRONMENT}
        for record in (meta.get("provenance", {}), provenance)
    )  # fmt: skip
    if changed := differences(old, new):
        raise StoreError(
            f"The run in {str(folder)!r} was begun elsewhere and is not finished: "
            f"{listing(changed)}. Rows of both would differ in their last digits. Finish it "
            "there, or delete the folder to start anew."
        )


def refuse_changed(folder: Any, stimuli: StimulusSet, digests: Iterable[tuple[int, str]]) -> None:
    """Refuse images that are not what they were when their rows were computed.

    Raises
    ------
    StoreError
        Names them.
    """
    changed = []
    for row, digest in digests:
        if isinstance(digest, Failure | Sums):
            continue
        try:
            same = stimuli.digest(row) == digest
        except StimulusError:
            same = False
        if not same:
            changed.append(stimuli.ids[row])
    if changed:
        raise StoreError(
            f"{len(changed)} images have changed since their features in "
            f"{str(folder)!r} were extracted: {listing(changed, 100)}. Choose another "
            "folder, or delete this one."
        )
