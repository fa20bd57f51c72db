"""Samples of any depth and colour space to 8-bit grey or RGB, by the rules of `images`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps

from .errors import InvalidArgument

_BITS_PER_SAMPLE, _PHOTOMETRIC, _WHITE_IS_ZERO = 258, 262, 0  # TIFF
# Bradford-adapted sRGB primaries: XYZ under D50 to linear RGB (columns X, Y, Z).
_D50 = np.array([0.96422, 1.0, 0.82521])
_XYZ_TO_RGB = np.array([3.1338561, -1.6168667, -0.4906146,
                        -0.9787684, 1.9161415, 0.0334540,
                        0.0719453, -0.2289914, 1.4052427]).reshape(3, 3)  # fmt: skip


class Refusal(Exception):
    """A reason that follows the name of the image in a sentence."""


def samples_of(item: Any) -> NDArray[Any]:
    """Give the samples of an array or a Pillow image in a form that `read_image` takes."""
    if isinstance(item, np.ndarray):
        return item
    if not isinstance(item, Image.Image):
        raise InvalidArgument(f"A list of images holds a {type(item).__name__}, which is none.")
    upright = ImageOps.exif_transpose(item)
    if upright.mode in ("1", "P", "PA", "LA", "La", "RGBa"):
        upright = upright.convert("RGBA" if upright.has_transparency_data else "RGB")
    if upright.mode not in ("L", "RGB", "RGBA", "F") and not upright.mode.startswith("I;16"):
        raise InvalidArgument(
            f"A Pillow image has the mode {upright.mode}; convert it to RGB, or give its file."
        )
    return np.asarray(upright)


def _deep_to_grey(picture: Any) -> Image.Image:
    """Scale 16-bit (I;16, I) or floating-point (F) samples to 8 bits; make a key alpha."""
    tags = getattr(picture, "tag_v2", {})
    white = 1 if picture.mode == "F" else 2 ** tags.get(_BITS_PER_SAMPLE, (16,))[0] - 1
    samples = np.asarray(picture)
    key = picture.info.get("transparency")
    alpha = None if key is None else Image.fromarray(np.where(samples == key, 0, 255).astype("u1"))
    if tags.get(_PHOTOMETRIC) == _WHITE_IS_ZERO:  # Pillow leaves these inverted
        samples = white - samples
    grey = Image.fromarray(_levels(samples, white))
    return grey if alpha is None else Image.merge("LA", (grey, alpha))


def _lab_to_rgb(picture: Image.Image) -> Image.Image:
    # Row by row: a large scan would otherwise need a hundred bytes a pixel.
    return Image.fromarray(np.stack([_lab_row(row) for row in np.asarray(picture)]))


def _lab_row(row: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Convert CIELAB (width, 3) to sRGB (width, 3), after CIE 15 and IEC 61966-2-1."""
    lightness = row[:, 0] / 2.55
    a, b = row[:, 1:].view(np.int8).T
    y = (lightness + 16) / 116
    f = np.stack([y + a / 500, y, y - b / 200], axis=1)
    xyz = _D50 * np.where(f > 6 / 29, f**3, 3 * (6 / 29) ** 2 * (f - 4 / 29))
    linear = np.clip(xyz @ _XYZ_TO_RGB.T, 0, 1)
    curved = 1.055 * linear ** (1 / 2.4) - 0.055
    return _levels(np.where(linear <= 0.0031308, 12.92 * linear, curved), 1)


def array_levels(array: NDArray[Any]) -> NDArray[np.uint8]:
    """Check an array and scale it to 8 bits: (height, width) or (height, width, 3 | 4)."""
    if array.ndim == 3 and array.shape[2] == 1:
        array = array[:, :, 0]
    if 0 in array.shape or array.shape[2:] not in ((), (3,), (4,)) or array.ndim < 2:
        raise Refusal(
            "is no image. Its shape must be (height, width) or (height, width, 1, 3 or 4); "
            "np.moveaxis(array, 0, -1) puts channels last."
        )
    if array.dtype == np.uint8:
        return array
    if array.dtype.newbyteorder("=") == np.uint16:
        return _levels(array, 65535)
    if array.dtype.kind == "f":
        return _levels(array, 1)
    raise Refusal(
        "is of a type whose white is unknown. Convert it to uint8, uint16 or floating point in 0 "
        "to 1, e.g. with array.astype('uint8') if its values are 0 to 255."
    )


def _levels(samples: NDArray[Any], white: int) -> NDArray[np.uint8]:
    """Scale samples of 0 to white to 0 to 255, halves upwards."""
    if samples.dtype.kind != "f":
        return ((samples.astype(np.uint32) * 510 + white) // (2 * white)).astype(np.uint8)
    low, high = samples.min(), samples.max()
    if not (low >= 0 and high <= 1):  # so that NaN is caught as well
        raise Refusal(
            f"holds floating-point samples from {low:g} to {high:g}, but only 0 (black) to 1 "
            "(white) are allowed, without NaN. Scale them first, e.g. divide by 255."
        )
    return (samples.astype(np.float64) * 255 + 0.5).astype(np.uint8)


CONVERTERS: dict[str, Callable[[Image.Image], Image.Image]] = {
    **dict.fromkeys(("I;16", "I;16B", "I;16L", "I;16N", "I", "F"), _deep_to_grey),
    "LAB": _lab_to_rgb,
}
