"""A place without features names the nearest that have some."""

from __future__ import annotations

from pathlib import Path

import pytest

from thingsvision.diff import diff_features
from thingsvision.errors import InvalidArgument, StoreError
from thingsvision.store import open_features


@pytest.fixture
def stores(tmp_path: Path) -> Path:
    for name in ("alexnet", "resnet18", "resnet50"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "meta.json").write_text("{}")
    (tmp_path / "resnet").mkdir()
    (tmp_path / "notes.txt").touch()
    return tmp_path


def said(folder: Path) -> str:
    with pytest.raises(StoreError) as refused:
        open_features(folder)
    return str(refused.value)


def test_a_path_that_does_not_exist(stores: Path) -> None:
    message = said(stores / "resnet5")
    assert message.startswith(f"There is no folder {str(stores / 'resnet5')!r}. Beside it are ")
    assert "features in: resnet50, resnet18, alexnet." in message
    assert message.endswith("thingsvision extract makes one.")


def test_a_folder_without_features(stores: Path) -> None:
    assert "is no folder of features: it has no meta.json. Beside it" in said(stores / "resnet")
    assert "In it are features in: " in said(stores)


def test_a_file(stores: Path) -> None:
    assert "is a file, not a folder of features. Beside it" in said(stores / "notes.txt")
    (stores / "alexnet" / "fc.npy").touch()
    within = said(stores / "alexnet" / "fc.npy")
    assert f"is a file, not a folder of features. {str(stores / 'alexnet')!r}, around" in within


def test_nothing_is_there(tmp_path: Path) -> None:
    assert "There are no folders of features beside it." in said(tmp_path / "none")
    assert f"There is no folder {str(tmp_path / 'no')!r}, and so" in said(tmp_path / "no" / "one")


def test_diff_names_them_too(stores: Path) -> None:
    with pytest.raises(InvalidArgument, match="features in: resnet50, resnet18"):
        diff_features(stores / "resnet5", stores / "alexnet")
