"""Features as this and other tools leave them in files and folders."""

from __future__ import annotations

import os
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import InvalidArgument, StoreError, ThingsvisionError, listing
from ..features import Features, FeatureSet
from ..store import location, open_features
from ..store.array_files import ARRAY_FORMATS, read_array
from ..store.missing import near_features
from ..store.parts import merge_parts
from ..store.records import META, NAMES
from ..store.remote import is_remote
from ..tables import read_lines
from ..text_files import reason_of

# Name of the one array that a file or folder of another tool holds.
FEATURES = "features"


@dataclass(frozen=True, eq=False)
class Given:
    """Features of one or several modules, as far as they are known.

    Parameters
    ----------
    arrays : dict of str to array, shape (n_stimuli, ...)
        By module; ``"features"`` where its name is not known.
    ids : tuple of str or None
        One per row, if they are known.
    made_by : str
        What wrote them.
    axes : dict of str to tuple of str
        Names of axes, where they are known.
    provenance : dict
        What made them, where it is known.
    failures : collection of str
        Ids of stimuli that have no features, since they could not be decoded.
    """

    arrays: Mapping[str, Any]
    ids: tuple[str, ...] | None
    made_by: str
    axes: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    provenance: Mapping[str, Any] = field(default_factory=dict)
    failures: Collection[str] = ()

    def __len__(self) -> int:
        return len(next(iter(self.arrays.values())))


def read_given(source: Any) -> Given:
    """Read features from whatever holds them.

    Parameters
    ----------
    source : path, FeatureSet, Features or array
        A folder of this toolbox; ``features.npy`` (or .h5, .mat, .txt, .pt, whole or in parts)
        and ``file_names.txt`` of its versions 1 and 2; a folder of ``.npz``, one an image or one a
        layer, as Net2Brain writes; a folder of ``.npy``, one a module; or a single file.

    Raises
    ------
    InvalidArgument
        If nothing is there, or nothing that can be read.
    """
    if isinstance(source, Features):
        source = FeatureSet({source.module or FEATURES: source})
    if isinstance(source, FeatureSet):
        return _of_set(source, "thingsvision")
    if not isinstance(source, (str, os.PathLike)):
        return Given({FEATURES: np.asarray(source)}, None, "an array")
    path = location(source)
    if is_remote(path):
        return _of_set(open_features(path), "thingsvision")
    if path.is_file():
        return _file(path)
    if not path.is_dir():
        raise InvalidArgument(
            f"There is no folder or file {str(path)!r} with features.{near_features(path)}"
        )
    if (path / META).is_file():
        return _of_set(open_features(path), "thingsvision")
    for format, kind in ARRAY_FORMATS.items():
        if any(path.glob(f"{FEATURES}{kind.suffix}")) or any(
            path.glob(f"{FEATURES}_[0-9]*{kind.suffix}")
        ):
            array = merge_parts(path, FEATURES, format)
            return Given({FEATURES: array}, _names(path, len(array)), "thingsvision 1 or 2")
    archives = sorted(path.glob("*.npz"))
    if archives:
        return _net2brain(archives)
    arrays = {file.stem: _numpy(file, mmap_mode="r") for file in sorted(path.glob("*.npy"))}
    if arrays and len({array.shape[:1] for array in arrays.values()}) == 1:
        count = len(next(iter(arrays.values())))
        return Given(arrays, _names(path, count), "a folder of .npy files")
    raise InvalidArgument(
        f"{str(path)!r} holds no features that are known here, but: "
        f"{listing(sorted(item.name for item in path.iterdir()), 5) or 'nothing'}. Known are "
        f"folders of thingsvision, {FEATURES}.npy with {NAMES}, .npz files of Net2Brain, and .npy "
        "files with as many rows each."
    )


def _of_set(features: FeatureSet, made_by: str) -> Given:
    ids = next(iter(features.values())).ids
    return Given(
        {name: item.array for name, item in features.items()}, ids, made_by,
        {name: item.axes for name, item in features.items()}, features.provenance,
        features.failures,
    )  # fmt: skip


def _file(path: Path) -> Given:
    if path.suffix.lower() == ".npz":
        return _net2brain([path])
    if path.suffix.lower() not in {kind.suffix for kind in ARRAY_FORMATS.values()}:
        raise InvalidArgument(
            f"{str(path)!r} is no file of features; known are "
            f"{listing([kind.suffix for kind in ARRAY_FORMATS.values()])} and .npz."
        )
    array = _numpy(path, mmap_mode="r") if path.suffix.lower() == ".npy" else _array(path)
    if not array.size:
        raise _unreadable(path, ValueError("it holds no numbers"))
    return Given({path.stem: array}, _names(path.parent, len(array)), f"a {path.suffix} file")


def _numpy(path: Path, **options: Any) -> Any:
    """Open a file of NumPy."""
    try:
        found = np.load(path, allow_pickle=False, **options)
    except (OSError, ValueError, EOFError) as error:
        raise _unreadable(path, error) from error
    if isinstance(found, np.ndarray) == (path.suffix.lower() == ".npz"):
        raise _unreadable(path, ValueError(f"it is no {path.suffix} file"))
    return found


def _array(path: Path) -> NDArray[Any]:
    try:
        return read_array(path, FEATURES)
    except ThingsvisionError:
        raise
    except Exception as error:  # each format has errors of its own for a broken file
        raise _unreadable(path, error) from error


def _unreadable(path: Path, error: Exception) -> InvalidArgument:
    return InvalidArgument(
        f"{str(path)!r} cannot be read as {path.suffix}: {reason_of(error)}. Is it complete, "
        "and of the format that its name says?"
    )


def _names(folder: Path, count: int) -> tuple[str, ...] | None:
    """Read the names of rows that lie beside an array, if they are as many."""
    file = folder / NAMES
    names = tuple(read_lines(file)) if file.is_file() else ()
    return names if len(names) == count else None


def _net2brain(files: list[Path]) -> Given:
    """Read archives of an image each (key → layer) or of a layer each (key → image)."""
    content: dict[str, dict[str, NDArray[Any]]] = {}
    for file in files:
        with _numpy(file) as archive:
            content[file.stem] = {key: archive[key] for key in archive.files}
    keys = list(next(iter(content.values())))
    if any(list(held) != keys for held in content.values()):
        raise StoreError(
            f"The .npz files in {str(files[0].parent)!r} hold different keys, so they are neither "
            "one an image nor one a layer."
        )
    by_key = {key: {content[stem][key].shape for stem in content} for key in keys}
    within = [len({array.shape for array in held.values()}) for held in content.values()]
    is_per_image = all(len(shapes) == 1 for shapes in by_key.values())
    if is_per_image and max(within) == 1:  # all shapes agree: there are fewer layers than images
        is_per_image = len(keys) <= len(content)
    if is_per_image:
        arrays = {key: _stacked([content[stem][key] for stem in content]) for key in keys}
        return Given(arrays, tuple(content), ".npz files, one an image")
    arrays = {stem: _stacked(list(held.values())) for stem, held in content.items()}
    return Given(arrays, tuple(keys), ".npz files, one a layer")


def _stacked(rows: list[NDArray[Any]]) -> NDArray[Any]:
    """Join activations of images, each with or without an axis of one image."""
    has_axis = all(row.ndim > 1 and len(row) == 1 for row in rows)
    return np.concatenate(rows) if has_axis else np.stack(rows)
