"""Images that could not be decoded: told apart from those that could, row by row."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import quote, unquote

from ..errors import StimulusError
from ..stimuli import StimulusSet
from .sums import MARK as SUMS
from .sums import Sums

MARK = "!"


class Failure(str):
    """Why an image could not be decoded; it stands in the place of the image's digest.

    Examples
    --------
    >>> isinstance(Failure("is truncated"), Failure), isinstance("0a1b", Failure)
    (True, False)
    """

    __slots__ = ()


def spelled(digest: str) -> str:
    r"""Spell a digest, or a failure, as one word of ASCII.

    Examples
    --------
    >>> spelled("0a1b"), spelled(Failure("a b.jpg\nis truncated"))
    ('0a1b', '!a%20b.jpg%0Ais%20truncated')
    """
    return MARK + quote(digest, safe="") if isinstance(digest, Failure) else digest


def read_spelled(word: str) -> str:
    """Read what `spelled` wrote, or the checksums that follow."""
    if word.startswith(SUMS):
        return Sums(word)
    return Failure(unquote(word[1:])) if word.startswith(MARK) else word


def failures(ids: Sequence[str], digests: Sequence[str]) -> dict[str, str]:
    """Find the stimuli that failed: id → reason.

    Examples
    --------
    >>> failures(["a.jpg", "b.jpg"], ["0a1b", Failure("is truncated")])
    {'b.jpg': 'is truncated'}
    """
    return {
        name: str(digest)
        for name, digest in zip(ids, digests, strict=True)
        if isinstance(digest, Failure)
    }


def refuse_nothing(ids: Sequence[str], digests: Sequence[str]) -> None:
    """Refuse features in which no row is of an image.

    Raises
    ------
    StimulusError
        If all stimuli failed.
    """
    found = failures(ids, digests)
    if len(found) == len(ids):
        lines = "\n  ".join([*found.values()][:10])
        more = f"\n  … and {len(found) - 10} more" if len(found) > 10 else ""
        raise StimulusError(
            f"None of the {len(ids)} images could be decoded:\n  {lines}{more}\n"
            "Mend them and run the same command again."
        )


def without_mended(
    written: Mapping[int, Sequence[str]], stimuli: StimulusSet | Any
) -> dict[int, list[str]]:
    """Leave out the batches in which an image failed that can be decoded now.

    Parameters
    ----------
    written : dict of int to sequence of str
        First row of each batch → digests, or failures, of its images.
    stimuli : StimulusSet
        The images as they are now.
    """
    return {
        start: list(digests)
        for start, digests in written.items()
        if not any(
            isinstance(digest, Failure) and _can_be_read(stimuli, start + offset)
            for offset, digest in enumerate(digests)
        )
    }


def _can_be_read(stimuli: StimulusSet | Any, row: int) -> bool:
    try:
        stimuli.read(row)
    except StimulusError:
        return False
    return True
