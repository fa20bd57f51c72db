"""Images that are too large, and names, links, clocks, locales and folders that are odd."""

from __future__ import annotations

import os
import struct
import subprocess
import sys
import threading
import time
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image

import thingsvision
from thingsvision import open_features
from thingsvision.cli import main
from thingsvision.errors import StimulusError, StoreError
from thingsvision.extraction import extract_features
from thingsvision.images import MAX_PIXELS, read_image
from thingsvision.stimuli import load_stimuli
from thingsvision.store import STORES
from thingsvision.testing import toy_network

FORMATS = [name for name in STORES if name not in STORES.missing()]
SOURCE = str(Path(thingsvision.__file__).parents[1])


def white(path: Path, width: int, height: int) -> None:
    """Write a white PNG of one bit a pixel, row by row: small on disk, huge when decoded."""
    packer = zlib.compressobj(9)
    row = b"\0" + b"\xff" * (-(-width // 8))
    pixels = b"".join(packer.compress(row) for _ in range(height)) + packer.flush()
    chunks = [(b"IHDR", struct.pack(">IIBBBBB", width, height, 1, 0, 0, 0, 0)), (b"IDAT", pixels),
              (b"IEND", b"")]  # fmt: skip
    with path.open("wb") as file:
        file.write(b"\x89PNG\r\n\x1a\n")
        for kind, data in chunks:
            file.write(struct.pack(">I", len(data)) + kind + data)
            file.write(struct.pack(">I", zlib.crc32(kind + data)))


def contents(folder: Path) -> dict[str, bytes]:
    files = (path for path in folder.rglob("*") if path.is_file())
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in files}


FACTORY = """
import torch
import thingsvision as tv

def tiny():
    return tv.wrap_model(torch.nn.Sequential(torch.nn.Conv2d(3, 2, 3)), tv.Preprocessing(crop=8))
"""


def test_huge_pictures_are_refused_with_the_override(
    tmp_path: Path, image_folder: Callable[..., Path]
) -> None:
    folder = image_folder(["small.png"])
    white(folder / "huge.png", 30_000, 30_000)
    assert (folder / "huge.png").stat().st_size < 300_000, "a bomb: 900 MB of pixels"
    with pytest.raises(StimulusError) as caught:
        extract_features(toy_network(), folder, "fc", out=tmp_path / "out")
    message = str(caught.value)
    assert "huge.png" in message and "900,000,000 pixels" in message
    assert "178,956,970" in message and "max_pixels=900000000" in message
    assert not (tmp_path / "out").exists()
    network = tmp_path / "tiny.py"
    network.write_text(FACTORY, "utf-8")
    out = str(tmp_path / "out")
    told = CliRunner().invoke(
        main, ["extract", f"{network}:tiny", str(folder), "-m", "0", "-o", out]
    )
    assert told.exit_code == 1 and "max_pixels= is --max-pixels" in told.output
    stimuli = load_stimuli(folder, max_pixels=10**9)
    assert stimuli.sizes == ((30_000, 30_000), (8, 6))
    assert stimuli.select(["small.png"]).max_pixels == stimuli[:1].max_pixels == 10**9


def test_the_override_decodes_and_leaves_pillow_as_it_was(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 1000)
    white(tmp_path / "large.png", 80, 60)
    with pytest.raises(StimulusError, match="has 4,800 pixels, more than the limit of 2,000"):
        _ = load_stimuli(tmp_path).sizes
    seen: list[Any] = []

    def read() -> None:
        for _ in range(30):
            seen.append(read_image(tmp_path / "large.png", max_pixels=MAX_PIXELS + 1).size)

    threads = [threading.Thread(target=read) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert seen == [(80, 60)] * 120 and Image.MAX_IMAGE_PIXELS == 1000
    stimuli = load_stimuli(tmp_path, max_pixels=10**9)
    assert np.asarray(stimuli.image(0)).min() == 255 and stimuli.read(0)[0].size == (80, 60)
    with pytest.raises(StimulusError, match="limit of 4,000"):
        _ = load_stimuli(tmp_path, max_pixels=4000).sizes


@pytest.mark.slow
def test_a_picture_beyond_the_limit_is_really_decoded(tmp_path: Path) -> None:
    white(tmp_path / "large.png", 14_000, 13_000)
    stimuli = load_stimuli(tmp_path, max_pixels=14_000 * 13_000)
    network = toy_network(resize=8, crop=8)
    features = extract_features(network, stimuli, "thin")
    assert np.isfinite(features["thin"][:]).all() and not features.failures


ODD = ("a b.png", "line\nbreak.png", "tab\t'quote\".png", "ü/犬 𝄞.png", "%2F;|$HOME.png", "-o.png")


@pytest.mark.skipif(os.name != "posix", reason="this system allows no such names")
@pytest.mark.parametrize("format", FORMATS)
def test_odd_names_of_files_and_folders(
    image_folder: Callable[..., Path], tmp_path: Path, format: str
) -> None:
    folder = image_folder(ODD, folder="im ages\nü")
    out = tmp_path / "o ut\n犬 %41" / "deeper"
    wanted = extract_features(toy_network(), folder, "fc", batch_size=2)["fc"]
    extract_features(toy_network(), folder, "fc", out=out, format=format, batch_size=2)
    found = open_features(out)["fc"]
    assert found.ids == wanted.ids and set(found.ids) == set(ODD)
    assert np.array_equal(found[:], wanted[:])


@pytest.mark.skipif(os.name != "posix", reason="links need rights on this system")
def test_links_and_loops(image_folder: Callable[..., Path], tmp_path: Path) -> None:
    folder = image_folder(["cat/1.png", "dog/2.png"])
    (folder / "cat" / "loop").symlink_to(folder)
    (folder / "dog" / "self").symlink_to(folder / "dog" / "self")
    (folder / "dog" / "3.png").symlink_to(folder / "cat" / "1.png")
    (tmp_path / "way").symlink_to(folder)
    (tmp_path / "real").mkdir()
    (tmp_path / "out").symlink_to(tmp_path / "real")
    with pytest.warns(thingsvision.errors.ThingsvisionWarning, match="loop"):
        features = extract_features(toy_network(), tmp_path / "way", "fc", out=tmp_path / "out")
    assert features["fc"].ids == ("cat/1.png", "dog/2.png", "dog/3.png")
    assert np.array_equal(features["fc"][0], features["fc"][2])
    assert open_features(tmp_path / "real")["fc"].ids == features["fc"].ids
    (tmp_path / "nowhere").symlink_to(tmp_path / "nowhere")
    with pytest.raises(StoreError, match="nowhere"):
        extract_features(toy_network(), folder / "cat" / "1.png", "fc", out=tmp_path / "nowhere")


IN_A_LOCALE = """
import sys
from thingsvision.extraction import extract_features
from thingsvision.testing import toy_network
extract_features(toy_network(), sys.argv[1], ["thin", "fc"], out=sys.argv[2], format=sys.argv[3],
                 batch_size=2, progress=False)
"""


@pytest.mark.parametrize("format", ["npy", "txt", "csv"])
def test_the_locale_changes_no_byte(
    image_folder: Callable[..., Path], tmp_path: Path, format: str
) -> None:
    if format in STORES.missing():
        pytest.skip(f"{format} needs a package that is absent")
    folder = image_folder(["ü.png", "犬.png", "a.png"])
    extract_features(toy_network(), folder, ["thin", "fc"], out=tmp_path / "here", format=format,
                     batch_size=2)  # fmt: skip
    wanted = contents(tmp_path / "here")
    for name in ("C", "de_DE.UTF-8", "tr_TR.UTF-8"):  # one that is not installed counts as C
        env = {**os.environ, "PYTHONPATH": SOURCE, "LC_ALL": name, "LANG": name, "TZ": "Asia/Tokyo"}
        done = subprocess.run(
            [sys.executable, "-W", "ignore", "-c", IN_A_LOCALE, str(folder), str(tmp_path / name),
             format], capture_output=True, text=True, env=env, timeout=120,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        assert contents(tmp_path / name) == wanted, name


@pytest.mark.parametrize("format", FORMATS)
def test_the_clock_changes_no_byte(
    numbered: Callable[[int], np.ndarray], tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    format: str,
) -> None:  # fmt: skip
    """A clock that is set back during a run, and another year."""

    def extract(out: Path) -> dict[str, bytes]:
        extract_features(toy_network(), numbered(7), ["thin", "fc"], out=out, format=format,
                         batch_size=2)  # fmt: skip
        return contents(out)

    wanted = extract(tmp_path / "now")
    backwards = iter(range(2_000_000_000, 0, -86_400))
    monkeypatch.setattr(time, "time", lambda: float(next(backwards)))
    assert extract(tmp_path / "then") == wanted


@pytest.mark.skipif(os.name != "posix", reason="rights are others on this system")
def test_folders_that_are_read_only(numbered: Callable[[int], np.ndarray], tmp_path: Path) -> None:
    finished, new = tmp_path / "finished", tmp_path / "new"
    extract_features(toy_network(), numbered(4), "fc", out=finished)
    new.mkdir()
    for folder in (finished, new):
        folder.chmod(0o555)
    if os.access(new, os.W_OK):
        pytest.skip("root writes anywhere")
    again = extract_features(toy_network(), numbered(4), "fc", out=finished)
    assert again["fc"].shape == (4, 5)
    for out in (new, new / "below"):
        with pytest.raises(StoreError, match=r"Writing to '.*new.*' failed: .*denied"):
            extract_features(toy_network(), numbered(4), "fc", out=out)


@pytest.mark.skipif(not Path("/proc").is_dir(), reason="this system has no /proc")
def test_a_file_system_that_takes_no_files(numbered: Callable[[int], np.ndarray]) -> None:
    """Also for root, who may write to a folder whatever its rights are."""
    with pytest.raises(StoreError, match="Writing to '/proc/.*' failed"):
        extract_features(toy_network(), numbered(4), "fc", out="/proc/thingsvision")
