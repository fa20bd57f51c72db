"""Preprocessing: what happens to a picture between decoding and the network.

The steps are resize, centre crop, division, mean and standard deviation, in
this order, with the same rounding as the libraries whose weights ask for them.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
from jaxtyping import Float, UInt8
from PIL import Image

from .errors import InvalidArgument, unknown

INTERPOLATIONS = {
    "nearest": Image.Resampling.NEAREST,
    "bilinear": Image.Resampling.BILINEAR,
    "bicubic": Image.Resampling.BICUBIC,
    "lanczos": Image.Resampling.LANCZOS,
    "box": Image.Resampling.BOX,
    "hamming": Image.Resampling.HAMMING,
}
CHANNEL_ORDERS = {"RGB": slice(None), "BGR": slice(None, None, -1)}

Size = int | tuple[int, int]


@dataclass(frozen=True)
class Preprocessing:
    """The steps from an RGB picture to a network's input, ``(x / divisor − mean) / std``.

    Parameters
    ----------
    resize : int, (int, int) or None
        Length of the shorter side in pixels (the aspect ratio stays), or ``(height, width)``.
    crop : int, (int, int) or None
        Centre crop in pixels, ``(height, width)``; a smaller picture is padded with black.
    interpolation : str
        One of `INTERPOLATIONS`.
    antialias : bool
        Whether a picture that is made smaller is low-pass filtered; without it only
        ``"bilinear"`` is possible.
    divisor : float
        What the grey levels 0…255 are divided by.
    mean, std : (float, float, float)
        Per channel, in the order of `channel_order`, after the division.
    channel_order : str
        ``"RGB"`` or ``"BGR"``.
    origin : str
        Where the values come from, e.g. the name of the weights.

    Raises
    ------
    InvalidArgument
        If a value is not allowed.

    Examples
    --------
    >>> Preprocessing(resize=256, crop=224).shape(375, 500)
    (224, 224)
    """

    resize: Size | None = None
    crop: Size | None = None
    interpolation: str = "bilinear"
    antialias: bool = True
    divisor: float = 255.0
    mean: tuple[float, ...] = (0.0, 0.0, 0.0)
    std: tuple[float, ...] = (1.0, 1.0, 1.0)
    channel_order: str = "RGB"
    origin: str = "the user"

    def __post_init__(self) -> None:
        if self.interpolation not in INTERPOLATIONS:
            raise unknown("interpolation", self.interpolation, INTERPOLATIONS)
        if self.channel_order not in CHANNEL_ORDERS:
            raise unknown("channel order", self.channel_order, CHANNEL_ORDERS)
        if not self.antialias and self.interpolation != "bilinear":
            raise InvalidArgument(
                f"antialias=False was given with interpolation={self.interpolation!r}; "
                "it is possible with 'bilinear' only."
            )
        for name in ("resize", "crop"):
            size = getattr(self, name)
            if size is not None and min(_pair(size)) < 1:
                raise InvalidArgument(f"{name} is {size}, but a size is at least 1 pixel.")
        if len(self.mean) != 3 or len(self.std) != 3:
            raise InvalidArgument(
                f"mean is {self.mean} and std is {self.std}, but each has one value per "
                f"channel {self.channel_order}: three."
            )

    def shape(self, height: int, width: int) -> tuple[int, int]:
        """Compute the size of the result for a picture of a given size.

        Parameters
        ----------
        height, width : int
            Size of the upright picture, in pixels.

        Returns
        -------
        (int, int)
            Height and width of the network's input.
        """
        return _pair(self.crop) if self.crop is not None else self._resized(height, width)

    def _resized(self, height: int, width: int) -> tuple[int, int]:
        if self.resize is None:
            return height, width
        if not isinstance(self.resize, int):
            return self.resize
        # int(), not round(): the libraries cut the longer side off.
        if height <= width:
            return self.resize, int(self.resize * width / height)
        return int(self.resize * height / width), self.resize

    def override(self, **values: Any) -> Preprocessing:
        """Replace some values, and say so in `origin`.

        Examples
        --------
        >>> Preprocessing(resize=256, crop=224, origin="the weights").override(crop=None).origin
        'the weights, overridden: crop=None'
        """
        changed = ", ".join(f"{name}={value}" for name, value in values.items())
        return replace(self, **{"origin": f"{self.origin}, overridden: {changed}", **values})

    def to_dict(self) -> dict[str, Any]:
        """Give the values as they are written to ``meta.json``."""
        return asdict(self)

    def __str__(self) -> str:
        steps = [
            f"resize {self.resize} ({self.interpolation}"
            f"{'' if self.antialias else ', no antialiasing'})"
            if self.resize
            else "no resize",
            f"centre crop {self.crop}" if self.crop else "no crop",
            f"/ {self.divisor:g}",
            f"mean {_numbers(self.mean)}",
            f"std {_numbers(self.std)}",
            self.channel_order,
        ]
        return ", ".join(steps)


def preprocess(
    preprocessing: Preprocessing, image: Image.Image
) -> Float[np.ndarray, "height width 3"]:
    """Turn a picture into a network's input.

    Parameters
    ----------
    preprocessing : Preprocessing
        The steps.
    image : PIL.Image.Image
        Mode RGB, upright.

    Returns
    -------
    array of float32, shape (height, width, 3)
        Channels last for every framework; a backend places the axes as its network wants them.

    Examples
    --------
    >>> white = Image.new("RGB", (500, 375), "white")
    >>> preprocess(Preprocessing(resize=256, crop=224), white)[0, 0]
    array([1., 1., 1.], dtype=float32)
    """
    height, width = preprocessing._resized(image.height, image.width)
    if (height, width) != (image.height, image.width):
        if preprocessing.antialias:
            method = INTERPOLATIONS[preprocessing.interpolation]
            image = image.resize((width, height), method)
        else:
            image = Image.fromarray(_bilinear(np.asarray(image), height, width))
    if preprocessing.crop is not None:
        image = image.crop(_centre(image.height, image.width, *_pair(preprocessing.crop)))
    pixels = np.asarray(image)[..., CHANNEL_ORDERS[preprocessing.channel_order]]
    # Rows are laid out flat: arithmetic over an innermost axis of three is many times slower.
    flat = pixels.reshape(len(pixels), -1).astype(np.float32)
    columns = flat.shape[1] // 3
    flat /= np.float32(preprocessing.divisor)
    flat -= np.tile(np.asarray(preprocessing.mean, np.float32), columns)
    flat /= np.tile(np.asarray(preprocessing.std, np.float32), columns)
    return flat.reshape(pixels.shape)


def _pair(size: Size) -> tuple[int, int]:
    return (size, size) if isinstance(size, int) else (size[0], size[1])


def _numbers(values: tuple[float, ...]) -> str:
    return "/".join(f"{value:g}" for value in values)


def _centre(
    height: int, width: int, crop_height: int, crop_width: int
) -> tuple[int, int, int, int]:
    """Give (left, top, right, bottom); what lies outside the picture becomes black."""

    def start(size: int, wanted: int) -> int:
        # A margin of an odd size is split as torchvision and timm split it.
        return -((wanted - size) // 2) if wanted > size else round((size - wanted) / 2.0)

    left, top = start(width, crop_width), start(height, crop_height)
    return left, top, left + crop_width, top + crop_height


def _bilinear(
    pixels: UInt8[np.ndarray, "h w 3"], height: int, width: int
) -> UInt8[np.ndarray, "height width 3"]:
    """Resize without antialiasing: each new pixel mixes the four nearest old ones."""

    def neighbours(old: int, new: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        scale = np.float32(old) / np.float32(new)
        centre = np.maximum((np.arange(new, dtype=np.float32) + np.float32(0.5)) * scale - 0.5, 0)
        low = np.minimum(centre.astype(np.int64), old - 1)
        return low, np.minimum(low + 1, old - 1), (centre - low).astype(np.float32)

    above, below, down = neighbours(pixels.shape[0], height)
    left, right, across = neighbours(pixels.shape[1], width)
    values = pixels.astype(np.float32)
    across = across[None, :, None]
    down = down[:, None, None]
    top = values[above][:, left] * (1 - across) + values[above][:, right] * across
    bottom = values[below][:, left] * (1 - across) + values[below][:, right] * across
    mixed: UInt8[np.ndarray, "height width 3"] = np.rint(top * (1 - down) + bottom * down).astype(
        np.uint8
    )
    return mixed
