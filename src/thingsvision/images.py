"""Any image file or array to one upright picture: RGB, 8 bits, by stated rules.

==================  ==============================================================================
in the file         in the picture
==================  ==============================================================================
orientation         the EXIF (or XMP) turn is applied; a broken EXIF block counts as upright
several frames      the first
alpha, colour key   laid on the background, white unless told
grey, 1 bit         repeated in the three channels
16-bit grey         ``round(255 * sample / white)``; white is 65535, or ``2 ** bits - 1`` of a
                    TIFF of fewer bits, or the maxval of a PGM; nothing is stretched to the data
16-bit colour       the high byte of each sample, which is all that Pillow reads
                    (at most one level from rounding)
floating point      ``round(255 * sample)``; samples outside 0 to 1 are refused
32-bit integers     refused: nothing states their white
CMYK                ``255 * (1 - c) * (1 - k)``, JPEGs read inverted as Adobe writes them
LAB                 CIELAB under D50 to sRGB, colours outside it clipped
ICC profile         not applied in any mode, as torchvision and Keras do not
==================  ==============================================================================
"""

from __future__ import annotations

import io
import os
import re
import struct
import threading
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Any, TypeAlias, cast

import numpy as np
from numpy.typing import NDArray
from PIL import ExifTags, Image, UnidentifiedImageError

from .errors import ImageError, InvalidArgument
from .preprocessing import FULL_SIZE
from .samples import CONVERTERS, Refusal, array_levels

Suffices: TypeAlias = "Callable[[int, int], tuple[int, int] | None]"
Source: TypeAlias = "str | os.PathLike[str] | bytes | NDArray[Any]"
Colour: TypeAlias = tuple[int, int, int]

SUFFIXES: frozenset[str]  # made by __getattr__ on first use, since Pillow then loads all plugins
BACKGROUND: Colour = (255, 255, 255)
MAX_PIXELS = 178_956_970  # where Pillow itself stops, unless told otherwise

# Pillow's own limit, and an entry for each thread that decodes without it.
_lifted: list[int | None] = []
_lifting = threading.Lock()
_NO_PICTURES = frozenset({"BUFR", "FITS", "GRIB", "HDF5", "IPTC", "MPEG"})
_AGAIN = "Copy or download it again, or leave it out."
_CONVERT = "Convert it to PNG or JPEG, or leave it out."
_TRUNCATED = f"is truncated: it ends before the picture does. {_AGAIN}"
_GHOSTSCRIPT = (
    "needs Ghostscript. Install it with `apt-get install ghostscript` (Linux), "
    "`brew install ghostscript` (macOS) or from ghostscript.com (Windows), and start again."
)
# The first row whose exception type and pattern fit tells the reason.
_REASONS: tuple[tuple[type[Exception], str, str], ...] = (
    (FileNotFoundError, "", "does not exist. Check the spelling and the folder."),
    (PermissionError, "", "cannot be opened: permission denied. Allow yourself to read it."),
    (MemoryError, "", "does not fit into memory. Make it smaller, or read fewer at once."),
    (OSError, "Ghostscript", _GHOSTSCRIPT),
    (OSError, "cannot find loader", f"is of a kind that Pillow cannot draw here. {_CONVERT}"),
    (EOFError, "", _TRUNCATED),
    (struct.error, "", _TRUNCATED),
    (Exception, "(?i)truncated|not enough image data|end of file", _TRUNCATED),
)
_TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


def read_image(
    source: Source,
    *,
    background: Colour = BACKGROUND,
    max_pixels: int = MAX_PIXELS,
    suffices: Suffices | None = None,
) -> Image.Image:
    """Read an image file, its bytes or an array as an upright RGB picture.

    The module's docstring lists the rules. A plain RGB or grey file comes out as
    ``PIL.Image.open(path).convert("RGB")`` gives it, bit for bit. Threads may read at once.

    A file that is cut short is refused, unless ``PIL.ImageFile.LOAD_TRUNCATED_IMAGES`` was set.
    Damaged bits inside a JPEG go unseen, since its decoder passes over them in silence.

    Parameters
    ----------
    source : path, bytes or array
        A file, the bytes of a file, or samples of shape ``(height, width)`` or
        ``(height, width, 1 | 3 | 4)``: uint8, uint16 (white is 65535) or floating point in
        0 to 1. Of four channels the last is alpha.
    background : tuple of int
        What transparent pixels show: red, green, blue, each 0 to 255.
    max_pixels : int
        Larger pictures are refused before they are decoded, since a small file can hold more of
        them than memory does. The default is where Pillow itself stops.
    suffices : callable, optional
        Given the height and width of the upright picture, gives those that suffice, or None. A
        JPEG is then decoded quickly, and smaller by a power of two if that is enough; ``info`` of
        the picture has its `FULL_SIZE`.

    Returns
    -------
    PIL.Image.Image
        Mode ``"RGB"``.

    Raises
    ------
    ImageError
        It cannot be decoded, whole, by the rules; the message names it and the reason.
    InvalidArgument
        The source is none of the above, or the background is no colour.

    Examples
    --------
    >>> import numpy as np
    >>> read_image(np.full((2, 3), 65535, dtype=np.uint16)).getpixel((0, 0))
    (255, 255, 255)
    """
    if len(background) != 3 or any(level not in range(256) for level in background):
        raise InvalidArgument(
            f"The background {background!r} is no colour. "
            "Give three whole numbers from 0 to 255, e.g. (255, 255, 255)."
        )
    if isinstance(source, np.ndarray):
        with _named(source):
            return _on_background(Image.fromarray(array_levels(source)), background)
    with _opened(source, max_pixels) as picture:
        if suffices is not None:
            _draft(picture, suffices)
        picture.load()  # before the mode is asked for: that of an EPS changes here
        convert = CONVERTERS.get(picture.mode)
        rgb = _on_background(convert(picture) if convert else picture, background)
        turn = _TURNS.get(_orientation(picture))
        return rgb if turn is None else rgb.transpose(turn)


def probe_image(source: Source, *, max_pixels: int = MAX_PIXELS) -> tuple[int, int]:
    """Tell the size of the upright picture from the header, without decoding.

    Parameters
    ----------
    source : path, bytes or array
        As for `read_image`. The samples of an array are checked, too.
    max_pixels : int
        As for `read_image`.

    Returns
    -------
    tuple of int
        Height and width, in pixels.

    Raises
    ------
    ImageError
        The header shows that `read_image` would refuse it. Damage behind the header is not seen.
    InvalidArgument
        The source is neither a path nor bytes nor an array.

    Examples
    --------
    >>> import numpy as np
    >>> probe_image(np.zeros((2, 3, 4)))
    (2, 3)
    """
    if isinstance(source, np.ndarray):
        with _named(source):
            height, width = array_levels(source).shape[:2]
        return height, width
    with _opened(source, max_pixels) as picture:
        width, height = picture.size
        if picture.format == "PNG" and width != height and _has_late_orientation(picture):
            picture.load()
        return (width, height) if _orientation(picture) >= 5 else (height, width)


def __getattr__(name: str) -> frozenset[str]:
    """Ask Pillow, once and only when wanted, which suffixes it can open."""
    if name != "SUFFIXES":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    known = Image.registered_extensions().items()
    found = {suffix for suffix, kind in known if kind in Image.OPEN and kind not in _NO_PICTURES}
    globals()[name] = suffixes = frozenset(found | {".mpo"})  # opened by way of JPEG
    return suffixes


@contextmanager
def _named(source: Source) -> Iterator[None]:
    """Turn whatever is raised into an `ImageError` that names the source and the reason."""
    try:
        yield
    except Exception as error:  # plugins raise nearly anything on broken data
        raise ImageError(f"{_name(source)} {_reason(source, error)}") from error


@contextmanager
def _opened(source: str | os.PathLike[str] | bytes, max_pixels: int) -> Iterator[Image.Image]:
    """Open a file with its header checked; close it whatever happens."""
    if not isinstance(source, (str, os.PathLike, bytes)):
        raise InvalidArgument(
            f"A {type(source).__name__} is no image. Give a path, the bytes of a file or an array."
        )
    with (
        _named(source),
        _without_pillow_warnings(),
        _up_to(max_pixels),
        io.BytesIO(source) if isinstance(source, bytes) else Path(source).open("rb") as stream,
        _identified(stream) as picture,
    ):
        _check_header(picture, max_pixels)
        yield picture


@contextmanager
def _without_pillow_warnings() -> Iterator[None]:
    """Hold back Pillow's warnings, and no one else's, for as long as any thread decodes.

    `warnings.catch_warnings` would mix up the filters of threads that overlap. Here each thread
    adds one equal entry and takes one away, so the entry is there until the last has finished.
    """
    filters = cast("list[object]", warnings.filters)
    entry = ("ignore", None, Warning, re.compile(r"PIL\."), 0)
    filters.insert(0, entry)
    try:
        yield
    finally:
        with suppress(ValueError):  # someone reset the filters meanwhile
            filters.remove(entry)


@contextmanager
def _up_to(max_pixels: int) -> Iterator[None]:
    """Lift Pillow's limit for as long as any thread may decode a larger picture.

    Meanwhile `_check_header` holds the limit that was asked for.
    """
    if max_pixels == MAX_PIXELS:
        yield
        return
    with _lifting:
        if not _lifted:
            _lifted.append(Image.MAX_IMAGE_PIXELS)
        _lifted.append(None)
        Image.MAX_IMAGE_PIXELS = None
    try:
        yield
    finally:
        with _lifting:
            _lifted.pop()
            if len(_lifted) == 1:
                Image.MAX_IMAGE_PIXELS = _lifted.pop()


def _identified(stream: IO[bytes]) -> Image.Image:
    try:
        return Image.open(stream)
    except Image.DecompressionBombError as error:
        pixels, limit = (int(number) for number in re.findall(r"\d+", str(error))[:2])
        raise Refusal(
            f"has {pixels:,} pixels, more than the limit of {limit:,}. Make it smaller or, if you "
            f"trust it and have about {_gigabytes(pixels)} GB of memory for each core, pass "
            f"max_pixels={pixels}."
        ) from error
    except UnidentifiedImageError:
        stream.seek(0)
        start = stream.read(16)
    if not start:
        raise Refusal(f"is empty: it has no bytes. {_AGAIN}")
    for kind, (_, accept) in Image.OPEN.items():
        with suppress(IndexError, struct.error):  # of a start that is too short for a signature
            if accept and accept(start):
                raise Refusal(
                    f"begins as {kind}, but it is truncated, broken or of a variety that this "
                    f"Pillow cannot read. {_AGAIN} If other programs open it, convert it to PNG."
                )
    raise Refusal(f"is not an image that Pillow knows. {_CONVERT}")


def _check_header(picture: Image.Image, max_pixels: int) -> None:
    pixels = picture.width * picture.height
    if pixels > max_pixels:
        raise Refusal(
            f"has {pixels:,} pixels, more than the limit of {max_pixels:,}. Make it smaller or, if "
            f"you trust it and have about {_gigabytes(pixels)} GB of memory for each core, pass "
            f"max_pixels={pixels}."
        )
    if picture.mode == "I" and picture.format != "PPM":  # Pillow scales a PGM by its maxval
        raise Refusal(
            "holds 32-bit or signed integers, and nothing states which of them is white. "
            "Scale them to 16 bits without sign, or to 8."
        )
    if picture.format == "EPS":
        from PIL import EpsImagePlugin  # at the top it would come before the common formats

        if not EpsImagePlugin.has_ghostscript():
            raise Refusal(_GHOSTSCRIPT)


def _draft(picture: Image.Image, suffices: Suffices) -> None:
    """Ask the decoder of JPEG for a smaller picture, where that suffices."""
    if picture.format not in ("JPEG", "MPO"):
        return
    width, height = picture.size
    is_turned = _orientation(picture) >= 5
    full = (width, height) if is_turned else (height, width)
    wanted = suffices(*full)
    if wanted is None:
        return
    picture.draft(picture.mode, wanted if is_turned else wanted[::-1])
    picture.info[FULL_SIZE] = full


def _gigabytes(pixels: int) -> float:
    """Tell the memory that a picture takes while it is decoded and made RGB, twice 4 bytes."""
    return round(8 * pixels / 2**30, 1)


def _name(source: Source) -> str:
    if isinstance(source, np.ndarray):
        return f"The array of shape {source.shape} and type {source.dtype}"
    if isinstance(source, bytes):
        return f"The image of {len(source)} bytes"
    return f"The image '{os.fspath(source)}'"


def _reason(source: Source, error: Exception) -> str:
    if isinstance(error, Refusal):
        return str(error)
    if isinstance(source, (str, os.PathLike)) and Path(source).is_dir():
        return "is a directory. Give the images inside it."
    for kind, pattern, reason in _REASONS:
        if isinstance(error, kind) and re.search(pattern, str(error)):
            return reason
    return f"is broken (Pillow says: {str(error).strip('.') or type(error).__name__}). {_AGAIN}"


def _orientation(picture: Image.Image) -> int:
    """Tell the EXIF orientation that is still to be applied, 1 to 8."""
    if picture.format == "TIFF":  # Pillow turns these itself, and has swapped the size already
        return 1
    try:
        # The plain method, since that of PNG would decode the picture first.
        orientation = Image.Image.getexif(picture).get(ExifTags.Base.Orientation, 1)
    except Exception:  # a broken block says nothing about the picture
        return 1
    return orientation if orientation in _TURNS else 1


def _has_late_orientation(picture: Any) -> bool:
    """Tell if a PNG carries its EXIF or XMP behind the pixels, where some programs write it."""
    stream: IO[bytes] = picture.fp
    place = stream.tell()
    stream.seek(8)
    found = False
    while not found and len(header := stream.read(8)) == 8:
        length, kind = struct.unpack(">I4s", header)
        text = stream.read(min(length, 21)) if kind in (b"tEXt", b"zTXt", b"iTXt") else b""
        found = kind == b"eXIf" or text.startswith((b"Raw profile type exif", b"XML:com.adobe.xmp"))
        stream.seek(length + 4 - len(text), os.SEEK_CUR)
    stream.seek(place)
    return found and "exif" not in picture.info


def _on_background(picture: Image.Image, background: Colour) -> Image.Image:
    if not picture.has_transparency_data:
        return picture.convert("RGB")
    rgba = picture.convert("RGBA")
    canvas = Image.new("RGB", rgba.size, background)
    canvas.paste(rgba, mask=rgba)
    return canvas
