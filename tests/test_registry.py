from __future__ import annotations

import json
import math
from importlib.metadata import EntryPoint
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from thingsvision import registry
from thingsvision.errors import MissingPackage, ThingsvisionError, UnknownName
from thingsvision.optional import expect, is_installed, require
from thingsvision.registry import Registry, matching


@pytest.fixture
def numbers(monkeypatch: pytest.MonkeyPatch) -> Registry:
    entries = [
        EntryPoint("tau", "math:tau", "group"),
        EntryPoint("pi", "math:e", "group"),
        EntryPoint("broken", "no_such_package:x", "group"),
    ]
    monkeypatch.setattr(registry, "entry_points", lambda group: entries)
    return Registry("number", {"pi": "math:pi", "dumps": "json:dumps"}, group="group")


def test_names_of_builtins_and_plugins(numbers: Registry) -> None:
    assert list(numbers) == ["pi", "dumps", "tau", "broken"] and len(numbers) == 4
    assert "tau" in numbers and "e" not in numbers
    assert numbers["pi"] == math.pi, "a plugin cannot take the name of a builtin"
    assert numbers["tau"] == math.tau and numbers["dumps"] is json.dumps


def test_unknown_name(numbers: Registry) -> None:
    with pytest.raises(UnknownName, match=r"no number 'tua'. Nearest: tau"):
        numbers["tua"]
    with pytest.raises(UnknownName, match="no number None"):
        numbers[None]  # type: ignore[index]


def test_a_broken_plugin_is_named(numbers: Registry) -> None:
    message = r"The number 'broken' \(no_such_package:x\) .*ModuleNotFoundError"
    with pytest.raises(ThingsvisionError, match=message):
        numbers["broken"]
    with pytest.warns(UserWarning, match=message):
        working: dict[str, Any] = dict(numbers.working())
    assert list(working) == ["pi", "dumps", "tau"]


def test_a_plugin_whose_name_is_taken_is_left_out_with_a_warning(numbers: Registry) -> None:
    with pytest.warns(UserWarning, match=r"'pi' \(math:e\) .* left out: that name is taken"):
        assert not numbers.is_optional("pi")


def test_a_broken_optional_package_is_a_warning(tmp_path: Any, monkeypatch: Any) -> None:
    (tmp_path / "in_pieces.py").write_text("raise AttributeError('of stone')")
    monkeypatch.syspath_prepend(tmp_path)
    numbers = Registry("number", {"pi": "math:pi", "x": "in_pieces:x"}, needs={"x": "in_pieces"})
    with pytest.warns(UserWarning, match="'x' of the package 'in_pieces' is broken: AttributeErr"):
        assert list(numbers.working()) == [("pi", math.pi)]
    with pytest.raises(ThingsvisionError, match="Install that package anew: pip install in_pieces"):
        numbers["x"]


def test_what_is_not_installed_is_passed_over_and_listed() -> None:
    numbers = Registry("number", {"pi": "math:pi", "x": "no.such:x"}, needs={"x": "no_such"})
    assert list(numbers.working()) == [("pi", math.pi)]
    assert numbers.missing() == {"x": "no_such"}
    with pytest.raises(MissingPackage, match="'no_such'"):
        numbers["x"]


def test_a_broken_builtin_is_not_hidden() -> None:
    with pytest.raises(ModuleNotFoundError):
        list(Registry("number", {"x": "no_such_package:x"}).working())


def test_only_stars_and_question_marks_are_wild() -> None:
    names = ["a.1", "a.10", "a[0]", "b", "a[!b]", "A.1"]
    assert matching("a.?", names) == ["a.1"]
    assert matching("a*", names) == ["a.1", "a.10", "a[0]", "a[!b]"]
    assert matching("a[0]", names) == ["a[0]"]
    assert matching("a[!b]", names) == ["a[!b]"]
    assert matching("*", names) == names and matching("", names) == []


@given(st.text("ab.[]!-^*?", max_size=6), st.text("ab.[]!-^", max_size=6))
def test_matching_property(pattern: str, name: str) -> None:
    def match(p: str, n: str) -> bool:
        if not p:
            return not n
        if p[0] == "*":
            return match(p[1:], n) or (bool(n) and match(p, n[1:]))
        return bool(n) and p[0] in ("?", n[0]) and match(p[1:], n[1:])

    assert bool(matching(pattern, [name])) == match(pattern, name)


def test_missing_packages_say_how_to_install_them() -> None:
    expect("json")
    with pytest.raises(MissingPackage, match=r"'no_such_package'.*not installed.*pip install no_"):
        expect("no_such_package")
    assert is_installed("json") and not is_installed("no_such_package")
    assert not is_installed("no_such_package.inside")
    with pytest.raises(MissingPackage, match=r"'no_such_package'.*pip install no_such_package"):
        require("no_such_package")
    with pytest.raises(ImportError):
        require("no_such_package")
