"""Each awkward picture against a truth that `images` had no part in."""

from __future__ import annotations

import io
import os
import re
import struct
import subprocess
import sys
import warnings
import zlib
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from PIL import EpsImagePlugin, Image, ImageFile, features

from thingsvision import images
from thingsvision.errors import ImageError, InvalidArgument
from thingsvision.images import probe_image, read_image

FOLDER = Path(__file__).parents[1].parent / "shared/data/awkward_images"
needs_folder = pytest.mark.skipif(not FOLDER.is_dir(), reason=f"the pictures are not in {FOLDER}")


@pytest.fixture(autouse=True)
def pillow_is_left_as_it_was():
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # a warning of Pillow would fail the test
        before = (Image.MAX_IMAGE_PIXELS, ImageFile.LOAD_TRUNCATED_IMAGES, list(warnings.filters))
        yield
        after = (Image.MAX_IMAGE_PIXELS, ImageFile.LOAD_TRUNCATED_IMAGES, list(warnings.filters))
    assert after == before


def pixels(source, **options):
    picture = read_image(source, **options)
    assert type(picture) is Image.Image
    assert picture.mode == "RGB"
    return np.asarray(picture)


def distance(left, right):
    return np.abs(np.asarray(left, dtype=float) - np.asarray(right, dtype=float)).mean()


def grey3(levels):
    return np.repeat(np.asarray(levels)[:, :, None], 3, axis=2)


def over(rgb, alpha, background=(255, 255, 255)):
    """Lay 8-bit colours on a background, with exact arithmetic."""
    alpha = np.asarray(alpha, dtype=int)[:, :, None]
    mixed = np.asarray(rgb, dtype=int) * alpha + np.array(background) * (255 - alpha)
    return (2 * mixed + 255) // 510


def scaled(samples, white=65535):
    return np.vectorize(lambda x: int(Fraction(int(x) * 255, white) + Fraction(1, 2)))(samples)


def file(name):
    return FOLDER / name


# Decoders of our own: of PNM, PNG and TGA just as much as the pictures use.
def pnm(name):
    header = re.compile(rb"(P[56])\s(?:#.*\n)*(\d+)\s(\d+)\s(\d+)\s")
    data = file(name).read_bytes()
    found = header.match(data)
    kind, (width, height, white) = found[1], map(int, found.groups()[1:])
    samples = np.frombuffer(data[found.end() :], ">u2" if white > 255 else "u1")
    return samples.reshape(height, width, 3) if kind == b"P6" else samples.reshape(height, width)


def png(name):
    """Decode a PNG without interlacing; return samples (height, width, channels) and chunks."""
    data, chunks, place = file(name).read_bytes(), {}, 8
    while place < len(data):
        length, kind = struct.unpack_from(">I4s", data, place)
        chunks[kind] = chunks.get(kind, b"") + data[place + 8 : place + 8 + length]
        place += 12 + length
    width, height, bits, colour, *_, interlaced = struct.unpack(">IIBBBBB", chunks[b"IHDR"][:13])
    assert not interlaced
    channels = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}[colour]
    step, stride = max(1, bits * channels // 8), (width * channels * bits + 7) // 8
    packed = zlib.decompressobj().decompress(chunks[b"IDAT"])
    above, rows = [0] * stride, []
    for start in range(0, height * (stride + 1), stride + 1):
        method, line = packed[start], list(packed[start + 1 : start + 1 + stride])
        for i in range(stride):
            a, b = (line[i - step] if i >= step else 0), above[i]
            c = above[i - step] if i >= step else 0
            paeth = min((abs(b - c), 0, a), (abs(a - c), 1, b), (abs(a + b - 2 * c), 2, c))[2]
            line[i] = (line[i] + (0, a, b, (a + b) // 2, paeth)[method]) % 256
        rows.append(line)
        above = line
    levels = np.array(rows, dtype="u1")
    if bits == 16:
        levels = levels.view(">u2")
    if bits < 8:
        parts = np.unpackbits(levels, axis=1).reshape(height, -1, bits)
        levels = (parts @ (1 << np.arange(bits)[::-1]))[:, :width]
    return levels.reshape(height, width, channels), chunks


def tga_grey_alpha(name):
    """Decode a run-length encoded TGA of grey and alpha; the descriptor tells the first row."""
    data = file(name).read_bytes()
    width, height = struct.unpack_from("<HH", data, 12)
    place, found = 18 + data[0], []
    while len(found) < width * height:
        count = (data[place] & 127) + 1
        repeated = data[place] > 127
        place += 1
        for _ in range(count):
            found.append(data[place : place + 2])
            place += 0 if repeated else 2
        place += 2 * repeated
    levels = np.frombuffer(b"".join(found), "u1").reshape(height, width, 2)
    return levels if data[17] & 32 else levels[::-1]


def png_over_white(name):
    levels, chunks = png(name)
    assert not chunks.get(b"tRNS") or b"PLTE" in chunks
    if b"PLTE" in chunks:
        palette = np.frombuffer(chunks[b"PLTE"], "u1").reshape(-1, 3)
        alpha = np.full(len(palette), 255)
        alpha[: len(chunks[b"tRNS"])] = list(chunks[b"tRNS"])
        return over(palette[levels[:, :, 0]], alpha[levels[:, :, 0]])
    levels = levels if levels.itemsize == 1 else levels >> 8  # the high byte, as stated
    return over(np.broadcast_to(levels[:, :, :-1], (*levels.shape[:2], 3)), levels[:, :, -1])


def hopper():
    return pnm("hopper.ppm")


def hopper_grey():
    return grey3(hopper() @ [0.299, 0.587, 0.114])


def landscape():
    return np.asarray(Image.open(file("exif_Landscape_1.jpg")))


def turned_kaleidoscope():
    upside_down = png("exif_imagemagick_orientation.png")[0]
    assert distance(upside_down, upside_down[::-1, ::-1]) > 1  # or turning could not be seen
    return upside_down[::-1, ::-1]


def without_exif(name):
    data = file(name).read_bytes()
    start = data.index(b"\xff\xe1")
    end = start + 2 + int.from_bytes(data[start + 2 : start + 4], "big")
    return grey3(Image.open(io.BytesIO(data[:start] + data[end:])))


def deep_tiff(name):
    tifffile = pytest.importorskip("tifffile")
    return grey3(scaled(tifffile.imread(file(name))))


def first_page():
    tifffile = pytest.importorskip("tifffile")
    with tifffile.TiffFile(file("multipage.tiff")) as pages:
        colours, levels = pages.pages[0].colormap >> 8, pages.pages[0].asarray()
    return np.moveaxis(colours[:, levels.astype(int)], 0, -1)


def cmyk_sibling():
    return np.asarray(Image.open(file("pil_sample_rgb.jpg")))


# name → (what it should look like, the mean distance in levels that its compression explains);
# a hopper that is turned or inverted is more than 50 levels away, one without colour 20
LOOKS: dict[str, tuple[Callable[[], np.ndarray], float]] = {
    "12in16bit.tif": (lambda: deep_tiff("12in16bit.tif"), 0),
    "16_bit_noise.tif": (lambda: deep_tiff("16_bit_noise.tif"), 0),
    "16bit.cropped.tif": (lambda: deep_tiff("16bit.cropped.tif"), 0),
    "exif_Landscape_1.jpg": (landscape, 0),
    "exif_Landscape_6.jpg": (landscape, 6),
    "exif_Landscape_8.jpg": (landscape, 6),
    "exif_imagemagick_orientation.png": (turned_kaleidoscope, 0),
    "hopper.Lab.tif": (hopper, 2.5),
    "hopper.avif": (hopper, 6),
    "hopper.gif": (hopper, 6),
    "hopper.jpg": (hopper, 2),
    "hopper.ppm": (hopper, 0),
    "hopper.psd": (hopper, 2),
    "hopper.tif": (hopper, 2),
    "hopper.webp": (hopper, 6),
    "hopper_16bit.pgm": (lambda: grey3(scaled(pnm("hopper_16bit.pgm"))), 0),
    "hopper_bad_exif.jpg": (lambda: without_exif("hopper_bad_exif.jpg"), 0),
    "hopper_bigtiff.tif": (hopper, 2),
    "hopper_gray.jpg": (hopper_grey, 1),
    "hopper_lzw.tif": (hopper, 2),
    **{f"hopper_orientation_{turn}.jpg": (hopper, 7) for turn in range(2, 9)},
    "hopper_rle8.bmp": (hopper, 6),
    "icc_profile.png": (lambda: png_over_white("icc_profile.png"), 0),
    "la.tga": (
        lambda: over(
            grey3(tga_grey_alpha("la.tga")[:, :, 0]),
            tga_grey_alpha("la.tga")[:, :, 1],
        ),
        0,
    ),
    "lab.tif": (lambda: np.full((10, 10, 3), 255), 0),
    "mode_16bit.png": (lambda: png_over_white("mode_16bit.png"), 0),
    "mode_palette_alpha.png": (lambda: png_over_white("mode_palette_alpha.png"), 0),
    "multipage.tiff": (first_page, 0),
    "p_16.png": (lambda: png_over_white("p_16.png"), 0),
    "pil_sample_cmyk.jpg": (cmyk_sibling, 6),
    "pil_sample_rgb.jpg": (cmyk_sibling, 0),
    "tiff_strip_cmyk_jpeg.tif": (cmyk_sibling, 6),
    "transparent.png": (lambda: png_over_white("transparent.png"), 0),
    "uncompressed_la.png": (lambda: png_over_white("uncompressed_la.png"), 0),
}
REFUSED = {
    "1.eps": "needs Ghostscript.*apt-get install ghostscript.*brew install.*ghostscript.com",
    "broken_data_stream.png": "is broken",
    "pil_sample_cmyk.eps": "needs Ghostscript.*apt-get install ghostscript",
    "truncated_image.png": "is truncated",
    "truncated_jpeg.jpg": "is truncated",
}


@needs_folder
@pytest.mark.parametrize("name", sorted(LOOKS))
def test_awkward_picture_looks_right(name):
    look, allowed = LOOKS[name]
    found, wanted = pixels(file(name)), look()
    assert found.shape == wanted.shape
    assert distance(found, wanted) <= allowed
    assert probe_image(file(name)) == wanted.shape[:2]
    assert np.array_equal(found, pixels(file(name).read_bytes()))


@needs_folder
@pytest.mark.parametrize("name", sorted(REFUSED))
def test_awkward_picture_is_refused_by_name_and_reason(name, monkeypatch):
    monkeypatch.setattr(EpsImagePlugin, "gs_binary", False)  # as on a machine without it
    with pytest.raises(ImageError, match=f"{name}' {REFUSED[name]}"):
        read_image(file(name))
    if name.endswith(".eps"):
        with pytest.raises(ImageError, match="needs Ghostscript"):
            probe_image(file(name))


@needs_folder
def test_every_awkward_picture_has_a_case():
    assert len({**LOOKS, **REFUSED}) == 45
    found = {path.name for path in FOLDER.iterdir() if path.suffix.lower() in images.SUFFIXES}
    assert found == {*LOOKS, *REFUSED}


@needs_folder
@pytest.mark.parametrize("name", ["hopper.jpg", "hopper_gray.jpg", "p_16.png", "hopper.ppm"])
def test_plain_files_are_as_pillow_reads_them(name):
    with Image.open(file(name)) as picture:
        opaque = picture.mode != "RGBA" or picture.getextrema()[3] == (255, 255)
        plain = np.asarray(picture.convert("RGB"))
    assert opaque
    assert np.array_equal(pixels(file(name)), plain)


@needs_folder
@pytest.mark.parametrize("name", sorted({*LOOKS} - {"hopper.webp", "hopper.avif"}))
def test_probing_does_not_decode(name, monkeypatch):
    monkeypatch.setattr(ImageFile.ImageFile, "load", lambda self: pytest.fail("decoded"))
    probe_image(file(name))


@needs_folder
@pytest.mark.parametrize("name", sorted(LOOKS))
@pytest.mark.parametrize("part", [0.3, 0.7])
def test_a_cut_file_is_refused_or_whole(name, part):
    """Later frames and trailers may be missing, never a part of the picture."""
    data = file(name).read_bytes()
    try:
        found = pixels(data[: int(len(data) * part)])
    except ImageError as error:
        assert re.search("is truncated|it is truncated|is broken", str(error))
    else:
        assert np.array_equal(found, pixels(data))


@needs_folder
@pytest.mark.skipif(not features.check("littlecms2"), reason="this Pillow has no littlecms")
def test_lab_agrees_with_littlecms():
    from PIL import ImageCms

    exact = ImageCms.Flags.NOOPTIMIZE
    rng = np.random.default_rng(0)
    lab = Image.frombytes("LAB", (64, 64), rng.integers(0, 256, (64, 64, 3), "u1").tobytes())
    profiles = ImageCms.createProfile("LAB"), ImageCms.createProfile("sRGB")
    wanted = np.asarray(
        ImageCms.applyTransform(lab, ImageCms.buildTransform(*profiles, "LAB", "RGB", flags=exact))
    )
    found = pixels(saved(lab, "TIFF"))
    inside = ((wanted > 0) & (wanted < 255)).all(axis=2)  # outside sRGB both clip, each its way
    assert inside.sum() > 50
    assert np.abs(found[inside].astype(int) - wanted[inside]).max() <= 2


def saved(picture, kind, **options):
    stream = io.BytesIO()
    picture.save(stream, kind, **options)
    return stream.getvalue()


def corner_picture(height=8, width=12):
    """A picture that no turn leaves as it is."""
    levels = np.zeros((height, width, 3), "u1")
    levels[:2, :3] = (255, 0, 0)
    levels[-2:, :3] = (0, 0, 255)
    return levels


# As the EXIF standard says which edges of the scene the rows and columns of the file are.
TURNS: dict[int, Callable[[np.ndarray], np.ndarray]] = {
    1: lambda a: a,
    2: lambda a: a[:, ::-1],
    3: lambda a: a[::-1, ::-1],
    4: lambda a: a[::-1],
    5: lambda a: a.swapaxes(0, 1),
    6: lambda a: a.swapaxes(0, 1)[:, ::-1],
    7: lambda a: a[::-1, ::-1].swapaxes(0, 1),
    8: lambda a: a.swapaxes(0, 1)[::-1],
}


def turned(kind, orientation, **options):
    exif = Image.Exif()
    exif[274] = orientation
    return saved(Image.fromarray(corner_picture()), kind, exif=exif, **options)


@pytest.mark.parametrize("orientation", sorted(TURNS))
@pytest.mark.parametrize(
    ("kind", "options"),
    [
        ("PNG", {}),
        ("TIFF", {}),
        ("TIFF", {"compression": "tiff_lzw"}),
        ("WEBP", {"lossless": True}),
    ],
)
def test_orientation_is_applied_in_every_format(kind, options, orientation):
    data = turned(kind, orientation, **options)
    wanted = TURNS[orientation](corner_picture())
    assert np.array_equal(pixels(data), wanted)
    assert probe_image(data) == wanted.shape[:2]


def test_orientation_behind_the_pixels_of_a_png():
    data = turned("PNG", 6)
    start = data.index(b"eXIf") - 4
    end = start + 12 + struct.unpack_from(">I", data, start)[0]
    late = data[:start] + data[end:-12] + data[start:end] + data[-12:]
    wanted = TURNS[6](corner_picture())
    assert np.array_equal(pixels(late), wanted)
    assert probe_image(late) == wanted.shape[:2]


@pytest.mark.parametrize("orientation", [0, 9, 65535])
def test_unknown_orientation_is_upright(orientation):
    assert np.array_equal(pixels(turned("PNG", orientation)), corner_picture())
    assert probe_image(turned("PNG", orientation)) == corner_picture().shape[:2]


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP"])
@pytest.mark.parametrize("block", [b"garbage", b"MM\0*\0\0\xff\xff", b""])
def test_broken_exif_is_upright(kind, block):
    data = saved(Image.fromarray(corner_picture()), kind, exif=b"Exif\0\0" + block)
    assert pixels(data).shape == corner_picture().shape
    assert probe_image(data) == corner_picture().shape[:2]


def deep_png(samples, key=None):
    """A PNG of 16-bit grey, with one transparent grey if asked for."""
    height, width = samples.shape
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in samples)
    chunks = [(b"IHDR", struct.pack(">IIBBBBB", width, height, 16, 0, 0, 0, 0))]
    chunks += [] if key is None else [(b"tRNS", struct.pack(">H", key))]
    chunks += [(b"IDAT", zlib.compress(rows)), (b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        for kind, data in chunks
    )


RAMP = np.arange(0, 65536, 257 // 4, dtype=np.uint16)[:1020].reshape(30, 34)


def test_deep_png_is_scaled():
    assert np.array_equal(pixels(deep_png(RAMP)), grey3(scaled(RAMP)))


def test_deep_png_with_a_transparent_grey():
    key = int(RAMP[10, 10])
    wanted = grey3(scaled(RAMP))
    wanted[key == RAMP] = (0, 255, 0)
    assert np.array_equal(pixels(deep_png(RAMP, key), background=(0, 255, 0)), wanted)


def test_maxval_of_a_pgm_is_white():
    samples = np.arange(0, 1024, dtype=">u2").reshape(32, 32)
    found = pixels(b"P5 32 32 1023\n" + samples.tobytes())
    assert np.abs(found.astype(int) - grey3(scaled(samples, 1023))).max() <= 1  # rounded twice
    assert found.max() == 255


def grey_tiff(data, bits, size, photometric=1, sample_format=1):
    """A little-endian TIFF of one strip."""
    tags = [(256, size[0]), (257, size[1]), (258, bits), (259, 1), (262, photometric)]
    tags += [(273, 8), (277, 1), (278, size[1]), (279, len(data)), (339, sample_format)]
    entries = b"".join(struct.pack("<HHII", tag, 4, 1, value) for tag, value in tags)
    head = b"II*\0" + struct.pack("<I", 8 + len(data)) + data
    return head + struct.pack("<H", len(tags)) + entries + bytes(4)


def test_twelve_bits_in_a_tiff():
    packed = np.packbits(np.array([[0, 4095, 2048, 16]] * 2)[:, :, None] >> np.arange(12)[::-1] & 1)
    found = pixels(grey_tiff(packed.tobytes(), 12, (4, 2)))
    assert np.array_equal(found[0, :, 0], [0, 255, 128, 1])


def test_white_is_zero_in_a_deep_tiff():
    found = pixels(grey_tiff(RAMP.tobytes(), 16, RAMP.shape[::-1], photometric=0))
    assert np.array_equal(found, grey3(scaled(65535 - RAMP.astype(int))))


@pytest.mark.parametrize("photometric", [0, 1])
def test_floating_point_tiff(photometric):
    samples = np.linspace(0, 1, 12, dtype="<f4").reshape(3, 4)
    found = pixels(grey_tiff(samples.tobytes(), 32, (4, 3), photometric, sample_format=3))
    wanted = samples if photometric else 1 - samples
    assert np.array_equal(found, grey3(np.floor(wanted.astype(float) * 255 + 0.5)))


@pytest.mark.parametrize(
    ("samples", "sample_format", "reason"),
    [
        (np.array([[0, 255]], "<f4"), 3, "floating-point samples from 0 to 255"),
        (np.array([[0, np.nan]], "<f4"), 3, "NaN"),
        (np.array([[-0.5, 1]], "<f4"), 3, "from -0.5 to 1"),
        (np.array([[0, 255]], "<i4"), 2, "32-bit or signed integers"),
    ],
)
def test_samples_without_a_stated_white_are_refused(tmp_path, samples, sample_format, reason):
    path = tmp_path / "samples.tif"
    path.write_bytes(grey_tiff(samples.tobytes(), 32, (2, 1), sample_format=sample_format))
    with pytest.raises(ImageError, match=f"samples.tif'.*{reason}"):
        read_image(path)


@pytest.mark.parametrize("mode", ["1", "L", "P", "RGB", "CMYK"])
def test_black_and_white_stay_so(mode):
    plain = Image.fromarray(np.array([[0, 255]], "u1")).convert("RGB").convert(mode)
    kind = "TIFF" if mode == "CMYK" else "PNG"
    assert np.array_equal(pixels(saved(plain, kind)), [[[0] * 3, [255] * 3]])


def test_first_frame_of_many():
    frames = [Image.new("RGB", (4, 4), colour) for colour in ("red", "lime", "blue")]
    for kind in ("GIF", "PNG", "TIFF", "WEBP"):
        options = {"lossless": True} if kind == "WEBP" else {}
        data = saved(frames[0], kind, save_all=True, append_images=frames[1:], **options)
        assert np.array_equal(pixels(data), np.full((4, 4, 3), (255, 0, 0)))


def test_background_shows_where_transparent():
    clear = np.zeros((2, 2, 4), "u1")
    clear[0, 0] = (10, 20, 30, 255)
    for source in (clear, saved(Image.fromarray(clear), "PNG")):
        found = pixels(source, background=(1, 2, 3))
        assert found[0, 0].tolist() == [10, 20, 30]
        assert found[1, 1].tolist() == [1, 2, 3]
        assert pixels(source)[1, 1].tolist() == [255, 255, 255]


@pytest.mark.parametrize("background", [(255, 255), (0, 0, 256), (-1, 0, 0), (0.5, 0, 0)])
def test_background_must_be_a_colour(background):
    with pytest.raises(InvalidArgument, match="is no colour"):
        read_image(np.zeros((2, 2), "u1"), background=background)


def shapes(*channels):
    sides = st.tuples(st.integers(1, 5), st.integers(1, 5))
    return st.builds(lambda side, tail: side + tail, sides, st.sampled_from(channels))


ANY_SHAPE = shapes((), (1,), (3,), (4,))


@settings(max_examples=60, deadline=None)
@given(
    st.one_of(
        hnp.arrays(np.uint8, ANY_SHAPE),
        hnp.arrays(np.dtype(">u2"), ANY_SHAPE),
        hnp.arrays(np.uint16, ANY_SHAPE),
        hnp.arrays(np.float32, ANY_SHAPE, elements=st.floats(0, 1, width=32)),
        hnp.arrays(np.float64, ANY_SHAPE, elements=st.floats(0, 1)),
    ),
    st.tuples(*[st.integers(0, 255)] * 3),
)
def test_arrays_follow_the_rules(array, background):
    white = {1: 255, 2: 65535}.get(array.itemsize, 1)
    levels = np.vectorize(lambda x: int(Fraction(float(x)) * 255 / white + Fraction(1, 2)))(array)
    alpha = levels[:, :, 3] if levels.shape[2:] == (4,) else np.full(levels.shape[:2], 255)
    colours = np.broadcast_to(levels.reshape(*levels.shape[:2], -1)[:, :, :3], (*alpha.shape, 3))
    before = array.copy()
    found = pixels(array, background=background)
    # a float product next to a half may fall on either side of it
    allowed = 1 if array.dtype.kind == "f" else 0
    assert np.abs(found.astype(int) - over(colours, alpha, background)).max() <= allowed
    assert np.array_equal(array, before)
    assert probe_image(array) == array.shape[:2]


@settings(max_examples=30, deadline=None)
@given(hnp.arrays(np.uint8, shapes((), (3,), (4,))))
def test_array_and_its_file_agree(array):
    assert np.array_equal(pixels(array), pixels(saved(Image.fromarray(array), "PNG")))


def test_picture_does_not_share_the_array():
    array = np.zeros((4, 4, 3), "u1")
    picture = read_image(array)
    array[:] = 255
    assert np.asarray(picture).max() == 0


@pytest.mark.parametrize(
    ("array", "reason"),
    [
        (np.zeros((3, 4, 4, 3), "u1"), "Its shape must be"),
        (np.zeros((4,), "u1"), "Its shape must be"),
        (np.zeros((4, 4, 2), "u1"), "Its shape must be"),
        (np.zeros((3, 40, 40), "u1"), "moveaxis"),
        (np.zeros((0, 4), "u1"), "Its shape must be"),
        (np.zeros((4, 4), "i8"), "uint8"),
        (np.zeros((4, 4), bool), "uint8"),
        (np.full((4, 4), np.nan), "NaN"),
        (np.full((4, 4), np.inf), "from inf to inf"),
        (np.full((4, 4), 1.001), "only 0"),
        (np.full((4, 4), -0.001), "only 0"),
    ],
)
def test_arrays_that_are_no_images_are_refused(array, reason):
    for function in (read_image, probe_image):
        with pytest.raises(ImageError, match=rf"The array of shape \(.*{reason}"):
            function(array)


def test_files_that_are_no_images(tmp_path):
    (tmp_path / "text.jpg").write_text("not a picture\n")
    (tmp_path / "empty.png").touch()
    (tmp_path / "header.png").write_bytes(turned("PNG", 1)[:8])
    (tmp_path / "table.jpg").write_bytes(b"\x89HDF\r\n\x1a\n" + bytes(99))
    (tmp_path / "folder.jpg").mkdir()
    reasons = {
        "text.jpg": "is not an image",
        "empty.png": "is empty",
        "header.png": "begins as PNG, but it is truncated",
        "missing.jpg": "does not exist",
        "folder.jpg": "is a directory",
    }
    for function in (read_image, probe_image):
        for name, reason in reasons.items():
            with pytest.raises(ImageError, match=f"{name}' {reason}"):
                function(str(tmp_path / name))
    with pytest.raises(ImageError, match=r"table\.jpg' is of a kind that Pillow cannot draw"):
        read_image(tmp_path / "table.jpg")
    with pytest.raises(ImageError, match="The image of 0 bytes is empty"):
        read_image(b"")


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root reads anything")
def test_unreadable_file(tmp_path):
    path = tmp_path / "secret.png"
    path.write_bytes(turned("PNG", 1))
    path.chmod(0)
    with pytest.raises(ImageError, match="permission"):
        read_image(path)


def test_other_sources_are_refused():
    with pytest.raises(InvalidArgument, match="A int is no image"):
        read_image(3)


def bomb(width, height):
    """The header of a PNG that claims to be huge."""
    data = bytearray(deep_png(np.zeros((1, 1), np.uint16)))
    data[16:24] = struct.pack(">II", width, height)
    data[29:33] = struct.pack(">I", zlib.crc32(bytes(data[12:29])))
    return bytes(data)


def test_too_many_pixels():
    for function in (read_image, probe_image):
        with pytest.raises(ImageError, match=r"has 400,000,000 pixels.*max_pixels=400000000"):
            function(bomb(20_000, 20_000))
        with pytest.raises(ImageError, match=r"limit of 95\..*max_pixels=96"):
            function(turned("PNG", 1), max_pixels=95)
        function(turned("PNG", 1), max_pixels=96)
    # Where Pillow alone would warn, ours is quiet; the fixture makes any warning an error.
    assert probe_image(bomb(10_000, 9_000)) == (9_000, 10_000)
    with pytest.raises(Image.DecompressionBombWarning):
        Image.open(io.BytesIO(bomb(10_000, 9_000)))


@needs_folder
def test_warnings_of_pillow_are_held_back_and_others_are_not():
    with (
        pytest.raises(UserWarning, match="Corrupt EXIF"),
        Image.open(file("hopper_bad_exif.jpg")) as picture,
    ):
        picture.getexif()
    read_image(file("hopper_bad_exif.jpg"))
    with images._without_pillow_warnings(), pytest.raises(UserWarning):
        warnings.warn("ours", stacklevel=1)


@needs_folder
def test_many_threads_read_at_once():
    names = ["hopper.jpg", "hopper_bad_exif.jpg", "truncated_jpeg.jpg", "hopper.Lab.tif", "la.tga"]

    def read(name):
        try:
            return pixels(file(name)).tobytes()
        except ImageError as error:
            return str(error)

    alone = [read(name) for name in names]
    with ThreadPoolExecutor(8) as pool:
        together = list(pool.map(read, names * 20))
    assert together == alone * 20


def test_suffixes_are_pictures_and_cost_nothing_at_import():
    wanted = {".eps", ".jpg", ".jpeg", ".png", ".tif", ".tiff", ".bmp", ".gif", ".webp"}
    assert wanted | {".psd", ".tga", ".pgm", ".ppm", ".mpo"} <= images.SUFFIXES
    assert (".avif" in images.SUFFIXES) == features.check("avif")
    assert not images.SUFFIXES & {".pdf", ".mpg", ".h5", ".hdf", ".grib", ".bufr", ".fits", ".iim"}
    assert all(suffix.startswith(".") and suffix == suffix.lower() for suffix in images.SUFFIXES)
    code = "import sys, thingsvision.images; sys.exit('PIL.TgaImagePlugin' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)
    with pytest.raises(AttributeError, match="no attribute 'NOTHING'"):
        _ = images.NOTHING
