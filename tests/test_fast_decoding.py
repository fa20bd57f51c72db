"""Fast decoding: the geometry of the exact way, from fewer pixels; never mixed with it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import ExifTags, Image

from thingsvision.cli import main
from thingsvision.description import describe_methods
from thingsvision.diff import diff_features
from thingsvision.errors import StoreError, UnknownName
from thingsvision.extraction import extract_features
from thingsvision.images import read_image
from thingsvision.preprocessing import FULL_SIZE, Preprocessing, preprocess
from thingsvision.testing import toy_network
from thingsvision.verification import verify_features

STEPS = Preprocessing(resize=64, crop=56)


def scene(height: int, width: int) -> Image.Image:
    """Draw smooth waves and a bright spot off the centre, so that a shift or a turn shows."""
    y, x = np.mgrid[0:height, 0:width] / min(height, width)
    waves = 128 + 60 * np.sin(9 * x) * np.cos(7 * y)
    spot = 60 * np.exp(-30 * ((x - 0.6) ** 2 + (y - 0.4) ** 2))
    return Image.fromarray(
        np.stack([waves + spot, waves, 255 - waves], -1).round().astype(np.uint8)
    )


def both_ways(path: Path, steps: Preprocessing) -> tuple[np.ndarray, np.ndarray]:
    fast = steps.override(decode="fast")
    picture = read_image(path, suffices=fast.suffices)
    return preprocess(steps, read_image(path)), preprocess(fast, picture)


@pytest.mark.parametrize("turn", [1, 2, 6])
@pytest.mark.parametrize("size", [(300, 500), (512, 256), (129, 128), (40, 70)])
@pytest.mark.parametrize(
    "steps",
    [STEPS, Preprocessing(resize=(60, 50)), Preprocessing(resize=64, interpolation="bicubic"),
     Preprocessing(resize=(64, 64), fit="corner", crop=80),
     Preprocessing(resize=(64, 64), fit="cover", crop=64), Preprocessing(resize=48, crop=80)],
)  # fmt: skip
def test_the_geometry_is_that_of_the_exact_way(
    tmp_path: Path, turn: int, size: tuple[int, int], steps: Preprocessing
) -> None:
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = turn
    path = tmp_path / "scene.jpg"
    scene(*size).save(path, quality=95, exif=exif)
    exact, fast = both_ways(path, steps)
    assert fast.shape == exact.shape
    # A shift by half a pixel of the result would change some of them by more.
    assert np.abs(fast - exact).max() * 255 <= 6
    assert np.abs(fast - exact).mean() * 255 <= 1


def test_a_jpeg_is_decoded_no_larger_than_needed(tmp_path: Path) -> None:
    path = tmp_path / "scene.jpg"
    scene(300, 500).save(path)
    picture = read_image(path, suffices=STEPS.override(decode="fast").suffices)
    assert picture.size == (125, 75) and picture.info[FULL_SIZE] == (300, 500)
    assert read_image(path).size == read_image(path, suffices=STEPS.suffices).size == (500, 300)
    scene(60, 90).save(path)
    assert read_image(path, suffices=STEPS.override(decode="fast").suffices).size == (90, 60)


@pytest.mark.parametrize(
    "steps",
    [Preprocessing(), Preprocessing(crop=20), Preprocessing(resize=64, antialias=False),
     Preprocessing(resize=64, interpolation="nearest")],
)  # fmt: skip
def test_where_nothing_may_be_left_out_the_two_are_the_same(
    tmp_path: Path, steps: Preprocessing
) -> None:
    path = tmp_path / "scene.jpg"
    scene(300, 500).save(path)
    exact, fast = both_ways(path, steps)
    np.testing.assert_array_equal(fast, exact)


def test_other_formats_are_decoded_in_full(tmp_path: Path) -> None:
    path = tmp_path / "scene.png"
    scene(300, 500).save(path)
    exact, fast = both_ways(path, STEPS)
    assert np.abs(fast - exact).max() * 255 <= 1.01, "only what the crop keeps is resized"


@pytest.fixture
def images(tmp_path: Path) -> Path:
    folder = tmp_path / "images"
    folder.mkdir()
    for number in range(4):
        scene(100 + number, 140).save(folder / f"{number}.jpg")
    return folder


def network() -> Any:
    return toy_network().preprocessed(resize=12, crop=(8, 6))


def test_features_of_the_two_ways_are_never_mixed(images: Path, tmp_path: Path) -> None:
    fast = extract_features(network(), images, "fc", out=tmp_path / "fast", decode="fast")
    exact = extract_features(network(), images, "fc", out=tmp_path / "exact")
    assert fast.provenance["preprocessing"]["decode"] == "fast"
    assert exact.provenance["preprocessing"]["decode"] == "exact"
    assert not np.array_equal(fast["fc"], exact["fc"])
    with pytest.raises(StoreError, match=r"preprocessing.decode was .*fast.*, is now .*exact"):
        extract_features(network(), images, "fc", out=tmp_path / "fast")
    reasons = str(diff_features(tmp_path / "fast", tmp_path / "exact"))
    assert "decode" in reasons


def test_it_is_verified_and_described(images: Path, tmp_path: Path) -> None:
    extract_features(network(), images, "fc", out=tmp_path / "fast", decode="fast")
    found = verify_features(tmp_path / "fast", network=network())
    assert found.is_right and found.is_complete, str(found)
    assert "JPEGs were decoded at a reduced size" in describe_methods(tmp_path / "fast")


def test_what_is_no_way_to_decode(images: Path) -> None:
    with pytest.raises(UnknownName, match="way to decode.*fast"):
        extract_features(network(), images, "fc", decode="quick")


def test_on_the_command_line(
    images: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: Any
) -> None:
    monkeypatch.chdir(tmp_path)
    command = ["extract", "torchvision/squeezenet1_1", "images", "-m", "output", "--random",
               "--decode", "fast"]  # fmt: skip
    with pytest.raises(SystemExit) as ended:
        main([*command, "-o", "out", "--dry-run"], prog_name="thingsvision")
    assert not ended.value.code
    assert "fast decoding" in " ".join(capsys.readouterr().out.split())
