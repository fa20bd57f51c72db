"""What all verbs share: examples in the help, the options of tables, and ``--debug``."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import click

# Keys of what the verbs tell the program, in click's context: whether to show tracebacks, and the
# function that says what is kept after Ctrl-C.
DEBUG, AFTER_INTERRUPT = "thingsvision.debug", "thingsvision.after_interrupt"
# A row, or the first and the last of several.
ROWS = re.compile(r"[0-9]+(-[0-9]+)?")


class Verb(click.Command):
    """A command that takes ``--debug`` and ends its help with examples.

    Parameters
    ----------
    examples : sequence of str
        Command lines that can be run as they stand.
    words : dict of str to str
        What the function calls otherwise than the option is called, ``{"--random": "seed="}``;
        empty where no message speaks of the option.
    """

    def __init__(
        self,
        *args: Any,
        examples: Sequence[str] = (),
        words: Mapping[str, str] | None = None,
        **options: Any,
    ) -> None:
        super().__init__(*args, **options)
        self.examples = tuple(examples)
        self.words = dict(words or {})
        self.params.append(debug_option())

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the examples, unwrapped, so that they can be copied."""
        write_examples(formatter, self.examples)


def write_examples(formatter: click.HelpFormatter, examples: Sequence[str]) -> None:
    """Write command lines at the end of a help text."""
    with formatter.section("Examples"):
        for example in examples:
            formatter.write(f"{'':>{formatter.current_indent}}{example}\n")


def debug_option() -> click.Option:
    """Make the option that shows where an error comes from."""

    def remember(ctx: click.Context, _: click.Parameter, value: bool) -> None:
        if value:
            ctx.find_root().meta[DEBUG] = True

    return click.Option(
        ["--debug"],
        is_flag=True,
        expose_value=False,
        callback=remember,
        help="Show the traceback of an error, and all messages.",
    )


def read_folder(ctx: click.Context, param: click.Parameter, value: str) -> str:
    """Refuse a file where a folder is to be written to, or to lie in."""
    folder = Path(value).expanduser()
    if file := next((str(one) for one in (folder, *folder.parents) if one.is_file()), None):
        inside = "" if folder.is_file() else f", so that no folder can lie in it: {value!r}"
        raise click.BadParameter(
            f"{file!r} is a file{inside}. Give a folder; it is made where there is none."
        )
    return value


def read_rows(ctx: click.Context, param: click.Parameter, value: str | None) -> list[int] | None:
    """Read numbers of rows: ``0-99``, ``0,5,9``, or a text file of such numbers."""
    if value is None:
        return None
    file = Path(value).expanduser()
    is_file = not ROWS.fullmatch(value) and file.is_file()
    text = file.read_text(encoding="utf-8-sig", errors="replace") if is_file else value
    parts = text.replace(",", " ").split()
    where = f" in {value}" if is_file else ""
    rows: list[int] = []
    for part in parts:
        if not ROWS.fullmatch(part):
            raise click.BadParameter(
                f"{part!r}{where} is no number of a row{'' if is_file else ', and no text file'}. "
                "Give 0-99 (both included), 0,5,9, or a text file with one number a line."
            )
        first, _, last = part.partition("-")
        if last and int(last) < int(first):
            raise click.BadParameter(f"{part!r}{where} ends before it begins.")
        rows += range(int(first), int(last or first) + 1)
    if not rows:
        raise click.BadParameter(f"there are no rows in {value!r}.")
    return rows


def one_of(what: str, names: Callable[[], Iterable[str]]) -> Callable[..., str | None]:
    """Make the callback of an option that takes one of several names, and shows the nearest.

    Parameters
    ----------
    what : str
        What the names stand for, in the singular.
    names : callable
        Gives them; it is called when the option is given.
    """

    def check(ctx: click.Context, param: click.Parameter, value: str | None) -> str | None:
        if value is not None:
            require_name(what, value, names())
        return value

    return check


def require_name(what: str, value: str, names: Iterable[str]) -> None:
    """Refuse a name that is none of several, as a mistake in the command line."""
    from ..errors import unknown

    choices = list(names)
    if value not in choices:
        raise click.BadParameter(str(unknown(what, value, choices)))


def table_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """Add ``--json`` and ``--csv``; the function receives ``style``, None for a plain table."""
    for style, words in {"csv": "comma-separated values", "json": "JSON"}.items():
        add = click.option(f"--{style}", "style", flag_value=style, help=f"Print {words}.")
        function = add(function)
    return function
