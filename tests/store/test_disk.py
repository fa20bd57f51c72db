"""Folders that were made and stayed empty are removed; all others stay."""

from __future__ import annotations

from pathlib import Path

import pytest

from thingsvision.store.disk import without_empty_folders


def test_only_new_and_empty_folders_are_removed(tmp_path: Path) -> None:
    (tmp_path / "old").mkdir()
    with pytest.raises(KeyError), without_empty_folders(
        tmp_path / "old", tmp_path / "new/deep", tmp_path / "full/deep", tmp_path / "never"
    ):  # fmt: skip
        (tmp_path / "new/deep").mkdir(parents=True)
        (tmp_path / "full/deep").mkdir(parents=True)
        (tmp_path / "full/kept.txt").touch()
        raise KeyError
    assert sorted(path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*")) == [
        "full", "full/kept.txt", "old",
    ]  # fmt: skip
