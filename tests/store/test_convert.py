from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner

from thingsvision import extract_features, open_features
from thingsvision.cli import main
from thingsvision.errors import InvalidArgument, StoreError
from thingsvision.store import STORES, convert, records
from thingsvision.store.convert import convert_features
from thingsvision.testing import toy_network

Numbered = Callable[[int], np.ndarray]
FORMATS = [name for name in STORES if name not in STORES.missing()]
MODULES = ["thin", "fc"]


def extract(out: Path, images: Any, **options: Any) -> Any:
    return extract_features(toy_network(), images, MODULES, out=out, batch_size=2, **options)


def contents(folder: Path) -> dict[str, bytes]:
    files = [path for path in folder.rglob("*") if path.is_file()]
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in files}


@pytest.mark.parametrize("format", FORMATS)
def test_there_and_back(format: str, numbered: Numbered, tmp_path: Path) -> None:
    wanted = extract(tmp_path / "npy", numbered(7))
    there = convert_features(tmp_path / "npy", tmp_path / "there", format)
    back = convert_features(tmp_path / "there", tmp_path / "back", "npy")
    for module in MODULES:
        assert np.array_equal(there[module], wanted[module])
        assert np.array_equal(back[module], wanted[module])
        assert back[module].ids == wanted[module].ids and back[module].axes == wanted[module].axes
    old, new = contents(tmp_path / "npy"), contents(tmp_path / "back")
    assert {k: v for k, v in old.items() if k != "meta.json"} == {
        k: v for k, v in new.items() if k != "meta.json"
    }
    direct = tmp_path / "direct"
    extract(direct, numbered(7), format=format)
    arrays, converted = contents(direct), contents(tmp_path / "there")
    del arrays["meta.json"], converted["meta.json"]
    assert arrays == converted


def test_a_converted_folder_is_known_as_the_request_it_came_from(
    numbered: Numbered, tmp_path: Path
) -> None:
    extract(tmp_path / "npy", numbered(4))
    convert_features(tmp_path / "npy", tmp_path / "h5", "hdf5")
    again = extract(tmp_path / "h5", numbered(4), format="hdf5")
    assert again.provenance["converted"] == {"from": "npy"}  # nothing was computed anew
    with pytest.raises(StoreError, match="other stimuli: 1 stimulus gone: 000003"):
        extract(tmp_path / "h5", numbered(3), format="hdf5")


def test_rows_are_copied_a_few_at_a_time(
    numbered: Numbered, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    extract(tmp_path / "npy", numbered(7))
    monkeypatch.setattr(convert, "BLOCK", 1)
    written = []
    original = STORES["hdf5"].write
    monkeypatch.setattr(
        STORES["hdf5"], "write", lambda self, start, *rest: written.append(start)
        or original(self, start, *rest),
    )  # fmt: skip
    convert_features(tmp_path / "npy", tmp_path / "h5", "hdf5")
    assert written == [0, 2, 4, 6]


def test_what_cannot_be_converted_is_refused(numbered: Numbered, tmp_path: Path) -> None:
    extract(tmp_path / "npy", numbered(4))
    with pytest.raises(InvalidArgument, match="over themselves"):
        convert_features(tmp_path / "npy", tmp_path / "npy", "hdf5")
    with pytest.raises(StoreError, match="no folder of features"):
        convert_features(tmp_path, tmp_path / "out", "hdf5")
    meta = records.read_meta(tmp_path / "npy")
    records.write_meta(tmp_path / "npy", {**meta, "status": records.UNFINISHED})
    with pytest.raises(StoreError, match="unfinished"):
        convert_features(tmp_path / "npy", tmp_path / "out", "hdf5")


def test_the_verb(numbered: Numbered, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    wanted = extract(Path("features"), numbered(4))
    result = CliRunner().invoke(main, ["convert", "features", "--to", "mat"])
    assert result.exit_code == 0 and "features-mat/fc.mat" in result.output
    assert np.array_equal(open_features("features-mat")["fc"], wanted["fc"])
    result = CliRunner().invoke(main, ["convert", "features", "--to", "matt"])
    assert result.exit_code and "mat" in result.output and "Traceback" not in result.output
