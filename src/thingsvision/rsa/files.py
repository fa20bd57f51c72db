"""Files of dissimilarities: what to write, and what others have written.

Everything here is arrays, ids and plain facts; `rdm` makes records of them. A
format is a function and a row of `READERS` or `WRITERS`.
"""

from __future__ import annotations

import csv
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple, TypeVar

import numpy as np
from numpy.typing import NDArray

from ..errors import InvalidArgument, listing, unknown
from ..text_files import beside, read_text, reason_of
from .matrix import stimuli_of_pairs

Ids = Sequence[str] | None
About = Mapping[str, Any]
T = TypeVar("T")
ONE_A_LINE = "Give a text file with one id on each line."
COMPLETE = "Is it complete, and of the format that its name says?"
MAPPED = 2**27  # bytes: a .npy file that is larger is mapped, not read


class Found(NamedTuple):
    """What a file holds: an array, square or condensed, ids if it names them, and other facts."""

    array: NDArray[Any]
    ids: Ids = None
    about: About = MappingProxyType({})


def write(
    path: Path,
    pairs: NDArray[Any],
    square: Callable[[], NDArray[Any]],
    ids: Ids,
    about: About,
) -> Path:
    """Write dissimilarities in the format that the suffix says; missing folders are made."""
    suffix = path.suffix.lower()
    if suffix not in WRITERS:
        raise unknown("RDM file format", suffix, WRITERS, f"Received: {path}.")
    path.parent.mkdir(parents=True, exist_ok=True)
    WRITERS[suffix](path, pairs, square, ids, about)
    return path


def read(path: Path, variable: str | None = None) -> Found:
    """Read dissimilarities in the format that the suffix says."""
    suffix = path.suffix.lower()
    if suffix not in READERS:
        raise unknown("RDM file format", suffix, READERS, f"Received: {path}.")
    if not path.is_file():
        raise InvalidArgument(f"There is no file {str(path)!r}.{beside(path)}")
    if variable is not None and suffix not in (".npz", ".mat"):
        raise InvalidArgument(
            f"{path} holds one array without a name; leave out variable={variable!r}."
        )
    return _reading(path, lambda: READERS[suffix](path, variable))


def _reading(path: Path, action: Callable[[], T]) -> T:
    try:
        return action()
    except InvalidArgument:
        raise
    except Exception as error:
        raise InvalidArgument(
            f"{path} cannot be read as {path.suffix} ({reason_of(error)}). {COMPLETE}"
        ) from error


def read_ids(path: Path) -> list[str]:
    """Read ids from a text file, one a line."""
    found = read_text(path, "list of ids", ONE_A_LINE).splitlines()
    if not found:
        raise InvalidArgument(f"The list of ids {str(path)!r} is empty. {ONE_A_LINE}")
    return found


def _write_npz(
    path: Path, pairs: NDArray[Any], square: Callable[[], NDArray[Any]], ids: Ids, about: About
) -> None:
    text = json.dumps(about, default=str, ensure_ascii=False)
    arrays: dict[str, Any] = {"dissimilarities": pairs, "about": np.array(text)}
    if ids is not None:
        arrays["ids"] = np.array(ids, dtype=np.str_)
    with path.open("wb") as file:
        np.savez(file, **arrays)


def _write_csv(
    path: Path, pairs: NDArray[Any], square: Callable[[], NDArray[Any]], ids: Ids, about: About
) -> None:
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        if ids is not None:
            writer.writerow([about.get("dissimilarity", ""), *ids])
        for row, values in enumerate(square()):
            writer.writerow([*([] if ids is None else [ids[row]]), *values.astype(str)])


def arrays_of(path: Path) -> dict[str, NDArray[Any]]:
    """Read all arrays of numbers in a file, by name; those in MATLAB's structures too."""
    return _reading(path, lambda: _ARRAYS.get(path.suffix.lower(), _text_arrays)(path))


def facts_of(path: Path) -> tuple[list[str] | None, str]:
    """Read the ids and the dissimilarity that a file names: one of ours, or a table with names."""
    suffix = path.suffix.lower()
    if suffix == ".npz":
        arrays = _reading(path, lambda: _npz_arrays(path))
        ours = {"dissimilarities", "about"} <= set(arrays)
        about = json.loads(str(arrays["about"])) if ours else {}
        return _ids_of_ours(arrays), about.get("dissimilarity", "")
    if suffix in (".csv", ".tsv", ".txt"):
        found = _reading(path, lambda: _read_text(path, None))
        ids = None if found.ids is None else list(found.ids)
        return ids, found.about.get("dissimilarity", "")
    return None, ""


def agreed(path: Path, found: str, given: str) -> str:
    """Take the dissimilarity that the file or the caller names, and refuse two different ones."""
    if found and given and found != given:
        raise InvalidArgument(
            f"{path} says that its dissimilarity is {found!r}; leave out dissimilarity={given!r}."
        )
    return found or given


def _ids_of_ours(arrays: Mapping[str, NDArray[Any]]) -> list[str] | None:
    is_ours = {"dissimilarities", "about", "ids"} <= set(arrays)
    return arrays["ids"].tolist() if is_ours else None


def _npz_arrays(path: Path) -> dict[str, NDArray[Any]]:
    arrays: dict[str, NDArray[Any]] = {}
    with path.open("rb") as opened, np.load(opened, allow_pickle=False) as file:
        for name in file.files:
            try:
                arrays[name] = file[name]
            except ValueError:  # Python objects, which are not unpickled
                continue
    return arrays


def _mat_file_arrays(path: Path) -> dict[str, NDArray[Any]]:
    from scipy.io import loadmat

    try:
        contents = loadmat(path)
    except NotImplementedError:  # version 7.3, which is HDF5
        return dict(_hdf5_arrays(path))
    return {
        name: array
        for key, value in contents.items()
        if not key.startswith("__")
        for name, array in _mat_arrays(key, value)
    }


def _npy_arrays(path: Path) -> dict[str, NDArray[Any]]:
    mode: Any = "r" if path.stat().st_size >= MAPPED else None
    return {path.stem: np.load(path, mmap_mode=mode, allow_pickle=False)}


def _text_arrays(path: Path) -> dict[str, NDArray[Any]]:
    return {path.stem: _read_text(path, None).array}


_ARRAYS: dict[str, Callable[[Path], dict[str, NDArray[Any]]]] = {
    ".npz": _npz_arrays,
    ".npy": _npy_arrays,
    ".mat": _mat_file_arrays,
}


def _read_npz(path: Path, variable: str | None) -> Found:
    arrays = _npz_arrays(path)
    if variable is None and {"dissimilarities", "about"} <= set(arrays):
        about = json.loads(str(arrays["about"]))
        return Found(arrays["dissimilarities"], _ids_of_ours(arrays), about)
    return Found(_choose(arrays, path, variable))


def _read_npy(path: Path, variable: str | None) -> Found:
    if path.stat().st_size < MAPPED:
        return Found(_one_row(np.load(path, allow_pickle=False)))
    mapped = np.load(path, mmap_mode="r", allow_pickle=False)
    if mapped.dtype not in (np.float32, np.float64):
        return Found(_one_row(np.array(mapped, dtype=np.float64)))
    return Found(_one_row(mapped.T if np.isfortran(mapped) else mapped))


def _read_mat(path: Path, variable: str | None) -> Found:
    return Found(_choose(_mat_file_arrays(path), path, variable))


def _mat_arrays(name: str, value: Any) -> Iterator[tuple[str, NDArray[Any]]]:
    """Yield the arrays inside cells and structures, with names like ``RDMs[0].RDM``."""
    if not isinstance(value, np.ndarray):
        return
    if value.dtype.names is None and value.dtype.kind != "O":
        yield name, value
        return
    items = value.ravel()
    for number, item in enumerate(items):
        label = name if len(items) == 1 else f"{name}[{number}]"
        for key in value.dtype.names or ():
            yield from _mat_arrays(f"{label}.{key}", item[key])
        if value.dtype.names is None:
            yield from _mat_arrays(label, item)


def _hdf5_arrays(path: Path) -> Iterator[tuple[str, NDArray[Any]]]:
    import h5py

    found: list[tuple[str, NDArray[Any]]] = []

    def keep(name: str, item: Any) -> None:
        if isinstance(item, h5py.Dataset) and item.dtype.kind in "biuf":
            found.append((name.replace("/", "."), item[()]))

    with h5py.File(path) as file:
        for key in file:
            if not key.startswith("#"):
                keep(key, file[key])
                if isinstance(file[key], h5py.Group):
                    file[key].visititems(lambda name, item, key=key: keep(f"{key}/{name}", item))
    yield from found


def _choose(arrays: Mapping[str, NDArray[Any]], path: Path, variable: str | None) -> NDArray[Any]:
    """Take the array of that name, or the only one that can be an RDM."""
    if variable is not None:
        if variable not in arrays:
            raise unknown("variable", variable, arrays, f"Looked for in {path}.")
        return _one_row(arrays[variable])
    likely = {name: array for name, array in arrays.items() if _is_likely(array)}
    if len(likely) == 1:
        return _one_row(next(iter(likely.values())))
    if not likely:
        shapes = [f"{name} {array.shape}" for name, array in arrays.items()]
        raise InvalidArgument(
            f"{path} holds no RDM, which is a square matrix or a row of n (n - 1) / 2 pairs. "
            f"It holds: {listing(shapes) or 'nothing that can be read safely'}. Of a stack of "
            "RDMs take one, e.g. compare_rdms(rdm, stack) or RDM.from_matrix(stack[0])."
        )
    shapes = [f"{name} {array.shape}" for name, array in likely.items()]
    raise InvalidArgument(
        f"{path} holds {len(likely)} arrays that can be an RDM: {listing(shapes)}. "
        f"Choose one: load_rdm(path, variable={next(iter(likely))!r})."
    )


def _one_row(array: NDArray[Any]) -> NDArray[Any]:
    return array.ravel() if array.ndim == 2 and 1 in array.shape else array


def _is_likely(array: NDArray[Any]) -> bool:
    if array.dtype.kind not in "biuf" or array.ndim not in (1, 2):
        return False
    row = _one_row(array)
    if row.ndim == 2:
        return bool(row.shape[0] == row.shape[1])
    return len(row) > 3 and stimuli_of_pairs(len(row)) is not None  # three may be a colour


def _read_text(path: Path, variable: str | None) -> Found:
    lines = [line for line in path.read_text(encoding="utf-8-sig").splitlines() if line.strip()]
    rows = _cells(lines)
    if not rows:
        raise InvalidArgument(
            f"{path} is no table: it is empty, or its rows differ in length. Separate the columns "
            "by commas, tabs, semicolons or spaces, one row a stimulus."
        )
    n_rows, n_columns = len(rows), len(rows[0])
    square = n_rows == n_columns
    header = n_rows == n_columns + 1 or (square and not _is_number(rows[0][0]))
    index = n_columns == n_rows + 1 or (square and header)
    above = rows[0][int(index) :] if header else None
    beside = [row[0] for row in rows[int(header) :]] if index else None
    if above is not None and beside is not None and above != beside:
        differ = [f"{a} / {b}" for a, b in zip(above, beside, strict=True) if a != b]
        raise InvalidArgument(
            f"{path} names its columns otherwise than its rows: {listing(differ)}. "
            "Bring both into the same order."
        )
    try:
        array = np.array([row[int(index) :] for row in rows[int(header) :]], dtype=np.float64)
    except ValueError as error:
        raise InvalidArgument(
            f"{path} holds something that is no number ({error}). Numbers have a decimal point."
        ) from error
    about = {"dissimilarity": rows[0][0]} if header and index else {}
    return Found(_one_row(array), above or beside, about)


def _cells(lines: list[str]) -> list[list[str]] | None:
    """Split lines at the first separator that gives rows of equal length that end in a number."""
    tables = [_split(lines, separator) for separator in (",", "\t", ";", None)]
    if all(len(row) == 1 for rows in tables for row in rows):
        return tables[0]
    even = [rows for rows in tables if len(rows[0]) > 1 and len({len(row) for row in rows}) == 1]
    return next((rows for rows in even if _is_number(rows[-1][-1])), even[-1] if even else None)


def _split(lines: list[str], separator: str | None) -> list[list[str]]:
    if separator is None:
        return [line.split() for line in lines]
    return list(csv.reader(lines, delimiter=separator))


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


Reader = Callable[[Path, str | None], Found]
Writer = Callable[[Path, NDArray[Any], Callable[[], NDArray[Any]], Ids, About], None]

READERS: dict[str, Reader] = {
    ".npz": _read_npz,
    ".npy": _read_npy,
    ".mat": _read_mat,
    ".csv": _read_text,
    ".tsv": _read_text,
    ".txt": _read_text,
}
WRITERS: dict[str, Writer] = {".npz": _write_npz, ".csv": _write_csv}
