"""``Model.show()`` in a real terminal: a pseudo-terminal of the system."""

from __future__ import annotations

import io
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

import thingsvision
from thingsvision.errors import InvalidArgument
from thingsvision.model_class import Model

pty = pytest.importorskip("pty", reason="this system has no pseudo-terminals")
SOURCE = Path(thingsvision.__file__).parents[1]
SCRIPT = """
from thingsvision.model_class import Model
name = Model("alexnet", pretrained=False, device="cpu").show()
print("RETURNED", name)
"""


def in_terminal(answers: list[bytes], timeout: float = 90) -> str:
    """Run the script with a terminal, typing each answer when it asks."""
    ours, theirs = pty.openpty()
    environment = {**os.environ, "PYTHONPATH": str(SOURCE), "TERM": "dumb"}
    process = subprocess.Popen(
        [sys.executable, "-W", "ignore", "-c", SCRIPT], stdin=theirs, stdout=theirs, stderr=theirs,
        env=environment,
    )  # fmt: skip
    os.close(theirs)
    shown, end = b"", time.monotonic() + timeout
    asked = 0
    while time.monotonic() < end:
        try:
            data = os.read(ours, 4096)
        except OSError:  # Linux: the other side has been closed
            break
        if not data:
            break
        shown += data
        if shown.count(b"Enter the part of the model") > asked and asked < len(answers):
            os.write(ours, answers[asked])
            asked += 1
    process.wait(timeout=10)
    os.close(ours)
    return shown.decode().replace("\r\n", "\n")


def test_it_prints_asks_suggests_and_returns() -> None:
    shown = in_terminal([b"features.1O\n", b"\n", b"features.*\n", b"features.10\n"])
    tree, _, dialogue = shown.partition("Enter the part")
    assert "(10): Conv2d(256, 256, kernel_size=(3, 3)" in tree
    assert shown.count("Enter the part of the model") == 4
    assert "features.10" in dialogue.split("Enter the part")[0]  # suggested on the typo
    assert "stands for 13 modules" in dialogue
    assert shown.rstrip().endswith("RETURNED features.10")


def test_the_end_of_the_input_is_a_clear_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO())
    with pytest.raises(InvalidArgument, match=r"Nobody answered.*module_name="):
        Model("alexnet", pretrained=False, device="cpu").show()


def test_a_pipe_may_answer(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture) -> None:
    answers = iter(["clasifier.6", "classifier.6"])
    monkeypatch.setattr("builtins.input", lambda prompt: next(answers))
    assert Model("alexnet", pretrained=False, device="cpu").show() == "classifier.6"
    assert "no module 'clasifier.6'. Nearest: classifier.6" in capsys.readouterr().out
