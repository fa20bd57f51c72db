"""The paper's interface and that of version 2 translate, call the core once, and translate back."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

import thingsvision

SOURCE = Path(thingsvision.__file__).parent
FACES = ["vision.py", "vision_models.py", "model_class.py", "version2.py",
         "version2_data.py"]  # fmt: skip
# What computes, decides at length or guards belongs into the core, where it has its own tests.
HEAVY = (ast.While, ast.Try, ast.AsyncFor)
MOST_STATEMENTS = 12


def functions(file: str) -> Iterator[ast.FunctionDef]:
    for node in ast.walk(ast.parse((SOURCE / file).read_text(encoding="utf-8"))):
        if isinstance(node, ast.FunctionDef):
            yield node


CASES = [pytest.param(node, id=f"{file}:{node.name}") for file in FACES for node in functions(file)]


def statements(node: ast.FunctionDef) -> list[ast.stmt]:
    is_text = [isinstance(s, ast.Expr) and isinstance(s.value, ast.Constant) for s in node.body]
    body = [statement for statement, text in zip(node.body, is_text, strict=True) if not text]
    return [inner for s in body for inner in ast.walk(s) if isinstance(inner, ast.stmt)]


@pytest.mark.parametrize("node", CASES)
def test_a_function_is_short_and_plain(node: ast.FunctionDef) -> None:
    found = statements(node)
    assert len(found) <= MOST_STATEMENTS, f"{len(found)} statements"
    heavy = [type(inner).__name__ for inner in found if isinstance(inner, HEAVY)]
    assert not heavy
    loops = [s for s in found if isinstance(s, ast.For)]
    assert len(loops) <= 1, "more than one loop"
    for loop in loops:
        assert not [s for s in ast.walk(loop) if isinstance(s, ast.For) and s is not loop]


@pytest.mark.parametrize("file", FACES)
def test_no_frameworks_and_no_files_of_their_own(file: str) -> None:
    tree = ast.parse((SOURCE / file).read_text(encoding="utf-8"))
    imported = {
        alias.name.partition(".")[0]
        for node in ast.walk(tree)
        if isinstance(node, ast.Import)
        for alias in node.names
    }
    assert not imported & {"torch", "tensorflow", "keras", "h5py", "scipy", "matplotlib"}
    called = {node.attr for node in ast.walk(tree) if isinstance(node, ast.Attribute)}
    assert not called & {"open", "loadtxt", "savetxt", "load", "save", "corrcoef", "linalg"}


def test_the_check_sees_what_is_not_thin() -> None:
    thick = "def f(x):\n" + "    x = x + 1\n" * (MOST_STATEMENTS + 1)
    (node,) = ast.parse(thick).body
    assert isinstance(node, ast.FunctionDef)
    with pytest.raises(AssertionError):
        test_a_function_is_short_and_plain(node)
