"""Preprocessing: what happens to a picture between decoding and the network.

The steps are resize, centre crop, division, mean and standard deviation, in
this order, with the same rounding as the libraries whose weights ask for them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from math import isfinite
from operator import index
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
# What becomes of the aspect ratio where height and width are both given.
FITS = ("stretch", "cover", "contain", "corner")
# Where a crop begins whose margin is odd.
HALVES = ("even", "below")
# How a file becomes a picture.
DECODERS = ("exact", "fast")
# Under this key, ``info`` of a picture that was decoded smaller has its height and width.
FULL_SIZE = "full size"
CHANNEL_ORDERS = {"RGB": slice(None), "BGR": slice(None, None, -1)}

Size = int | tuple[int, int]
_Array = np.ndarray[Any, Any]


@dataclass(frozen=True)
class Preprocessing:
    """The steps from an RGB picture to a network's input, ``(x / divisor − mean) / std``.

    Parameters
    ----------
    resize : int, (int, int) or None
        Length of the shorter side in pixels (the aspect ratio stays), or ``(height, width)``.
    fit : str
        How a picture gets to ``(height, width)``: ``"stretch"`` gives it just these sides;
        ``"cover"`` keeps the aspect ratio, with no side shorter, ``"contain"`` with none longer;
        ``"corner"`` does too, with halves rounded up, and puts the picture into the upper left
        corner of the crop, the rest of which is 0 in the network's input.
    crop : int, (int, int) or None
        Centre crop in pixels, ``(height, width)``; a smaller picture is padded.
    halves : str
        Where a crop begins whose margin is odd: at the ``"even"`` neighbour of the half pixel, as
        torchvision and timm do, or always ``"below"`` it, as Hugging Face does.
    fill : (int, int, int)
        Colour of the padding, in RGB, 0…255.
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
    decode : str
        ``"exact"``, or ``"fast"`` for an approximation: JPEGs are decoded at the smallest of their
        sizes (1, 1/2, 1/4, 1/8) that is no smaller than `resize` asks for, and only what the crop
        keeps is resized.

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
    fit: str = "stretch"
    crop: Size | None = None
    halves: str = "even"
    fill: tuple[int, int, int] = (0, 0, 0)
    interpolation: str = "bilinear"
    antialias: bool = True
    divisor: float = 255.0
    mean: tuple[float, ...] = (0.0, 0.0, 0.0)
    std: tuple[float, ...] = (1.0, 1.0, 1.0)
    channel_order: str = "RGB"
    origin: str = "the user"
    decode: str = "exact"

    def __post_init__(self) -> None:
        if self.interpolation not in INTERPOLATIONS:
            raise unknown("interpolation", self.interpolation, INTERPOLATIONS)
        if self.fit not in FITS:
            raise unknown("way to fit", self.fit, FITS)
        if self.halves not in HALVES:
            raise unknown("way to round halves", self.halves, HALVES)
        if self.decode not in DECODERS:
            raise unknown("way to decode", self.decode, DECODERS)
        if self.channel_order not in CHANNEL_ORDERS:
            raise unknown("channel order", self.channel_order, CHANNEL_ORDERS)
        if not self.antialias and self.interpolation != "bilinear":
            raise InvalidArgument(
                f"antialias=False was given with interpolation={self.interpolation!r}; "
                "it is possible with 'bilinear' only."
            )
        for name in ("resize", "crop"):
            object.__setattr__(self, name, _checked_size(name, getattr(self, name)))
        if self.fit != "stretch" and not isinstance(self.resize, tuple):
            raise InvalidArgument(
                f"fit is {self.fit!r} and resize is {self.resize!r}, but {self.fit!r} needs "
                "resize=(height, width). For one number, the shorter side, give fit='stretch'."
            )
        object.__setattr__(self, "fill", _checked_colour(self.fill))
        for name in ("mean", "std"):
            object.__setattr__(self, name, _checked_channels(name, getattr(self, name)))
        if 0.0 in (self.divisor, *self.std) or not isfinite(self.divisor):
            raise InvalidArgument(
                f"divisor is {self.divisor} and std is {self.std}, but both are divided by: "
                "neither can be 0 or infinite."
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

    def pads(self, height: int, width: int) -> bool:
        """Tell whether a picture of a given size is smaller than the crop, once resized.

        Not where it is resized to be contained in the crop: there the padding is meant.
        """
        if self.crop is None or self.fit in ("contain", "corner"):
            return False
        sizes = zip(self._resized(height, width), _pair(self.crop), strict=True)
        return any(side < wanted for side, wanted in sizes)

    def suffices(self, height: int, width: int) -> tuple[int, int] | None:
        """Compute the size below which a file of a given size is not to be decoded.

        Returns
        -------
        (int, int) or None
            Height and width in pixels; None where it is decoded in its own size, exactly.
        """
        return self._resized(height, width) if self._approximates else None

    @property
    def _approximates(self) -> bool:
        # Without a filter every pixel that is left out would change the result.
        is_filtered = self.antialias and self.interpolation != "nearest"
        return self.decode == "fast" and self.resize is not None and is_filtered

    def _resized(self, height: int, width: int) -> tuple[int, int]:
        if self.resize is None:
            return height, width
        if not isinstance(self.resize, int):
            if self.fit == "stretch":
                return self.resize
            if self.fit == "corner":
                scale = min(self.resize[0] / height, self.resize[1] / width)
                return int(height * scale + 0.5), int(width * scale + 0.5)
            ratios = height / self.resize[0], width / self.resize[1]
            ratio = min(ratios) if self.fit == "cover" else max(ratios)
            # max(): a very long picture still has a row.
            return max(1, round(height / ratio)), max(1, round(width / ratio))
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
        if "resize" in values and self.fit != "stretch" and not isinstance(values["resize"], tuple):
            values = {**values, "fit": values.get("fit", "stretch")}  # one number keeps the ratio
        changed = ", ".join(f"{name}={value}" for name, value in values.items())
        return replace(self, **{"origin": f"{self.origin}, overridden: {changed}", **values})

    def to_dict(self) -> dict[str, Any]:
        """Give the values as they are written to ``meta.json``."""
        return asdict(self)

    def _fitting(self) -> str:
        is_told = isinstance(self.resize, tuple) and self.fit != "stretch"
        return f", {self.fit}" if is_told else ""

    def __str__(self) -> str:
        steps = [
            f"resize {self.resize} ({self.interpolation}{self._fitting()}"
            f"{'' if self.antialias else ', no antialiasing'})"
            if self.resize
            else "no resize",
            f"centre crop {self.crop}" if self.crop else "no crop",
            f"/ {self.divisor:g}",
            f"mean {_numbers(self.mean)}",
            f"std {_numbers(self.std)}",
            self.channel_order,
            *([] if self.decode == "exact" else [f"{self.decode} decoding"]),
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
        Mode RGB, upright. If it was decoded smaller than it is, ``info`` has its `FULL_SIZE`.

    Returns
    -------
    array of float32, shape (height, width, 3)
        Channels last for every framework; a backend places the axes as its network wants them.

    Raises
    ------
    InvalidArgument
        If the picture has another mode.

    Examples
    --------
    >>> white = Image.new("RGB", (500, 375), "white")
    >>> preprocess(Preprocessing(resize=256, crop=224), white)[0, 0]
    array([1., 1., 1.], dtype=float32)
    """
    if image.mode != "RGB":
        raise InvalidArgument(
            f"The picture has the mode {image.mode!r}; thingsvision.images makes RGB of any."
        )
    height, width = preprocessing._resized(*image.info.get(FULL_SIZE, (image.height, image.width)))
    box = _box(preprocessing, height, width)
    if box is not None:
        image = _kept(image, INTERPOLATIONS[preprocessing.interpolation], box, height, width)
    elif (height, width) != (image.height, image.width):
        if preprocessing.antialias:
            method = INTERPOLATIONS[preprocessing.interpolation]
            image = image.resize((width, height), method)
        else:
            image = Image.fromarray(_bilinear(np.asarray(image), height, width))
    if box is None and preprocessing.crop is not None and preprocessing.fit != "corner":
        image = _cropped(image, preprocessing)
    pixels = np.asarray(image)[..., CHANNEL_ORDERS[preprocessing.channel_order]]
    # Rows are laid out flat: arithmetic over an innermost axis of three is many times slower.
    flat = pixels.reshape(len(pixels), -1).astype(np.float32)
    columns = flat.shape[1] // 3
    flat /= np.float32(preprocessing.divisor)
    flat -= np.tile(np.asarray(preprocessing.mean, np.float32), columns)
    flat /= np.tile(np.asarray(preprocessing.std, np.float32), columns)
    values = flat.reshape(pixels.shape)
    if preprocessing.crop is None or preprocessing.fit != "corner":
        return values
    height, width = _pair(preprocessing.crop)
    padded = np.zeros((height, width, 3), np.float32)
    padded[: image.height, : image.width] = values[:height, :width]
    return padded


def _checked_size(name: str, size: Any) -> Size | None:
    """Give a size as plain int or pair of them; NumPy's integers and lists are welcome."""
    if size is None:
        return None
    try:
        sides = [index(side) for side in size] if isinstance(size, Sequence) else [index(size)]
    except TypeError:
        sides = []
    if isinstance(size, bool) or len(sides) not in (1, 2) or min(sides) < 1:
        raise InvalidArgument(
            f"{name} is {size!r}; allowed are None, a number of pixels, at least 1, or "
            "(height, width)."
        )
    return (sides[0], sides[1]) if len(sides) == 2 else sides[0]


def _checked_channels(name: str, values: Any) -> tuple[float, ...]:
    try:
        numbers = tuple(float(value) for value in values)
    except (TypeError, ValueError):
        numbers = ()
    if len(numbers) != 3 or not all(isfinite(number) for number in numbers):
        raise InvalidArgument(
            f"{name} is {values!r}; it has one finite number for each of the three channels."
        )
    return numbers


def _checked_colour(values: Any) -> tuple[int, int, int]:
    try:
        levels = tuple(index(value) for value in values)
    except TypeError:
        levels = ()
    if len(levels) != 3 or not all(0 <= level <= 255 for level in levels):
        raise InvalidArgument(
            f"fill is {values!r}; it has a whole number from 0 to 255 for each of red, green and "
            "blue."
        )
    return levels[0], levels[1], levels[2]


def _pair(size: Size) -> tuple[int, int]:
    return (size, size) if isinstance(size, int) else (size[0], size[1])


def _numbers(values: tuple[float, ...]) -> str:
    return "/".join(f"{value:g}" for value in values)


def _box(preprocessing: Preprocessing, height: int, width: int) -> tuple[int, ...] | None:
    """Find what a crop keeps of a resized picture, if that may be resized alone."""
    crop = preprocessing.crop
    if not preprocessing._approximates or crop is None:
        return None
    rows, columns = _pair(crop)
    if preprocessing.fit == "corner" or rows > height or columns > width:
        return None
    return _centre(height, width, rows, columns, preprocessing.halves)


def _kept(
    image: Image.Image, method: Any, box: tuple[int, ...], height: int, width: int
) -> Image.Image:
    """Resize to (height, width), but only what lies in a box of the result."""
    left, top, right, bottom = box
    x, y = image.width / width, image.height / height
    part = left * x, top * y, right * x, bottom * y
    return image.resize((right - left, bottom - top), method, part)


def _cropped(image: Image.Image, preprocessing: Preprocessing) -> Image.Image:
    assert preprocessing.crop is not None
    crop = _pair(preprocessing.crop)
    box = _centre(image.height, image.width, *crop, preprocessing.halves)
    if not any(preprocessing.fill) or (crop[0] <= image.height and crop[1] <= image.width):
        return image.crop(box)  # Pillow pads with black
    padded = Image.new("RGB", crop[::-1], preprocessing.fill)
    padded.paste(image, (-box[0], -box[1]))
    return padded


def _centre(
    height: int, width: int, crop_height: int, crop_width: int, halves: str = "even"
) -> tuple[int, int, int, int]:
    """Give (left, top, right, bottom); what lies outside the picture is padded."""

    def start(size: int, wanted: int) -> int:
        if halves == "below":
            return (size - wanted) // 2
        # A margin of an odd size is split as torchvision and timm split it.
        return -((wanted - size) // 2) if wanted > size else round((size - wanted) / 2.0)

    left, top = start(width, crop_width), start(height, crop_height)
    return left, top, left + crop_width, top + crop_height


def _bilinear(
    pixels: UInt8[np.ndarray, "h w 3"], height: int, width: int
) -> UInt8[np.ndarray, "height width 3"]:
    """Resize without antialiasing: each new pixel mixes the four nearest old ones.

    Operations and rounding are those of ``torch.nn.functional.interpolate`` with several
    threads on a processor with fused multiply-add, so the bits are the same. (With one
    thread, and with torch 2.15, about one value in 100,000 differs by a level.)
    """

    def neighbours(old: int, new: int) -> tuple[_Array, _Array, _Array, _Array]:
        scale = np.float32(old) / np.float32(new)
        centres = _fused(np.arange(new, dtype=np.float32) + np.float32(0.5), scale, -0.5)
        centres = np.maximum(centres, np.float32(0))
        low = np.minimum(centres.astype(np.int64), old - 1)
        share = np.clip(centres - low.astype(np.float32), 0, 1)
        return low, np.minimum(low + 1, old - 1), np.float32(1) - share, share

    above, below, up, down = neighbours(pixels.shape[0], height)
    left, right, leftward, rightward = neighbours(pixels.shape[1], width)
    leftward, rightward = leftward[:, None], rightward[:, None]
    values = pixels.astype(np.float32)
    rows = _fused(values[:, left], leftward, values[:, right] * rightward)
    up, down = up[:, None, None], down[:, None, None]
    levels: UInt8[np.ndarray, "height width 3"]
    levels = np.rint(_fused(rows[above], up, rows[below] * down)).astype(np.uint8)
    return levels


def _fused(a: _Array, b: Any, c: Any) -> _Array:
    """Compute a · b + c with one rounding; in float64 the product of two float32 is exact."""
    wide: _Array = np.multiply(a, b, dtype=np.float64) + c
    return wide.astype(np.float32)
