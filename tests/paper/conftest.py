from __future__ import annotations

import shutil
from pathlib import Path

import pytest

import thingsvision

PHOTOGRAPHS = Path(thingsvision.__file__).parent / "demo" / "photographs"


@pytest.fixture
def images(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Some of the demo's photographs in folders of classes, in the current folder."""
    for folder in sorted(PHOTOGRAPHS.iterdir()):
        for path in sorted(folder.glob("*.jpg"))[:3]:
            (tmp_path / "images" / folder.name).mkdir(parents=True, exist_ok=True)
            shutil.copy(path, tmp_path / "images" / folder.name)
    monkeypatch.chdir(tmp_path)
    return tmp_path / "images"


@pytest.fixture
def flat(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Some of the photographs in one folder."""
    folder = tmp_path / "flat"
    folder.mkdir()
    for path in sorted(PHOTOGRAPHS.rglob("*.jpg"))[:5]:
        shutil.copy(path, folder)
    monkeypatch.chdir(tmp_path)
    return folder
