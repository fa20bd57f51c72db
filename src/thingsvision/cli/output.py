"""What the commands print: results on standard output, all else on standard error."""

from __future__ import annotations

import csv
import json
import os
import shutil
import sys
import textwrap
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, redirect_stdout
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from ..features import FeatureSet

# The terminal's width where it has none of its own, and the widest that a sentence is set.
WIDTH, WIDEST_TEXT = 80, 100
GAP = 2
NARROWEST = 8  # of a column that is cut
TINY = 0.001  # numbers below keep two digits of their own, lest they look like nothing
GOES_ON = "What was finished is kept: run the same command again, and it goes on from there."

Row = Mapping[str, Any]


def terminal_width() -> int:
    """Count the columns of the terminal; 80 where there is none."""
    return shutil.get_terminal_size((WIDTH, 24)).columns


def is_terminal() -> bool:
    """Tell whether results go to a terminal, and not into a file or a pipe."""
    return sys.stdout.isatty()


def text_width() -> int:
    """Count the columns that a sentence is set in."""
    return min(terminal_width(), WIDEST_TEXT)


def say(text: str) -> None:
    """Write a message on standard error, wrapped to the terminal."""
    click.echo(wrapped(text, text_width()), err=True)


def show_findings(lines: Sequence[str]) -> None:
    """Print sentences as results, wrapped to the terminal, from the second line on indented.

    Of a name or a path that is longer than a line, the middle is cut.
    """
    width = terminal_width()
    for line in lines:
        words = [shortened(word, width - GAP) for word in line.split(" ")]
        click.echo(wrapped(" ".join(words), width, hanging=GAP))


def wrapped(text: str, width: int, hanging: int = 0) -> str:
    """Wrap each line of a text, keeping its own indentation, and never breaking a word.

    Parameters
    ----------
    text : str
        Lines.
    width : int
        Columns.
    hanging : int
        Columns by which all that follows the first line of a wrapped line is indented further.

    Examples
    --------
    >>> print(wrapped("one two three", 8, hanging=2))
    one two
      three
    """
    lines = []
    for line in text.splitlines():
        margin = " " * (len(line) - len(line.lstrip()))
        lines += textwrap.wrap(
            line.strip(), width, initial_indent=margin, subsequent_indent=margin + " " * hanging,
            break_long_words=False, break_on_hyphens=False,
        ) or [""]  # fmt: skip
    return "\n".join(lines)


def results_alone() -> AbstractContextManager[Any]:
    """Keep what libraries and the user's files print away from the results."""
    return redirect_stdout(sys.stderr)


def show_table(
    rows: Sequence[Row], style: str | None, *, columns: Sequence[str], cut: Sequence[str] = ()
) -> None:
    """Print records as a table.

    Parameters
    ----------
    rows : sequence of dict
        All with the same keys; ``"json"`` and ``"csv"`` show them all.
    style : str or None
        ``"json"``, ``"csv"``, or None for a plain table.
    columns : sequence of str
        Keys that the plain table shows.
    cut : sequence of str
        Columns to shorten where the table is wider than the terminal, in this order; the
        others follow.
    """
    STYLES[style](rows, columns, cut)


def show_record(record: Row, style: str | None) -> None:
    """Print one record, a line (or a few) for each of its values."""
    if style == "json":
        click.echo(_json(record))
    elif style == "csv":
        _print_csv([{"what": key, "value": value} for key, value in record.items()], (), ())
    else:
        margin = max(map(len, record)) + GAP
        for key, value in record.items():
            room = max(NARROWEST, terminal_width() - margin)
            first, *rest = wrapped(_text(value), room).splitlines() or [""]
            click.echo(f"{key:<{margin}}{first}".rstrip())
            for line in rest:
                click.echo(" " * margin + line)


def size_text(n_bytes: float) -> str:
    """Spell a size.

    Examples
    --------
    >>> size_text(1536), size_text(12)
    ('1.5 KB', '12 B')
    """
    for unit in ("B", "KB", "MB", "GB"):
        if n_bytes < 1024:
            return f"{n_bytes:.0f} {unit}" if unit == "B" else f"{n_bytes:.1f} {unit}"
        n_bytes /= 1024
    return f"{n_bytes:.1f} TB"


def duration_text(seconds: float) -> str:
    """Spell a time.

    Examples
    --------
    >>> duration_text(42), duration_text(150), duration_text(100_000)
    ('42 s', '2.5 min', '1 d 4 h')
    """
    if seconds < 100:
        return f"{max(1, round(seconds))} s"
    if seconds < 6000:
        return f"{seconds / 60:.1f} min"
    hours = round(seconds / 3600)
    return f"{seconds / 3600:.1f} h" if hours < 24 else f"{hours // 24} d {hours % 24} h"


def shape_text(shape: Sequence[int]) -> str:
    """Spell a shape.

    Examples
    --------
    >>> shape_text((2, 3))
    '2×3'
    """
    return "×".join(map(str, shape))


def shortened(text: str, width: int) -> str:
    """Cut a text: a name or a path in its middle, other words at their end.

    Examples
    --------
    >>> shortened("backbone.layer4.2.bn3", 12), shortened("AdaptiveAvgPool2d", 8)
    ('backbo…2.bn3', 'Adaptiv…')
    """
    if len(text) <= width:
        return text
    end = (width - 1) // 2 if set("./\\") & set(text) else 0
    return text[: width - 1 - end] + "…" + text[len(text) - end :]


def _print_table(rows: Sequence[Row], columns: Sequence[str], cut: Sequence[str]) -> None:
    cells = [[_text(row[column]) for column in columns] for row in rows]
    right = [
        bool(rows) and all(isinstance(row[column], (int, float)) for row in rows)
        for column in columns
    ]
    natural = [max(map(len, column)) for column in zip(columns, *cells, strict=True)]
    widths = _fitted(dict(zip(columns, natural, strict=True)), cut)
    for line in [list(columns), *cells]:
        parts = [
            f"{shortened(cell, width):{'>' if is_right else '<'}{width}}"
            for cell, width, is_right in zip(line, widths, right, strict=True)
        ]
        click.echo((" " * GAP).join(parts).rstrip())


def _fitted(widths: dict[str, int], cut: Sequence[str]) -> list[int]:
    """Narrow columns, in the order in which they may be cut, until the terminal holds them."""
    others = sorted((c for c in widths if c not in cut), key=lambda c: -widths[c])
    for column in [*cut, *others]:
        excess = sum(widths.values()) + GAP * (len(widths) - 1) - terminal_width()
        if excess > 0:
            least = max(NARROWEST, len(column))
            widths[column] = max(min(least, widths[column]), widths[column] - excess)
    return list(widths.values())


def _print_json(rows: Sequence[Row], columns: Sequence[str], cut: Sequence[str]) -> None:
    click.echo(_json(list(rows)))


def _print_csv(rows: Sequence[Row], columns: Sequence[str], cut: Sequence[str]) -> None:
    writer = csv.writer(sys.stdout, lineterminator="\n")
    writer.writerow(rows[0] if rows else columns)
    for row in rows:
        # Numbers whole: what reads this rounds for itself.
        writer.writerow(
            [value if isinstance(value, float) else _text(value) for value in row.values()]
        )


def _json(value: Any) -> str:
    return json.dumps(value, indent=1, ensure_ascii=False, default=str)


def _text(value: Any) -> str:
    """Spell a value in a cell."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:.4f}" if value == 0 or abs(value) >= TINY else f"{value:.1e}"
    if isinstance(value, (list, tuple)):
        separator = "×" if all(isinstance(item, int) for item in value) else " "
        return separator.join(map(str, value))
    return str(value)


STYLES = {None: _print_table, "json": _print_json, "csv": _print_csv}


def show_features(features: FeatureSet, out: str | os.PathLike[str], style: str | None) -> None:
    """Print a line for each module."""
    rows = [
        {
            "module": address,
            "shape": list(item.shape),
            "file": shown_path(getattr(item.array, "filename", None) or out),
            "bytes": int(item.array.nbytes),
            "axes": list(item.axes),
        }
        for address, item in features.items()
    ]
    show_table(rows, style, columns=("module", "shape", "file", "bytes"), cut=("file",))


def shown_path(path: str | os.PathLike[str]) -> str:
    """Spell a path relative to the current folder, if it lies below it."""
    if "://" in os.fspath(path):
        return os.fspath(path)
    path = Path(path).absolute()
    return str(path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path)
