"""Lists and tables of images or texts, as people write them in spreadsheets and editors."""

from __future__ import annotations

import csv
import io
import os
import re
from collections import Counter
from pathlib import Path

from .errors import StimulusError, counted, listing
from .text_files import read_text

# What a column holds -> how it may be headed, in any case of letters.
COLUMNS = {
    "text": ("text", "caption", "sentence"),
    "path": ("path", "file", "filename", "file_name", "image"),
    "id": ("id", "stimulus"),
    "class": ("class",),
}
SHOWN = 100
ONE_A_LINE = "Give a text file with one entry on each line."
TABLE = "Give a CSV table with a column {0!r} of {1}."


def read_lines(path: str | os.PathLike[str]) -> list[str]:
    """Read a text file with a name per line; empty lines do not count.

    Raises
    ------
    StimulusError
        If the file cannot be read.
    """
    # Not splitlines(), which also breaks at characters that names may hold.
    lines = re.split(r"\r\n|\r|\n", read_text(path, "list", ONE_A_LINE, StimulusError))
    return [line for line in lines if line.strip()]


# What stimuli are read from -> how it is called in errors.
CONTENTS = {"path": "image files", "text": "texts"}


def read_table(path: Path, content: str = "path") -> dict[str, list[str]]:
    """Read the columns of a CSV file, separated by commas, semicolons or tabs.

    Without a column of paths, the ids are the paths, as in a store's own ``stimuli.csv``. A
    column of classes that is empty in every row does not count.

    Parameters
    ----------
    path : pathlib.Path
        UTF-8, with or without a byte-order mark; the first line names the columns.
    content : {"path", "text"}
        Which column is needed.

    Returns
    -------
    dict of str to list of str
        The content and, where the table has them, ``"id"`` and ``"class"``.

    Raises
    ------
    StimulusError
        If the file cannot be read, has no column of the content or two, a row has more cells than
        the first line, or cells are empty.
    """
    text = read_text(path, "list", TABLE.format(content, CONTENTS[content]), StimulusError)
    separator = max(",\t;", key=re.split(r"[\r\n]", text, maxsplit=1)[0].count)
    reader = csv.DictReader(io.StringIO(text, newline=""), delimiter=separator)
    try:
        lines = [(reader.line_num, row) for row in reader]
    except csv.Error as error:
        raise StimulusError(f"The table {str(path)!r} is broken: {error}.") from error
    names = reader.fieldnames or ()
    # DictReader keeps the cells beyond the last column under None.
    long = [line for line, row in lines if any(row.get(None, ()))]
    if long:
        raise StimulusError(
            f"The table {str(path)!r} has {counted(len(long), 'row')} with more cells than the "
            f"{counted(len(names), 'column')} of its first line: line {listing(long, SHOWN)}. "
            f"Put text that holds {separator!r} in double quotes."
        )
    rows = [row for _, row in lines]
    header = {name.strip().lower(): name for name in names}
    times = Counter(name.strip().lower() for name in names)
    columns = {}
    for what, spellings in COLUMNS.items():
        if what in CONTENTS and what != content:
            continue
        name = next((header[spelling] for spelling in spellings if spelling in header), None)
        if name is not None:
            if times[name.strip().lower()] > 1:
                raise StimulusError(
                    f"The table {str(path)!r} has {times[name.strip().lower()]} columns "
                    f"{name.strip()!r}; keep one of them, or rename the others."
                )
            columns[what] = [row[name] or "" for row in rows]
            if what == "class" and not any(cell.strip() for cell in columns[what]):
                del columns[what]
                continue
            empty = [number for number, cell in enumerate(columns[what], 1) if not cell.strip()]
            if empty:
                raise StimulusError(
                    f"The column {name!r} of {str(path)!r} is empty in {len(empty)} of "
                    f"{len(rows)} rows: {listing(empty, SHOWN)}."
                )
    if content == "path" and "path" not in columns and "id" in columns:
        columns["path"] = columns["id"]
    if content not in columns:
        raise StimulusError(
            f"The table {str(path)!r} has {counted(len(rows), 'row')} and the columns "
            f"{listing(list(header)) or 'none'}; it needs a column {content!r} with "
            f"{CONTENTS[content]}."
        )
    return columns
