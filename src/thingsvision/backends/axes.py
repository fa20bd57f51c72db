"""Names of axes, from how they grow with the image; for every framework."""

from __future__ import annotations

from collections.abc import Collection, Sequence


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


def axis_names(
    shape: Sequence[int],
    grown: Sequence[int] | None,
    stated: Sequence[str] | None,
    tokens: Collection[int] = (),
) -> tuple[str, ...]:
    """Name the axes of one stimulus's activation.

    They are measured where the network takes images of another size: what grows with the
    image is space, what stays is the channel. Elsewhere what the module states decides, or the
    number of tokens in the network; what none of them tells is numbered.

    Parameters
    ----------
    shape : sequence of int
        Without the batch axis.
    grown : sequence of int or None
        The shape for a larger image, whose width grew more than its height.
    stated : sequence of str or None
        Names that the kind of the module gives to maps, which have three axes.
    tokens : collection of int
        Known numbers of tokens.
    """
    if len(shape) == 1:
        return ("feature",)
    if (measured := measured_axes(shape, grown)) is not None:
        return measured
    if stated is not None and len(shape) == 3:
        return tuple(stated)
    if len(shape) == 2 and shape[0] in tokens and shape[1] not in tokens:
        return ("token", "channel")
    return tuple(f"axis{axis + 1}" for axis in range(len(shape)))


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
