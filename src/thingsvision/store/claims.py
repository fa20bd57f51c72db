"""When a folder is refused: it holds something else, or what would not fit what is there."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from ..errors import StimulusError, StoreError, counted, listing
from ..provenance import differences
from ..stimuli import StimulusSet
from .failures import Failure
from .records import FINISHED, read_stimuli
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


def refuse_other(
    folder: Any, meta: Mapping[str, Any], wanted: Mapping[str, Any], ids: Sequence[str]
) -> None:
    """Refuse a folder that holds features of another request.

    Parameters
    ----------
    folder : path
        Where they lie.
    meta : dict
        Its record.
    wanted : dict
        Format and request.
    ids : sequence of str
        Of the stimuli that are wanted.

    Raises
    ------
    StoreError
        Names what differs.
    """
    there = {key: meta[key] for key in wanted}
    if changed := differences(there, wanted):
        others = _other_stimuli(folder, ids) if meta["status"] == FINISHED else []
        if others and not differences(_without_stimuli(there), _without_stimuli(wanted)):
            raise StoreError(
                f"{str(folder)!r} holds features of other stimuli: {'; '.join(others)}. Put them "
                "back as they were, choose another folder, or delete this one."
            )
        raise StoreError(
            f"{str(folder)!r} holds features of another request: {listing(changed)}. "
            "Choose another folder, or delete this one."
        )


def _without_stimuli(record: Mapping[str, Any]) -> dict[str, Any]:
    request = {key: value for key, value in record["request"].items() if key != "stimuli"}
    return {**record, "request": request}


def _other_stimuli(folder: Any, ids: Sequence[str]) -> list[str]:
    """Say which stimuli a finished folder has that are not wanted, and which it lacks."""
    there = [row["id"] for row in read_stimuli(folder)]
    known, wanted = set(there), set(ids)
    found = {
        "gone": [name for name in there if name not in wanted],
        "new": [name for name in ids if name not in known],
    }
    words = [f"{counted(len(names), 'stimulus', 'stimuli')} {what}: {listing(names, 5)}"
             for what, names in found.items() if names]  # fmt: skip
    if not words and there != list(ids):
        words = ["the same ones in another order"]
    return words


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
            f"{counted(len(changed), stimuli.modality)} changed since the features in "
            f"{str(folder)!r} were extracted: {listing(changed, 100)}. Choose another "
            "folder, or delete this one."
        )
