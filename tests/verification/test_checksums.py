"""Checksums of what was written: whatever changes afterwards is found, in every format."""

from __future__ import annotations

import json
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from thingsvision.engines.shard import extract_shard
from thingsvision.errors import ThingsvisionWarning
from thingsvision.extraction import extract_features
from thingsvision.store import STORES, open_features
from thingsvision.store.convert import convert_features
from thingsvision.testing import toy_network
from thingsvision.verification import verify_features

Numbered = Callable[[int], np.ndarray]
FORMATS = [name for name in STORES if name not in STORES.missing()]


def result(folder: Path, images: Any) -> tuple[str, str]:
    found = verify_features(folder, images, 0, network=toy_network())
    [check] = [check for check in found.checks if check.what == "checksums"]
    return check.result, check.says


@pytest.mark.parametrize("format", FORMATS)
def test_every_format_holds_what_was_written(
    numbered: Numbered, tmp_path: Path, format: str
) -> None:
    options: dict[str, Any] = {"out": tmp_path, "format": format, "batch_size": 3}
    features = extract_features(toy_network(), numbered(8), ["thin", "fc"], **options)
    sums = json.loads((tmp_path / "meta.json").read_text(encoding="utf-8"))["checksums"]
    for start, word in zip(range(0, 8, 3), sums, strict=True):
        rows = [np.asarray(features[name])[start : start + 3] for name in ("thin", "fc")]
        assert word == ",".join(f"{zlib.crc32(array.tobytes()):08x}" for array in rows)
    assert result(tmp_path, numbered(8)) == ("ok", "every number is what was written")


@pytest.mark.parametrize("format", ["npy", "hdf5"])
def test_a_flipped_bit_is_found_and_named(numbered: Numbered, tmp_path: Path, format: str) -> None:
    options: dict[str, Any] = {"out": tmp_path, "format": format, "batch_size": 3}
    features = extract_features(toy_network(), numbered(8), ["thin", "fc"], **options)
    value = np.asarray(features["fc"])[4, 2].tobytes()
    file = next(path for path in tmp_path.iterdir() if path.stem == "fc")
    data = bytearray(file.read_bytes())
    place = data.index(np.asarray(features["fc"])[4].tobytes()) + 8
    assert bytes(data[place : place + 4]) == value
    data[place] ^= 1  # the lowest bit of one number
    file.write_bytes(data)
    said, words = result(tmp_path, numbered(8))
    assert said == "wrong" and "fc (3 to 5)" in words and "thin" not in words


def test_nan_is_one_whatever_its_bits(numbered: Numbered, tmp_path: Path) -> None:
    network = toy_network()
    for weight in vars(network.model).values():
        if isinstance(weight, np.ndarray):
            weight[...] = np.float32(-np.nan)
    with pytest.warns(ThingsvisionWarning, match="NaN"):
        extract_features(network, numbered(4), "fc", out=tmp_path / "txt", format="txt")
    assert np.isnan(np.asarray(open_features(tmp_path / "txt")["fc"])).any()
    assert result(tmp_path / "txt", numbered(4))[0] == "ok"


def test_they_come_along(numbered: Numbered, tmp_path: Path) -> None:
    for number in (2, 1):
        extract_shard(toy_network(), numbered(7), "fc", (number, 2), out=tmp_path / "shards",
                      batch_size=2)  # fmt: skip
    assert result(tmp_path / "shards", numbered(7))[0] == "ok"
    convert_features(tmp_path / "shards", tmp_path / "mat", "mat")
    assert result(tmp_path / "mat", numbered(7))[0] == "ok"


def test_mended_rows_have_new_ones(image_folder: Callable[..., Path], tmp_path: Path) -> None:
    images = image_folder([f"{row}.png" for row in range(5)])
    whole = (images / "3.png").read_bytes()
    (images / "3.png").write_bytes(whole[:-30])
    with pytest.warns(ThingsvisionWarning, match="could not be decoded"):
        extract_features(toy_network(), images, "fc", out=tmp_path / "out", batch_size=2)
    assert result(tmp_path / "out", images)[0] == "ok"
    (images / "3.png").write_bytes(whole)
    extract_features(toy_network(), images, "fc", out=tmp_path / "out", batch_size=2)
    assert result(tmp_path / "out", images)[0] == "ok"


def test_features_of_an_earlier_version_have_none(numbered: Numbered, tmp_path: Path) -> None:
    extract_features(toy_network(), numbered(4), "fc", out=tmp_path)
    meta = json.loads((tmp_path / "meta.json").read_text(encoding="utf-8"))
    del meta["checksums"]
    (tmp_path / "meta.json").write_text(json.dumps(meta), encoding="utf-8")
    assert result(tmp_path, numbered(4)) == (
        "not checked", "none were recorded when the features were written"
    )  # fmt: skip
