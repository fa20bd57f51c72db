"""An array in several files, for those whose memory or programs take no larger ones.

The core writes features as they come and needs no parts; this is for arrays in memory. Beside
the parts lies ``NAME_parts.json``, which says how many they are and what they make together.
"""

from __future__ import annotations

import json
import re
import warnings
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import InvalidArgument, StoreError, ThingsvisionWarning, counted, listing
from ..tables import read_lines
from . import records
from .array_files import ARRAY_FORMATS, array_format, read_array, write_array

PARTS = 10


def save_array(
    folder: Path, name: str, array: NDArray[Any], format: str, n_splits: int = PARTS
) -> None:
    """Write an array to one file, or to several if memory does not suffice.

    Parameters
    ----------
    folder : pathlib.Path
        Made if it is missing. If ``file_names.txt`` lies in it, it names the rows.
    name : str
        Of the file.
    array : array, shape (n_stimuli, ...)
        What to write.
    format : str
        A name in `ARRAY_FORMATS`, or a suffix.
    n_splits : int
        Number of parts after a ``MemoryError``.

    Raises
    ------
    InvalidArgument
        If the number of rows is not that of ``file_names.txt``.
    StoreError
        If the disk is full or cannot be written.
    """
    format, rows = array_format(format), _rows(folder, _checked(array, name))
    if array.dtype.kind == "f" and (count := int(np.size(array) - np.isfinite(array).sum())):
        warnings.warn(
            f"The {name} hold {counted(count, 'number')} that are NaN or infinite; they are "
            "written as they are.",
            ThingsvisionWarning,
            stacklevel=3,
        )
    try:
        write_array(folder, name, array, format, rows)
    except MemoryError:
        split_array(folder, name, array, format, n_splits)
    else:
        _forget_parts(folder, name, format)


def split_array(
    folder: Path, name: str, array: NDArray[Any], format: str, n_splits: int = PARTS
) -> None:
    """Write an array as nearly equal parts, ``name_01`` and so on.

    Parameters
    ----------
    folder, name, array, format
        As in `save_array`.
    n_splits : int
        Number of parts; not more than there are rows.

    Raises
    ------
    InvalidArgument
        If `n_splits` is not at least 1, or rows and ``file_names.txt`` disagree.
    """
    if n_splits < 1:
        raise InvalidArgument(f"n_splits is {n_splits}; it is at least 1.")
    format, rows = array_format(format), _rows(folder, _checked(array, name))
    _forget_parts(folder, name, format)
    count = max(1, min(n_splits, len(array)))
    bounds = np.linspace(0, len(array), count + 1).astype(int).tolist()
    width = max(2, len(str(count)))
    lengths: dict[str, int] = {}
    for number, (start, stop) in enumerate(pairwise(bounds), 1):
        part = f"{name}_{number:0{width}d}"
        file = write_array(folder, part, array[start:stop], format, rows[start:stop])
        lengths[file.name] = stop - start
    record = {"shape": list(array.shape), "dtype": array.dtype.str, "parts": lengths}
    text = json.dumps(record, indent=1)
    _record(folder, name, format).write_text(text, encoding="utf-8")
    (folder / f"{name}{ARRAY_FORMATS[format].suffix}").unlink(missing_ok=True)


def merge_parts(folder: Path, name: str, format: str) -> NDArray[Any]:
    """Read the whole array that was split, or that lies in one file.

    Parameters
    ----------
    folder, name, format
        As in `save_array`.

    Returns
    -------
    array, shape (n_stimuli, ...)
        All rows, in their order, in the type that was written.

    Raises
    ------
    StoreError
        If parts are missing, or do not belong to the others; they are named.
    """
    format = array_format(format)
    whole = folder / f"{name}{ARRAY_FORMATS[format].suffix}"
    found = _parts(folder, name, format)
    record = _record(folder, name, format)
    known = json.loads(record.read_text(encoding="utf-8")) if record.is_file() else None
    if known is None and not found:
        if not whole.is_file():
            raise StoreError(f"There is neither {whole.name!r} nor parts of it in {str(folder)!r}.")
        return read_array(whole, name)
    expected = list(known["parts"]) if known else _counted_from_one(found)
    _refuse(folder, "missing", [part for part in expected if part not in found])
    _refuse(folder, "foreign", [part for part in found if part not in expected])
    arrays = [read_array(folder / part, _stem(part)) for part in expected]
    if known:
        lengths = known["parts"].values()
        shapes = [(length, *known["shape"][1:]) for length in lengths]
        _refuse(
            folder, "foreign",
            [part for part, array, shape in zip(expected, arrays, shapes, strict=True)
             if array.size != np.prod(shape, dtype=np.int64)],
        )  # fmt: skip
        arrays = [array.reshape(shape) for array, shape in zip(arrays, shapes, strict=True)]
        return np.concatenate(arrays).astype(known["dtype"], copy=False)
    _refuse(
        folder, "foreign",
        [part for part, array in zip(expected, arrays, strict=True)
         if array.shape[1:] != arrays[0].shape[1:] or array.dtype != arrays[0].dtype],
    )  # fmt: skip
    merged = np.concatenate(arrays)
    _rows(folder, merged)
    return merged


def _checked(array: NDArray[Any], name: str) -> NDArray[Any]:
    if array.ndim == 0 or array.dtype.kind not in "biuf":
        raise InvalidArgument(
            f"The {name} have the shape {array.shape} and type {array.dtype}; give an array of "
            "numbers, (n_stimuli, …)."
        )
    return array


def _rows(folder: Path, array: NDArray[Any]) -> list[str]:
    """Read the names of an array's rows, if they are there, and count them."""
    file = folder / records.NAMES
    if not file.is_file():
        return []
    names = read_lines(file)
    if array.ndim == 0 or len(names) != len(array):
        count = len(array) if array.ndim else 0
        raise InvalidArgument(
            f"The array has {counted(count, 'row')}, but {str(file)!r} has "
            f"{counted(len(names), 'name')}. Each row needs the name of its image: choose the "
            "folder that belongs to these features, or remove the old file."
        )
    return names


def _refuse(folder: Path, what: str, parts: Sequence[str]) -> None:
    if parts:
        raise StoreError(
            f"{counted(len(parts), 'part')} in {str(folder)!r} found {what}: {listing(parts, 20)}. "
            "Put the folder back as it was written, or extract the features again."
        )


def _parts(folder: Path, name: str, format: str) -> list[str]:
    pattern = re.compile(rf"{re.escape(name)}_(\d+){re.escape(ARRAY_FORMATS[format].suffix)}")
    names = [path.name for path in folder.iterdir()] if folder.is_dir() else []
    matches = [match for match in map(pattern.fullmatch, names) if match]
    return [match[0] for match in sorted(matches, key=lambda match: int(match[1]))]


def _counted_from_one(found: Sequence[str]) -> list[str]:
    """Name the parts that there must be if those found are of one array."""
    head, number, suffix = re.split(r"_(\d+)(?=\.)", found[-1])
    return [f"{head}_{k:0{len(number)}d}{suffix}" for k in range(1, int(number) + 1)]


def _stem(part: str) -> str:
    return Path(part).stem


def _record(folder: Path, name: str, format: str) -> Path:
    return folder / f"{name}_parts{ARRAY_FORMATS[format].suffix}.json"


def _forget_parts(folder: Path, name: str, format: str) -> None:
    """Remove the parts of an array that was written here before."""
    record = _record(folder, name, format)
    if record.is_file():
        for part in json.loads(record.read_text(encoding="utf-8"))["parts"]:
            (folder / part).unlink(missing_ok=True)
        record.unlink()
