"""The images of a folder, in the order that all systems agree on."""

from __future__ import annotations

import os
import unicodedata
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path, PurePosixPath

import numpy as np
from numpy.typing import NDArray

from ..errors import StimulusError, listing
from ..images import SUFFIXES

# What operating systems and notebooks leave behind; hidden files and folders count as well.
LITTER = {"thumbs.db", "__macosx", "desktop.ini"}


def nfc(name: str) -> str:
    """Give the one spelling that a name has on all systems: Unicode NFC."""
    return unicodedata.normalize("NFC", name)


def find_images(root: Path) -> tuple[list[str], list[str], list[str]]:
    """Find the image files of a folder and its subfolders.

    Links are followed, except those that lead back to a folder around them.

    Parameters
    ----------
    root : pathlib.Path
        An existing folder.

    Returns
    -------
    paths : list of str
        Relative to the root, with ``/``, as the file system spells them; sorted by their
        parts, each in code-point order of its NFC spelling.
    ids : list of str
        The same in NFC.
    others : list of str
        All other files, and folders that were not entered.

    Raises
    ------
    StimulusError
        If folders cannot be read; all are named.
    """
    images: list[str] = []
    others: list[str] = []
    problems: list[str] = []
    for path, is_image in _walk(root, "", (), problems):
        (images if is_image else others).append(path)
    if problems:
        raise StimulusError(
            f"{len(problems)} folders cannot be read: {listing(sorted(problems), 100)}. "
            "Allow yourself to read them, or give the list of files you want."
        )
    images.sort(key=lambda path: nfc(path).split("/"))
    return images, [nfc(path) for path in images], sorted(others)


def classes_of(names: Sequence[str]) -> tuple[NDArray[np.int64] | None, tuple[str, ...]]:
    """Take the first folder of each name as its class, if every name has one.

    Returns
    -------
    targets : array of int, shape (n_names,), or None
        Index of each class.
    classes : tuple of str
        Sorted in code-point order, as the folders are.

    Examples
    --------
    >>> classes_of(["cat/1.png", "dog/1.png", "cat/2.png"])
    (array([0, 1, 0]), ('cat', 'dog'))
    """
    if any("/" not in name or name.startswith("../") for name in names):
        return None, ()
    return class_index([name.partition("/")[0] for name in names])


def class_index(labels: Sequence[str]) -> tuple[NDArray[np.int64], tuple[str, ...]]:
    """Turn given classes into numbers, as `classes_of` does."""
    labels = [nfc(label) for label in labels]
    classes = tuple(sorted(set(labels)))
    index = {name: number for number, name in enumerate(classes)}
    return np.array([index[label] for label in labels], dtype=np.int64), classes


def _walk(
    root: Path, inside: str, around: tuple[str, ...], problems: list[str]
) -> Iterator[tuple[str, bool]]:
    """Yield each path relative to the root, and whether it is that of an image."""
    real = os.path.realpath(root / inside)
    if real in around:
        yield f"{inside.rstrip('/')} (a link that leads back)", False
        return
    try:
        with os.scandir(root / inside) as found:
            entries = list(found)
    except OSError as error:
        problems.append(f"{root / inside} ({error.strerror or error})")
        return
    for entry in entries:
        path = f"{inside}{entry.name}"
        if entry.name.startswith(".") or entry.name.lower() in LITTER:
            yield path, False
        elif _is(entry.is_dir):
            yield from _walk(root, f"{path}/", (*around, real), problems)
        else:
            # A link to nowhere counts as an image, so that it is reported as one that is missing;
            # a pipe or a device does not, since reading it could wait for ever.
            is_file = _is(entry.is_file) or entry.is_symlink()
            yield path, is_file and PurePosixPath(path).suffix.lower() in SUFFIXES


def _is(question: Callable[[], bool]) -> bool:
    """Ask, and take a link that leads to itself, which cannot be followed, for a no."""
    try:
        return question()
    except OSError:
        return False


def is_unicode(name: str) -> bool:
    """Tell whether a name can be written as text."""
    # Linux allows file names of any bytes; Python spells odd ones with lone surrogates.
    return not any("\ud800" <= character <= "\udfff" for character in name)
