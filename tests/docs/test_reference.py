"""The reference pages hold every verb with its options, and every public name."""

from __future__ import annotations

from pathlib import Path

import click
import pytest

import thingsvision
from thingsvision.cli import main

REFERENCE = Path(__file__).parents[2] / "docs" / "reference"


@pytest.mark.parametrize("name", main.commands)
def test_a_verb_has_its_manual_page(name: str) -> None:
    page = (REFERENCE / "command-line.md").read_text(encoding="utf-8")
    section = page.partition(f"## `thingsvision {name}`")[2].partition("\n## ")[0]
    options = [
        option
        for parameter in main.commands[name].params
        if isinstance(parameter, click.Option) and not parameter.hidden
        for option in parameter.opts
    ]
    missing = [option for option in options if option not in section]
    assert section and not missing, f"run python docs/make_reference.py; missing: {missing}"


@pytest.mark.parametrize("name", thingsvision.__all__)
def test_a_public_name_has_its_section(name: str) -> None:
    page = (REFERENCE / "python.md").read_text(encoding="utf-8")
    section = page.partition(f"## `{name}`")[2].partition("\n## ")[0]
    sentence = (getattr(thingsvision, name).__doc__ or "").strip().partition("\n")[0]
    assert sentence in section, "run python docs/make_reference.py"
