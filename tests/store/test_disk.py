"""Empty folders that are removed, and written bytes that the system need not keep in memory."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from thingsvision.store.disk import let_go, without_empty_folders


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


@pytest.mark.skipif(not hasattr(os, "posix_fadvise"), reason="this system takes no such advice")
def test_what_is_let_go_stays_in_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise OSError("not on this file system")

    with (tmp_path / "file").open("wb", buffering=0) as file:
        file.write(b"first ")
        let_go(file.fileno())
        file.write(b"second")
        monkeypatch.setattr(os, "posix_fadvise", refuse)
        let_go(file.fileno())
        monkeypatch.delattr(os, "posix_fadvise")  # macOS, Windows
        let_go(file.fileno())
    assert (tmp_path / "file").read_bytes() == b"first second"
