"""Files of responses: what labs have, as arrays; `responses` makes records of them.

A format is a function and a row of `READERS`.
"""

from __future__ import annotations

import csv
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ..arrays import as_array, is_table, labels_of
from ..errors import InvalidArgument, listing, unknown
from ..text_files import beside, read_text, reason_of
from .images import IMAGES, is_image, load_image, read_images, stem

ID_VARIABLES = ("ids", "file_names")
Mask = str | Path | ArrayLike | None


@dataclass(frozen=True)
class Found:
    """What a source holds.

    Parameters
    ----------
    array : array
        As it lies in the file; of images (n_stimuli, n_targets).
    name : str
        How messages call it.
    axes : tuple of str, optional
        Where the format says what the axes are.
    ids, target_names : tuple of str, optional
        Where the file names them.
    masked : array of bool, optional
        A mask that has yet to be applied to the targets.
    provenance : dict
        Files.
    """

    array: NDArray[Any]
    name: str = "This array"
    axes: tuple[str, ...] | None = None
    ids: tuple[str, ...] | None = None
    target_names: tuple[str, ...] | None = None
    masked: NDArray[np.bool_] | None = None
    provenance: Mapping[str, Any] = field(default_factory=dict)


def read_responses(source: Any, mask: Mask = None, variable: str | None = None) -> Found:
    """Read an array, a file, or several images laid end to end.

    Parameters
    ----------
    source : array, path, or list of paths
        See `thingsvision.load_responses`.
    mask : path or array, optional
        Applied to images; else handed on in ``masked``.
    variable : str, optional
        Of a ``.mat`` or ``.npz`` file.

    Returns
    -------
    Found

    Raises
    ------
    InvalidArgument
        If there is no such file, or it cannot be read.
    """
    paths = _paths(source)
    if paths is None:
        masked, provenance = _as_mask(mask), {"file": None}
        if is_table(source):
            table = source.set_index("id") if "id" in source.columns else source
            names = tuple(str(name) for name in table.columns)
            return Found(
                as_array(table, "This table"), ids=labels_of(table), masked=masked,
                target_names=names if masked is None else None, provenance=provenance,
            )  # fmt: skip
        return Found(as_array(source, "This array"), masked=masked, provenance=provenance)
    absent = [str(path) for path in paths if not path.is_file()]
    if absent:
        raise InvalidArgument(f"There is no file {listing(absent)}.{beside(Path(absent[0]))}")
    files = [path.name for path in paths]
    about: dict[str, Any] = {"file": files[0] if len(files) == 1 else files}
    if isinstance(mask, str | Path):
        about["mask"] = Path(mask).name
    if all(is_image(path) for path in paths):
        array = read_images(paths, *_image_mask(mask))
        return Found(array, stem(paths[0]), ("stimulus", "target"), provenance=about)
    if len(paths) > 1:
        raise InvalidArgument(
            "Only NIfTI and GIFTI images are laid end to end. Of other files, join the arrays: "
            "load_responses(np.concatenate([…]), ids)."
        )
    path, suffix = paths[0], paths[0].suffix.lower()
    if suffix not in READERS:
        raise unknown("response file format", suffix, [*READERS, *IMAGES], f"Received: {path}.")
    if variable is not None and suffix not in (".mat", ".npz"):
        raise InvalidArgument(f"{path} holds one array without a name; leave out {variable!r}.")
    try:
        found = READERS[suffix](path, variable)
    except InvalidArgument:
        raise
    except Exception as error:
        raise InvalidArgument(
            f"{path} cannot be read as {suffix} ({reason_of(error)}). "
            "Is it complete, and of the format that its name says?"
        ) from error
    return Found(
        found.array, path.stem, found.axes, found.ids, found.target_names,
        _as_mask(mask), {**about, "variable": variable} if variable else about,
    )  # fmt: skip


def read_ids(path: Path) -> list[str]:
    """Read ids from a text file, one a line."""
    next_step = "Give a text file with one id on each line."
    return read_text(path, "list of ids", next_step).splitlines()


def _paths(source: Any) -> list[Path] | None:
    """Say which files are meant; None for an array."""
    if isinstance(source, str | Path):
        return [Path(source)]
    if isinstance(source, list | tuple) and source and all(
        isinstance(item, str | Path) for item in source
    ):  # fmt: skip
        return [Path(item) for item in source]
    return None


def _as_mask(mask: Mask) -> NDArray[np.bool_] | None:
    """Read a mask for arrays that are no images."""
    if mask is None:
        return None
    if not isinstance(mask, str | Path):
        return _boolean(np.asarray(mask), "The mask")
    path = Path(mask)
    if not path.is_file():
        raise InvalidArgument(f"There is no file {path} of a mask.{beside(path)}")
    if is_image(path):
        return _boolean(load_image(path)[0], str(path))
    return _boolean(read_responses(path).array, str(path))


def _image_mask(mask: Mask) -> tuple[NDArray[np.bool_] | None, NDArray[Any] | None]:
    """Read a mask for images, and its affine where it has one."""
    if isinstance(mask, str | Path) and Path(mask).is_file() and is_image(Path(mask)):
        array, affine = load_image(Path(mask))
        if affine is not None and array.ndim == 4 and array.shape[3] == 1:
            array = array[..., 0]
        return _boolean(array, str(mask)), affine
    return _as_mask(mask), None


def _boolean(mask: NDArray[Any], what: str) -> NDArray[np.bool_]:
    if mask.dtype.kind not in "biuf" or (mask.dtype.kind == "f" and np.isnan(mask).all()):
        raise InvalidArgument(f"{what} holds {mask.dtype}, not true and false, or 0 and 1.")
    chosen = (mask != 0) & ~np.isnan(mask) if mask.dtype.kind == "f" else mask != 0
    if not chosen.any():
        raise InvalidArgument(f"{what} chooses nothing: it is zero everywhere.")
    return np.asarray(chosen)


def _read_npy(path: Path, variable: str | None) -> Found:
    return Found(np.load(path, mmap_mode="r", allow_pickle=False))


def _read_npz(path: Path, variable: str | None) -> Found:
    arrays = {}
    with path.open("rb") as opened, np.load(opened, allow_pickle=False) as file:
        for name in file.files:
            try:
                arrays[name] = file[name]
            except ValueError:  # Python objects, which are not unpickled
                continue
    return _chosen(arrays, path, variable)


def _read_mat(path: Path, variable: str | None) -> Found:
    import h5py

    if h5py.is_hdf5(path):
        with h5py.File(path) as file:
            return _chosen(dict(_hdf5_arrays(file)), path, variable)
    from scipy.io import loadmat

    contents = loadmat(path)
    arrays = {
        name: array
        for key, value in contents.items()
        if not key.startswith("__")
        for name, array in _mat_arrays(key, value)
    }
    return _chosen(arrays, path, variable)


def _mat_arrays(name: str, value: Any) -> Iterator[tuple[str, NDArray[Any]]]:
    """Yield the arrays of a version 5 file, those inside structures with names like ``a.b``."""
    if not isinstance(value, np.ndarray):
        return
    if value.dtype.names is not None:
        for number, item in enumerate(value.ravel()):
            label = name if value.size == 1 else f"{name}[{number}]"
            for key in value.dtype.names:
                yield from _mat_arrays(f"{label}.{key}", item[key])
    elif value.dtype.kind == "O":
        texts = [str(item.item()) for item in value.ravel() if _is_text(item)]
        if texts and len(texts) == value.size:
            yield name, np.array(texts)
    else:
        yield name, value


def _is_text(item: Any) -> bool:
    return isinstance(item, np.ndarray) and item.dtype.kind == "U" and item.size == 1


def _hdf5_arrays(file: Any) -> Iterator[tuple[str, NDArray[Any]]]:
    """Yield the arrays of a version 7.3 file, which lie there with their axes reversed."""
    import h5py

    found: list[tuple[str, NDArray[Any]]] = []

    def keep(name: str, item: Any) -> None:
        if not isinstance(item, h5py.Dataset) or name.startswith("#"):
            return
        kind = item.attrs.get("MATLAB_class", b"")
        if item.dtype.kind in "biuf" and kind != b"char" and "MATLAB_empty" not in item.attrs:
            found.append((name.replace("/", "."), item[()].T))
        elif kind == b"cell":
            cells = [file[reference] for reference in item[()].T.ravel()]
            if all(cell.attrs.get("MATLAB_class") == b"char" for cell in cells):
                texts = ["".join(map(chr, cell[()].T.ravel())) for cell in cells]
                found.append((name.replace("/", "."), np.array(texts)))

    file.visititems(keep)
    yield from found


def _chosen(arrays: Mapping[str, NDArray[Any]], path: Path, variable: str | None) -> Found:
    """Take the array of that name, or the only one there is of two or more axes."""
    ids = next((arrays[name] for name in ID_VARIABLES if name in arrays), None)
    texts = tuple(map(str, ids.ravel())) if ids is not None and ids.dtype.kind == "U" else None
    numbers = {name: array for name, array in arrays.items() if array.dtype.kind in "biuf"}
    if variable is not None:
        if variable not in numbers:
            raise unknown("variable", variable, numbers, f"Looked for in {path}.")
        return Found(numbers[variable], ids=texts)
    likely = {
        name: array
        for name, array in numbers.items()
        if array.ndim > 1 and max(array.shape) < array.size
    }
    if len(likely) == 1:
        return Found(next(iter(likely.values())), ids=texts)
    shapes = [f"{name} {array.shape}" for name, array in (likely or numbers).items()]
    if not shapes:
        raise InvalidArgument(f"{path} holds no array of numbers that can be read safely.")
    raise InvalidArgument(
        f"{path} holds {listing(shapes)}. Choose one: "
        f"load_responses(path, …, variable={shapes[0].split(' ')[0]!r})."
    )


def _read_csv(path: Path, variable: str | None) -> Found:
    with path.open(encoding="utf-8-sig", newline="") as file:
        rows = [row for row in csv.reader(file) if row]
    if len(rows) < 2 or len({len(row) for row in rows}) > 1 or len(rows[0]) < 2:
        raise InvalidArgument(
            f"{path} is no table of responses: a header with the names of targets, then one row a "
            "stimulus that begins with its id, separated by commas."
        )
    try:
        values = np.array([row[1:] for row in rows[1:]], dtype=np.float64)
    except ValueError as error:
        raise InvalidArgument(
            f"{path} holds something that is no number ({error}). Numbers have a decimal point."
        ) from error
    ids = tuple(row[0] for row in rows[1:])
    return Found(values, axes=("stimulus", "target"), ids=ids, target_names=tuple(rows[0][1:]))


READERS: dict[str, Callable[[Path, str | None], Found]] = {
    ".npy": _read_npy,
    ".npz": _read_npz,
    ".mat": _read_mat,
    ".csv": _read_csv,
}
