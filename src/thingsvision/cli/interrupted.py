"""What to say after Ctrl-C: whether anything was kept, and what the same command would do."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress

from .output import GOES_ON

NOTHING = "Nothing was finished yet: the same command begins anew."


def goes_on(out: str, is_nested: bool = False) -> Callable[[], str]:
    """Make the function that tells what is kept of a run that writes features.

    Parameters
    ----------
    out : str
        Folder or URL that it writes to.
    is_nested : bool
        Look in the folders in it, too.
    """

    def text() -> str:
        from ..errors import ThingsvisionError
        from ..store import location
        from ..store.records import META, is_begun

        with suppress(OSError, ThingsvisionError):
            folder = location(out)
            inside = [meta.parent for meta in folder.rglob(META)] if is_nested else []
            if any(is_begun(store) for store in (folder, *inside)):
                return GOES_ON
        return NOTHING

    return text
