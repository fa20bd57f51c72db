"""Texts as stimuli, for networks that take images and texts."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ..errors import InvalidArgument, StimulusError, counted, listing, several
from ..tables import read_lines, read_table
from ..text_files import beside
from .folders import class_index, is_unicode, nfc
from .stimulus_set import SHOWN, StimulusSet

TABLES = (".csv", ".tsv")


def load_texts(
    source: str | os.PathLike[str] | Sequence[str], *, ids: Sequence[str] | None = None
) -> StimulusSet:
    """Make stimuli of texts.

    Parameters
    ----------
    source : sequence of str, or path
        The texts; or a text file (UTF-8) with a text per line, whose empty lines do not count;
        or a CSV file with a column ``text`` (and, if wanted, ``id`` and ``class``).
    ids : sequence of str, optional
        Names of the texts; by default the table's ids, or the texts themselves.

    Returns
    -------
    StimulusSet
        In the order given. The texts stay as they are; ids are in Unicode NFC.

    Raises
    ------
    StimulusError
        If there is no text or file, texts are empty, or ids are doubled; all are named.
    InvalidArgument
        If the source is none of the above.

    Examples
    --------
    >>> load_texts(["a photo of an aardvark", "a photo of a cat"])
    StimulusSet(2 stimuli: a photo of an aardvark, a photo of a cat)
    """
    labels: Sequence[str] | None = None
    if isinstance(source, str | os.PathLike):
        path = Path(source).expanduser()
        if os.path.isdir(path):  # noqa: PTH112 (a long text is no error to it)
            raise StimulusError(
                f"{str(path)!r} is a folder; texts are a file with one on each line, or a CSV "
                "table with a column 'text'."
            )
        if not _is_file(path):
            raise StimulusError(
                f"There is no file {str(path)!r}.{beside(path)} Single texts are given in a list: "
                f"[{str(source)!r}]."
            )
        if path.suffix.lower() in TABLES:
            columns = read_table(path, "text")
            texts, labels = columns["text"], columns.get("class")
            ids = columns.get("id") if ids is None else ids
        else:
            texts = read_lines(path)
            if not texts:
                raise StimulusError(
                    f"The file {str(path)!r} holds no texts. Write one on each line."
                )
    elif isinstance(source, Sequence) and all(isinstance(text, str) for text in source):
        texts = list(source)
    else:
        raise InvalidArgument(
            f"Texts were given as {type(source).__name__}; allowed are a list of texts, a text "
            "file and a CSV file."
        )
    return _stimuli(texts, ids, labels)


def _stimuli(
    texts: Sequence[str], ids: Sequence[str] | None, labels: Sequence[str] | None
) -> StimulusSet:
    if ids is not None:
        several(ids, "ids={}")
    empty = [number for number, text in enumerate(texts, 1) if not text.strip()]
    if empty:
        raise StimulusError(
            f"{len(empty)} of {counted(len(texts), 'text')} are empty: number "
            f"{listing([str(number) for number in empty], SHOWN)}."
        )
    unwritable = [ascii(text) for text in texts if not is_unicode(text)]
    if unwritable:
        raise StimulusError(
            f"{len(unwritable)} of {counted(len(texts), 'text')} are no Unicode text: "
            f"{listing(unwritable, SHOWN)}. Read their file as UTF-8."
        )
    indexed: tuple[Any, ...] = () if labels is None else class_index(labels)
    names = tuple(nfc(str(name)) for name in (texts if ids is None else ids))
    return StimulusSet(names, tuple(texts), *indexed)


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except OSError:  # a text may be too long for a name
        return False
