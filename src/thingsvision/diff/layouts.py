"""Ways in which tools lay the activation of a module out, or make it smaller."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import permutations
from typing import Any

import numpy as np
from numpy.typing import NDArray

# Longest side of a square map that is tried where a row's axes are not known.
LONGEST = 128

View = tuple[str, NDArray[Any]]


def views(a: NDArray[Any], width: int, axes: Sequence[str] = ()) -> Iterator[View]:
    """Lay the rows of an array out in the ways that give a wanted number of features.

    Parameters
    ----------
    a : array, shape (n_stimuli, ...)
        Activations.
    width : int
        Number of features that a row shall have.
    axes : sequence of str
        Names of the axes, if they are known.

    Yields
    ------
    words : str
        What was done; empty for rows in C order.
    rows : array, shape (n_stimuli, width)
        The result; the plain layout comes first.
    """
    sides = a.shape[1:]
    names = list(axes[1:]) if len(axes) == a.ndim else _guessed(sides)
    if int(np.prod(sides, dtype=np.int64)) == width:
        yield "", a.reshape(len(a), width)
        if a.ndim == 2:
            yield from _folded(a, width)
        for order in permutations(range(len(sides))):
            if order == tuple(range(len(sides))) or a.ndim < 3:
                continue
            moved = a.transpose(0, *(k + 1 for k in order)).reshape(len(a), width)
            yield f"with the axes in the order {_listed([names[k] for k in order])}", moved
        return
    for kept in range(len(sides)):
        if sides[kept] != width or a.ndim < 3:
            continue
        others = tuple(k + 1 for k in range(len(sides)) if k != kept)
        gone = _listed([names[k - 1] for k in others])
        yield f"averaged over {gone}", a.mean(axis=others)
        yield f"largest over {gone}", a.max(axis=others)
        if a.ndim == 3:
            first = np.moveaxis(a, others[0], 1)
            yield f"its first {gone} alone (CLS)", first[:, 0]
            yield f"averaged over {gone} without the first", first[:, 1:].mean(axis=1)


def _guessed(sides: Sequence[int]) -> list[str]:
    """Name axes by what networks usually return."""
    if len(sides) == 3:
        first, last = ("channel", "height", "width"), ("height", "width", "channel")
        return list(first if sides[1] == sides[2] else last)
    return ["token", "channel"] if len(sides) == 2 else [f"axis {k + 1}" for k in range(len(sides))]


def _folded(a: NDArray[Any], width: int) -> Iterator[View]:
    """Undo the flattening of square maps, channels first or last, and flatten the other way."""
    for side in range(2, LONGEST + 1):
        if width % side**2 or width // side**2 < 2:
            continue
        channels = width // side**2
        first = a.reshape(len(a), channels, side, side).transpose(0, 2, 3, 1)
        shape = f"{side} × {side} × {channels}"
        yield f"flattened as {shape} (channels last, NHWC)", first.reshape(len(a), width)
        last = a.reshape(len(a), side, side, channels).transpose(0, 3, 1, 2)
        shape = f"{channels} × {side} × {side}"
        yield f"flattened as {shape} (channels first, NCHW)", last.reshape(len(a), width)


def _listed(names: Sequence[str]) -> str:
    return ", ".join(names)
