"""Write docs/reference from help texts and docstrings: python docs/make_reference.py."""

from __future__ import annotations

import inspect
from pathlib import Path

import click

import thingsvision
from thingsvision.cli import main

HERE = Path(__file__).parent / "reference"
HEAD = "<!-- Written by docs/make_reference.py; do not edit. -->\n\n"


def command_line() -> str:
    """Give the help of every verb."""
    parts = [f"{HEAD}# The command line\n"]
    root = click.Context(main, info_name="thingsvision", terminal_width=80, max_content_width=80)
    for name, verb in [("", main), *main.commands.items()]:
        context = click.Context(verb, info_name=name, parent=root) if name else root
        title = f"thingsvision {name}".strip()
        parts.append(f"## `{title}`\n\n```text\n{verb.get_help(context).rstrip()}\n```\n")
    return "\n".join(parts)


def python() -> str:
    """Give the docstring of every public name."""
    parts = [f"{HEAD}# The Python interface\n\nEverything below is `thingsvision.<name>`.\n"]
    for name in sorted(thingsvision.__all__, key=str.lower):
        thing = getattr(thingsvision, name)
        text = f"{name}{inspect.signature(thing)}\n\n{inspect.getdoc(thing)}"
        parts.append(f"## `{name}`\n\n```text\n{text}\n```\n")
    return "\n".join(parts)


PAGES = {"command-line.md": command_line, "python.md": python}

if __name__ == "__main__":
    HERE.mkdir(exist_ok=True)
    for page, write in PAGES.items():
        (HERE / page).write_text(write(), encoding="utf-8")
