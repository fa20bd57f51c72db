"""Checksums of what was written, batch by batch, so that damage to the files is found later."""

from __future__ import annotations

import zlib
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

MARK = "="


class Sums(str):
    """The checksums of a batch's arrays, in one word; it follows the digests of the batch's images.

    Examples
    --------
    >>> isinstance(Sums("=3610a686"), Sums), isinstance("0a1b", Sums)
    (True, False)
    """

    __slots__ = ()


def sums_of(arrays: Iterable[NDArray[Any]]) -> Sums:
    """Compute the checksums of a batch's arrays.

    Examples
    --------
    >>> sums_of([np.zeros(2, np.float32), np.ones(2, np.float32)])
    '=6522df69,d5065190'
    """
    return Sums(MARK + ",".join(map(checksum, arrays)))


def checksum(array: NDArray[Any]) -> str:
    """Compute the CRC-32 of an array's numbers, whatever their order in memory.

    Every NaN counts as the same, since text holds but one.

    Examples
    --------
    >>> checksum(np.zeros(2, np.float32))
    '6522df69'
    """
    if array.dtype.kind == "f":
        with np.errstate(all="ignore"):
            if np.isnan(array.sum()):
                array = np.where(np.isnan(array), array.dtype.type(np.nan), array)
    data = np.ascontiguousarray(array).reshape(-1).view(np.uint8)
    return f"{zlib.crc32(data.data):08x}"


def without_sums(words: Sequence[str]) -> list[str]:
    """Take the digests of a batch's images.

    Examples
    --------
    >>> without_sums(["0a1b", "2c3d", Sums("=3610a686")])
    ['0a1b', '2c3d']
    """
    return [word for word in words if not isinstance(word, Sums)]


def only_sums(words: Sequence[str]) -> str:
    """Take the checksums of a batch, ``""`` if it has none.

    Examples
    --------
    >>> only_sums(["0a1b", "2c3d", Sums("=3610a686")])
    '3610a686'
    """
    return next((word[len(MARK) :] for word in words if isinstance(word, Sums)), "")
