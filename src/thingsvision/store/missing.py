"""What to say where features were looked for and there are none."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ..errors import StoreError, listing, nearest
from .remote import is_remote

# A folder with this file is a feature store.
META = "meta.json"
MAKES_ONE = "thingsvision extract makes one."


def no_features(folder: Any) -> StoreError:
    """Make the error for a place without features, which names the nearest that have some.

    Examples
    --------
    >>> print(no_features(Path("a/b")))
    There is no folder 'a', and so no features in 'a/b'. thingsvision extract makes one.
    """
    name = repr(str(folder))
    if is_remote(folder):
        return StoreError(f"{name} is no folder of features: it has no {META}. {MAKES_ONE}")
    if folder.is_file():
        what = f"{name} is a file, not a folder of features."
    elif folder.is_dir():
        what = f"{name} is no folder of features: it has no {META}."
    elif not folder.parent.is_dir():
        return StoreError(
            f"There is no folder {str(folder.parent)!r}, and so no features in {name}. {MAKES_ONE}"
        )
    else:
        what = f"There is no folder {name}."
    return StoreError(f"{what}{near_features(folder)} {MAKES_ONE}")


def near_features(folder: Path) -> str:
    """Name the folders of features in a folder or, where there are none, beside it.

    The likest come first; a sentence with a space before it.
    """
    if (folder.parent / META).is_file():
        return f" {str(folder.parent)!r}, around it, is one."
    for where, around in (("In it", folder), ("Beside it", folder.parent)):
        found = [file.parent.name for file in around.glob(f"*/{META}")]
        if found:
            likest = nearest(folder.name, found, len(found))
            return f" {where} are features in: {listing(likest, 3)}."
    return " There are no folders of features beside it."
