"""Small files that people write: whatever is wrong with them is said, with the next step."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from thingsvision.errors import InvalidArgument, StimulusError
from thingsvision.text_files import read_text, reason_of

STEP = "Give a text file with one id on each line."


def said(path: Path) -> str:
    with pytest.raises(StimulusError) as refused:
        read_text(path, "list of ids", STEP, StimulusError)
    message = str(refused.value)
    assert repr(str(path)) in message and message.endswith(STEP)
    assert "Errno" not in message
    return message


def test_text_is_read_as_it_is(tmp_path: Path) -> None:
    (tmp_path / "ids.txt").write_bytes("\ufeffé.jpg\r\nb.jpg".encode())
    assert read_text(tmp_path / "ids.txt", "list", STEP) == "é.jpg\r\nb.jpg"


def test_what_is_no_text_file(tmp_path: Path) -> None:
    (tmp_path / "ids.txt").touch()
    (tmp_path / "binary.txt").write_bytes(bytes(range(256)))
    assert "There is no list of ids" in said(tmp_path / "id.txt")
    assert "Beside it: ids.txt, binary.txt." in said(tmp_path / "id.txt")
    assert f"There is no folder {str(tmp_path / 'no')!r}" in said(tmp_path / "no" / "id.txt")
    assert "is a folder, not a list of ids" in said(tmp_path)
    assert "is no UTF-8 text; save it as UTF-8" in said(tmp_path / "binary.txt")
    assert "cannot be read" in said(tmp_path / "ids.txt" / "within")


def test_the_class_of_the_error_is_the_callers(tmp_path: Path) -> None:
    with pytest.raises(InvalidArgument):
        read_text(tmp_path / "none", "list", STEP)


def test_reasons_have_no_numbers_of_the_system() -> None:
    full = os.strerror(errno.ENOSPC)
    assert reason_of(OSError(errno.ENOSPC, full, "a.npy")) == full
    assert reason_of(ValueError("two words.")) == "two words"
    assert reason_of(ValueError()) == "ValueError"
    assert "Python objects" in reason_of(ValueError("set allow_pickle=True"))
