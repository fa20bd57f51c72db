"""Photographs for the edges of a figure: cut to squares, and staggered in strips."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from PIL import Image, ImageOps

from .errors import InvalidArgument

MOST = 300  # photographs along an edge


def squares(images: Sequence[Any]) -> list[Image.Image]:
    """Cut pictures to their central square.

    Parameters
    ----------
    images : sequence of Pillow images or arrays
        Arrays of shape (height, width), (height, width, 3) or (height, width, 4), uint8 or
        float in 0..1.

    Returns
    -------
    list of PIL.Image.Image
        In mode RGBA.

    Raises
    ------
    InvalidArgument
        If a picture is of another kind, or there are more than 300.

    Examples
    --------
    >>> [picture.size for picture in squares([np.zeros((4, 6, 3), np.uint8)])]
    [(4, 4)]
    """
    if len(images) > MOST:
        raise InvalidArgument(
            f"{len(images)} images are too many to be seen along the edges; {MOST} are the most. "
            "Draw some of the stimuli with rdm.select(ids), or leave the images out."
        )
    pictures = [_picture(image, number) for number, image in enumerate(images)]
    return [ImageOps.fit(picture, (min(picture.size),) * 2) for picture in pictures]


def strips(
    pictures: Sequence[Image.Image], size: float, stagger: int
) -> tuple[Image.Image, Image.Image, int]:
    """Lay squares out in staggered rows, for the upper and for the left edge of a matrix.

    A square is as wide as `stagger` cells of the matrix and centred on its own; the first row,
    nearest to the matrix, holds pictures 0, stagger, 2 stagger, ….

    Parameters
    ----------
    pictures : sequence of square images
        One per stimulus.
    size : float
        Side of a square in pixels.
    stagger : int
        Number of rows.

    Returns
    -------
    above, beside : PIL.Image.Image
        Transparent where there is no picture.
    margin : int
        Pixels by which the strips begin before the matrix, and end after it.

    Examples
    --------
    >>> above, beside, margin = strips([Image.new("RGBA", (9, 9))] * 6, size=20.0, stagger=2)
    >>> above.size, beside.size, margin
    ((70, 40), (40, 70), 5)
    """
    side = max(1, round(size))
    cell, space = side / stagger, max(1, round(side * 0.03))
    margin = round((side - cell) / 2)
    length, depth = round(cell * len(pictures)) + 2 * margin, side * stagger
    above, beside = Image.new("RGBA", (length, depth)), Image.new("RGBA", (depth, length))
    for number, picture in enumerate(pictures):
        small = picture.resize((max(1, side - space),) * 2, Image.Resampling.LANCZOS)
        along = round(number * cell) + space // 2
        across = depth - (number % stagger + 1) * side + space // 2
        above.paste(small, (along, across))
        beside.paste(small, (across, along))
    return above, beside, margin


def _picture(image: Any, number: int) -> Image.Image:
    if isinstance(image, Image.Image):
        return image.convert("RGBA")
    array = np.asarray(image)
    if array.ndim not in (2, 3) or (array.ndim == 3 and array.shape[2] not in (1, 3, 4)):
        raise InvalidArgument(
            f"Image {number} has shape {array.shape}; needed is (height, width), with 3 channels "
            "or 4 as last axis, or a Pillow image."
        )
    if array.dtype.kind == "f":
        array = np.clip(array * 255, 0, 255).round()
    elif array.dtype != np.uint8:
        raise InvalidArgument(
            f"Image {number} is of {array.dtype}; needed is uint8, or float in 0..1."
        )
    array = array[..., 0] if array.ndim == 3 and array.shape[2] == 1 else array
    return Image.fromarray(array.astype(np.uint8)).convert("RGBA")
