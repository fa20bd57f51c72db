"""Names of axes, from how they grow with the image; for every framework."""

from __future__ import annotations

from collections.abc import Sequence


def measured_axes(
    shape: Sequence[int | None], grown: Sequence[int | None] | None
) -> tuple[str, ...] | None:
    """Name the axes of an activation: what grows with the image is space, the rest channels.

    Parameters
    ----------
    shape : sequence of int
        For one image, without the batch axis.
    grown : sequence of int or None
        For a larger image, whose width grew more than its height.

    Returns
    -------
    tuple of str or None
        Numbered where the pattern is none that is known; None where nothing was measured.

    Examples
    --------
    >>> measured_axes((7, 7, 512), (9, 11, 512))
    ('height', 'width', 'channel')
    """
    if grown is None or len(grown) != len(shape) or list(grown) == list(shape):
        return None
    space = [axis for axis, length in enumerate(shape) if grown[axis] != length]
    still = tuple(axis for axis in range(len(shape)) if axis not in space)
    # Height and width grow differently; two axes that do not are tokens against tokens.
    alike = len({(shape[axis], grown[axis]) for axis in space}) < len(space)
    numbered = {axis: f"axis{axis + 1}" for axis in range(len(shape))}
    names = numbered | (_MEASURED.get((len(shape), still), {}) if not alike else {})
    return tuple(names[axis] for axis in range(len(shape)))


# (number of axes, those that did not grow) -> names; clips have a time that does not grow either
_MEASURED: dict[tuple[int, tuple[int, ...]], dict[int, str]] = {
    (2, (1,)): {0: "token", 1: "channel"},
    (2, (0,)): {0: "channel", 1: "token"},
    (2, ()): {0: "height", 1: "width"},
    (3, (0,)): {0: "channel", 1: "height", 2: "width"},
    (3, (2,)): {0: "height", 1: "width", 2: "channel"},
    (4, (0, 1)): {0: "channel", 1: "time", 2: "height", 3: "width"},
    (4, (0, 3)): {0: "time", 1: "height", 2: "width", 3: "channel"},
}
