"""The program as a whole: help, exit codes, and what becomes of errors and warnings."""

from __future__ import annotations

import logging
import shlex
import subprocess
import sys
import warnings
from pathlib import Path

import click
import pytest

import thingsvision
from thingsvision.cli import main
from thingsvision.errors import InvalidArgument
from thingsvision.zoo.card import ModelCard

from .conftest import Run, needs_weights

EXTRACT = ("extract", "torchvision/alexnet", "images", "-m", "output", "-o", "out")
VERBS = sorted(main.commands)
HEAVY = (
    "numpy",
    "pandas",
    "scipy",
    "torch",
    "torchvision",
    "timm",
    "matplotlib",
    "PIL",
    "jaxtyping",
)


@pytest.fixture
def failing(monkeypatch: pytest.MonkeyPatch) -> dict[str, object]:
    """Let `thingsvision models` do something else."""
    doing: dict[str, object] = {}

    def act(*_: object) -> None:
        action = doing["raise"]
        assert isinstance(action, BaseException)
        raise action

    monkeypatch.setattr("thingsvision.zoo.catalogue.describe_models", act)
    return doing


def python(*args: str, **options: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run(  # type: ignore[call-overload, no-any-return]
        [sys.executable, *args], capture_output=True, text=True, encoding="utf-8", **options
    )


@pytest.mark.parametrize("verb", VERBS)
def test_every_verb_explains_itself_with_examples(run: Run, verb: str) -> None:
    result = run(verb, "--help")
    command = main.commands[verb]
    assert (result.code, result.err) == (0, "")
    assert command.examples  # type: ignore[attr-defined]
    for example in command.examples:  # type: ignore[attr-defined]
        assert example in result.out
    assert all(len(line) <= 80 for line in result.out.splitlines())


@pytest.mark.parametrize("verb", VERBS)
def test_examples_are_accepted_as_they_stand(verb: str) -> None:
    command = main.commands[verb]
    for example in command.examples:  # type: ignore[attr-defined]
        program, name, *args = shlex.split(example)
        assert (program, name) == ("thingsvision", verb)
        command.make_context(name, args)  # raises a UsageError where an option does not exist


@needs_weights
def test_examples_run_one_after_the_other(run: Run, place: Path) -> None:
    for verb in ("models", "model", "modules", "extract", "verify", "methods", "diff", "rdm",
                 "compare", "demo", "doctor"):  # fmt: skip
        for example in main.commands[verb].examples:  # type: ignore[attr-defined]
            result = run(*shlex.split(example)[1:])
            assert result.code == 0, (example, result.err)
            assert result.out


def test_the_program_names_all_verbs(run: Run) -> None:
    result = run("--help")
    assert result.code == 0
    shown = [verb for verb in VERBS if not main.commands[verb].hidden]
    assert len(shown) > 8
    assert all(f"\n  {verb} " in result.out for verb in shown)
    assert "Examples:" in result.out
    assert "..." not in result.out  # no summary is cut
    assert all(len(line) <= 80 for line in result.out.splitlines())


@pytest.mark.parametrize("args", [["--help"], *([verb, "--help"] for verb in VERBS), ["--version"]])
def test_help_imports_nothing_heavy(args: list[str]) -> None:
    code = (
        "import sys\n"
        "from thingsvision.cli import main\n"
        f"try: main({args!r})\n"
        f"except SystemExit: print([name for name in {HEAVY!r} if name in sys.modules])\n"
    )
    done = python("-c", code)
    assert done.stdout.splitlines()[-1] == "[]", done.stderr


def test_version(run: Run) -> None:
    assert run("--version").out == f"thingsvision {thingsvision.__version__}\n"


def test_python_m_is_the_same_program() -> None:
    done = python("-m", "thingsvision", "--help")
    assert done.returncode == 0
    assert done.stdout.startswith("Usage: thingsvision ")


@pytest.mark.parametrize(
    ("typed", "meant"), [("modls", "models"), ("rmd", "rdm"), ("extrct", "extract")]
)
def test_an_unknown_verb_names_the_nearest(run: Run, typed: str, meant: str) -> None:
    result = run(typed)
    assert (result.code, result.out) == (2, "")
    assert f"There is no verb '{typed}'. Nearest: {meant}" in result.err


@pytest.mark.parametrize(
    "args",
    [
        ["extract"],
        ["extract", "alexnet", "images"],
        ["models", "--jsn"],
        ["extract", "alexnet", "images", "-m", "x", "-o", "y", "--crop", "large"],
        ["extract", "alexnet", "images", "-m", "x", "-o", "y", "--batch-size", "many"],
        ["extract", "alexnet", "images", "-m", "x", "-o", "y", "--batch-size", "0"],
        ["extract", "alexnet", "images", "-m", "x", "-o", "y", "--crop", "0"],
        ["extract", "alexnet", "images", "-m", "x", "-o", "y", "--crop", "0x5"],
        ["extract", "alexnet", "images", "-m", "x", "-o", "y", "--resize", "-5"],
        ["rdm", "out", "--images", "images"],
        [*EXTRACT, "--project", "0"],
        [*EXTRACT, "--project", "output=few"],
        [*EXTRACT, "--project", "5", "--project", "6"],
        [*EXTRACT, "--reduction", "a=flatten", "--reduction", "flatten", "--reduction", "a="],
    ],
)
def test_wrong_usage_ends_with_two(run: Run, args: list[str]) -> None:
    result = run(*args)
    assert (result.code, result.out) == (2, "")
    assert "Error: " in result.err
    assert "Traceback" not in result.err


@pytest.mark.parametrize(
    ("option", "value", "nearest"),
    [
        ("--format", "npz", "npy"),
        ("--device", "gpu1", "auto"),
        ("--device", "cud:0", "cuda"),
        ("--reduction", "flaten", "flatten"),
        ("--reduction", "features.*=flat", "flatten"),
        ("--init", "kaiming", "kaiming_normal, kaiming_uniform"),
        ("--interpolation", "bicubik", "bicubic"),
    ],
)
def test_unknown_values_end_with_two_and_the_nearest(
    run: Run, option: str, value: str, nearest: str
) -> None:
    result = run(*EXTRACT, option, value)
    assert (result.code, result.out) == (2, "")
    name = value.rpartition("=")[2]
    said = " ".join(result.err.split())
    assert f"Invalid value for '{option}': There is no" in said
    assert f"'{name}'. Nearest: " in said and nearest in said.partition("Nearest: ")[2]


@pytest.mark.parametrize(
    ("args", "words"),
    [
        (["models", "zebranet*"], "There is no model 'zebranet*'. Nearest:"),
        (["models", "--source", "torchvison"], "Nearest: torchvision"),
        (["models", "zebranet*", "--source", "torchvision"], "'torchvision/zebranet*'. Nearest:"),
        (["model", "alexnot"], "torchvision/alexnet"),
        (["model", "networks.py"], "networks.py:FUNCTION. It defines make_network, number"),
        (["modules", "networks.py:make"], "'make'. Nearest: make_network"),
        (["modules", "networks.py:number"], "networks.py, line 13: ZeroDivisionError: division by"),
        (["modules", "networks.py:Net"], "Net() in networks.py returned a Net, not a network"),
        (["modules", "torchvision/alexnet", "--text"], "torchvision/alexnet takes images only"),
        ([*EXTRACT, "--init", "orthogonal"], "pretrained=False is --random"),
        ([*EXTRACT, "--init", "orthogonal", "--dry-run"], "pretrained=False is --random"),
        (["modules", "torchvision/alexnet", "features.99"], "Nearest: features.9"),
        (["extract", "alexnet", "nowhere", "-m", "x", "-o", "y"], "no folder or file 'nowhere'"),
        (["extract", "alexnet", "images", "-m", "featres.1", "-o", "y", "--random"], "features.1"),
        (["extract", "alexnet", "images", "-m", "x", "-o", "y", "--weights", "a.pth"], "a.pth"),
        (["rdm", "nowhere"], "thingsvision extract makes one"),
        (["compare", "nowhere.npz", "nowhere.npz"], "no file or folder 'nowhere.npz'"),
        (["compare", "images", "images"], "There are no RDMs in 'images'"),
    ],
)
def test_a_mistake_gives_a_paragraph(run: Run, place: Path, args: list[str], words: str) -> None:
    result = run(*args)
    assert (result.code, result.out) == (1, "")
    assert words in " ".join(result.err.split())
    assert result.err.startswith("Error: ")
    assert "Traceback" not in result.err


@pytest.mark.parametrize("args", [["--debug", "models"], ["models", "--debug"]])
def test_debug_shows_where_a_mistake_comes_from(
    run: Run, failing: dict[str, object], args: list[str]
) -> None:
    failing["raise"] = InvalidArgument("too blue")
    result = run(*args)
    assert result.code == 1
    assert "Traceback" in result.err
    assert result.err.endswith("Error: too blue\n")


def test_the_unforeseen_is_one_line_and_an_advice(run: Run, failing: dict[str, object]) -> None:
    failing["raise"] = ZeroDivisionError("by nought\nand more")
    result = run("models")
    assert result.code == 1
    assert result.err.splitlines()[0] == "Error: ZeroDivisionError: by nought"
    assert "--debug" in result.err
    assert "Traceback" not in result.err
    assert "Traceback" in run("models", "--debug").err


def test_an_interrupt_is_one_line(run: Run, failing: dict[str, object]) -> None:
    failing["raise"] = KeyboardInterrupt()
    assert run("models") == (130, "", "Stopped.\n")


def test_long_messages_are_wrapped(run: Run, failing: dict[str, object]) -> None:
    failing["raise"] = InvalidArgument("word " * 60 + "\n  an indented line")
    lines = run("models").err.splitlines()
    assert max(map(len, lines)) <= 80
    assert lines[-1] == "  an indented line"


def test_wrong_usage_is_wrapped(run: Run) -> None:
    lines = run(*EXTRACT, "--reduction", "nope").err.splitlines()
    assert max(map(len, lines)) <= 80
    assert "There is no reduction 'nope'." in " ".join(lines)


def test_a_wrong_batch_size_says_which_are_allowed(run: Run) -> None:
    result = run(*EXTRACT, "--batch-size", "0")
    assert "allowed are whole numbers from 1 on, and auto" in " ".join(result.err.split())


def test_warnings_and_messages_are_plain_lines_said_once(
    run: Run, place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (place / "images" / "notes.txt").touch()

    def chat(*_: object) -> dict[str, ModelCard]:
        for _unused in range(2):
            thingsvision.load_stimuli("images")
        warnings.warn("theirs", stacklevel=2)
        logging.getLogger("library").warning("theirs too")
        logging.getLogger("thingsvision").info("ours")
        return {"mine/net": ModelCard("mine/net")}

    monkeypatch.setattr("thingsvision.zoo.catalogue.describe_models", chat)
    monkeypatch.setattr("thingsvision.zoo.catalogue.missing_sources", lambda *_: [])
    monkeypatch.setattr("thingsvision.zoo.catalogue.open_sources", lambda *_: [])
    note, last = run("models").err.splitlines()
    assert note.startswith("Note: ") and "notes.txt" in note
    assert last == "ours"
    assert "theirs" in run("models", "--debug").err
    assert not logging.getLogger("thingsvision").handlers


def test_a_closed_pipe_is_no_error() -> None:
    command = [sys.executable, "-m", "thingsvision", "models", "--json"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout is not None and process.stderr is not None
        process.stdout.close()
        assert process.stderr.read() == b""


def test_the_group_is_a_click_command() -> None:
    assert isinstance(main, click.Group)
