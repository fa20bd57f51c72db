"""Finding the images of an experiment, in a stated order and with names."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any
from warnings import warn

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from ..errors import (
    InvalidArgument,
    StimulusError,
    ThingsvisionWarning,
    counted,
    listing,
    several,
)
from ..images import MAX_PIXELS, SUFFIXES
from ..samples import samples_of
from ..tables import read_lines, read_table
from ..text_files import beside
from .folders import class_index, classes_of, find_images, nfc
from .hdf5_images import SUFFIXES as HDF5_SUFFIXES
from .hdf5_images import find_hdf5_images
from .stimulus_set import SHOWN, StimulusSet, rows_of

# The suffixes that an error names before it counts the rest.
COMMON = (".jpg", ".jpeg", ".png", ".tif", ".bmp", ".webp")

__all__ = ["StimulusSet", "load_stimuli"]


def load_stimuli(
    source: str | os.PathLike[str] | Sequence[Any] | NDArray[Any],
    *,
    file_names: Sequence[str] | str | os.PathLike[str] | None = None,
    ids: Sequence[str] | None = None,
    root: str | os.PathLike[str] | None = None,
    dataset: str | None = None,
    rows: Iterable[int] | slice | None = None,
    max_pixels: int = MAX_PIXELS,
) -> StimulusSet:
    """Find the images of an experiment and give them an order and names.

    Images of a folder are sorted by the parts of their relative path, each in code-point
    order. If all of them lie in subfolders, the first subfolder is the class. A list, a
    table or `file_names` keeps its own order.

    Parameters
    ----------
    source : path, sequence of paths, or arrays
        A folder; a CSV file with a column ``path`` (and, if wanted, ``id`` and ``class``);
        a list of image files; an HDF5 file with a dataset of images; or images as an array
        ``(n_stimuli, height, width, 3)`` or a list of arrays ``(height, width, 3)`` or Pillow
        images.
    file_names : sequence of str, or path of a text file with a name per line, optional
        Which images of the folder, in which order.
    ids : sequence of str, optional
        Names to use in place of the paths.
    root : path, optional
        Folder that a list's or a table's paths, and the ids, are relative to; by default the
        table's own folder, or the deepest folder around all files of a list.
    dataset : str, optional
        Name of the images in an HDF5 file, ``(n, height, width[, 1 | 3 | 4])``; needed if several
        datasets could be meant.
    rows : sequence of int, or slice, optional
        Which images of the dataset, from 0, in which order; all by default. Their numbers in the
        file are the ids, in six digits.
    max_pixels : int
        Images of more pixels are refused, since a small file can hold more than memory does.

    Returns
    -------
    StimulusSet
        Ids are paths relative to the root, with ``/`` and the suffix, in Unicode NFC.

    Raises
    ------
    StimulusError
        If the folder is missing or empty, names do not exist, or ids are doubled. All
        problems of one kind are named together.
    InvalidArgument
        If the source is none of the above, or an argument does not fit it.

    Examples
    --------
    >>> load_stimuli([np.zeros((4, 4, 3), np.uint8)], ids=["black"]).ids
    ('black',)
    """
    if ids is not None:
        several(ids, "ids={}")
    if max_pixels != MAX_PIXELS:
        if max_pixels < 1:
            raise InvalidArgument(f"max_pixels is {max_pixels}; it is at least 1.")
        found = load_stimuli(source, file_names=file_names, ids=ids, root=root, dataset=dataset,
                             rows=rows)  # fmt: skip
        return replace(found, max_pixels=max_pixels)
    if isinstance(source, np.ndarray) and source.ndim == 1 and source.dtype.kind in "UO":
        source = source.tolist()  # a column of a table, with paths
    is_path = isinstance(source, (str, os.PathLike))
    path = Path(source).expanduser() if is_path else Path()  # type: ignore[arg-type]
    if is_path and not path.exists():
        raise StimulusError(
            f"There is no folder or file {str(path)!r} (the current folder is "
            f"{str(Path.cwd())!r}).{beside(path)}"
        )
    is_folder = is_path and path.is_dir()
    if file_names is not None and not is_folder:
        raise InvalidArgument("file_names= chooses among the images of a folder; give a folder.")
    if root is not None and (is_folder or _is_arrays(source)):
        raise InvalidArgument(
            "root is what the paths of a list or a table are relative to; "
            "leave it away for a folder or arrays."
        )
    is_hdf5 = is_path and not is_folder and path.suffix.lower() in HDF5_SUFFIXES
    if not is_hdf5 and (dataset is not None or rows is not None):
        raise InvalidArgument(
            "dataset= and rows= choose among the images of an HDF5 file "
            f"({', '.join(HDF5_SUFFIXES)}); other stimuli are chosen by stimuli.select(ids)."
        )
    if is_hdf5:
        return _from_hdf5(path, dataset, rows, ids)
    base = None if root is None else Path(root).expanduser()
    if is_folder:
        return _from_folder(path, file_names, ids)
    if is_path and path.suffix.lower() in (".csv", ".tsv"):
        return _from_table(path, base or path.parent, ids)
    if is_path and path.suffix.lower() == ".txt":
        raise InvalidArgument(
            f"{str(path)!r} is a text file. If its lines are texts, take load_texts (--text on the "
            "command line); if they name images of a folder, give the folder and file_names="
            f"{str(path)!r}."
        )
    if is_path:
        return _from_paths([path], base, ids)
    if _is_arrays(source):
        return _from_arrays(source, ids)
    if isinstance(source, Sequence) and all(isinstance(i, (str, os.PathLike)) for i in source):
        return _from_paths([Path(item).expanduser() for item in source], base, ids)
    raise InvalidArgument(
        f"Stimuli were given as {type(source).__name__}; allowed are a folder, a list of "
        "image files, a CSV file, an array of images, and a list of arrays or Pillow images."
    )


def _from_folder(root: Path, file_names: Any, ids: Sequence[str] | None) -> StimulusSet:
    paths, names, others = find_images(root)
    if not names:
        found = f"other files: {listing(others)}" if others else "it is empty"
        more = len(SUFFIXES) - len(COMMON)
        raise StimulusError(
            f"There are no images in {str(root)!r} ({found}). "
            f"Known are {listing(COMMON)} and {more} other suffixes."
        )
    if others and file_names is None:
        warn(
            f"Left out of {str(root)!r}, as they are no images ({len(others)}): {listing(others)}.",
            ThingsvisionWarning,
            stacklevel=3,
        )
    sources = tuple(root / path for path in paths)
    everything = StimulusSet(tuple(names), sources, *classes_of(names), tuple(others))
    if file_names is not None:
        if isinstance(file_names, (str, os.PathLike)):
            list_file, file_names = os.fspath(file_names), read_lines(file_names)
            if not file_names:
                raise StimulusError(
                    f"The list {list_file!r} names no images. Write the name of one on each line, "
                    f"such as {names[0]}."
                )
        wanted = [nfc(Path(name).as_posix()) for name in file_names]
        lack = f"are not images in the folder {str(root)!r}"
        everything = everything.take(rows_of(wanted, names, "file name", lack))
    return _named(everything, ids)


def _from_hdf5(
    path: Path,
    dataset: str | None,
    rows: Iterable[int] | slice | None,
    ids: Sequence[str] | None,
) -> StimulusSet:
    images = find_hdf5_images(path, dataset, rows)
    return _named(StimulusSet(tuple(f"{image.row:06d}" for image in images), tuple(images)), ids)


def _from_arrays(source: Any, ids: Sequence[str] | None) -> StimulusSet:
    if isinstance(source, np.ndarray) and source.ndim == 3 and 3 in source.shape[::2]:
        raise InvalidArgument(
            f"An array of shape {source.shape} may be one colour image or several grey ones. "
            "Give [array] for one image, its channels last, or list(array) for several."
        )
    arrays = tuple(map(samples_of, source))
    numbers = tuple(f"{row:06d}" for row in range(len(arrays)))
    stimuli = _named(StimulusSet(numbers, arrays), ids)
    _ = stimuli.sizes  # names all arrays that are no images
    return stimuli


def _from_paths(
    paths: list[Path], root: Path | None, ids: Sequence[str] | None, labels: Any = None
) -> StimulusSet:
    if not paths:
        raise StimulusError("The list of images is empty.")
    files = [root / path.expanduser() if root else path for path in paths]
    folders = [str(path) for path in files if path.is_dir()]
    if folders:
        raise StimulusError(
            f"{len(folders)} of {counted(len(files), 'path')} are folders: "
            f"{listing(folders, SHOWN)}. A list names image files; give one folder by itself, not "
            "in a list. To join several, give the one around them."
        )
    missing = [str(path) for path in files if not path.is_file()]
    if missing:
        raise StimulusError(
            f"{len(missing)} of {counted(len(files), 'file')} do not exist: "
            f"{listing(missing, SHOWN)}."
            + (f" They are relative to {str(root)!r}; root= names another folder." if root else "")
        )
    whole = [path.absolute() for path in files]
    base = (root or Path(os.path.commonpath([path.parent for path in whole]))).absolute()
    names = tuple(nfc(Path(os.path.relpath(path, base)).as_posix()) for path in whole)
    indexed = classes_of(names) if labels is None else class_index(labels)
    return _named(StimulusSet(names if ids is None else tuple(ids), tuple(files), *indexed), None)


def _from_table(table: Path, root: Path, ids: Sequence[str] | None) -> StimulusSet:
    columns = read_table(table)
    names = columns.get("id") if ids is None else ids
    return _from_paths([Path(path) for path in columns["path"]], root, names, columns.get("class"))


def _is_arrays(source: Any) -> bool:
    is_list = isinstance(source, Sequence) and not isinstance(source, str) and len(source) > 0
    return isinstance(source, np.ndarray) or (
        is_list and isinstance(source[0], (np.ndarray, Image.Image))
    )


def _named(stimuli: StimulusSet, ids: Sequence[str] | None) -> StimulusSet:
    names = stimuli.ids if ids is None else ids
    return StimulusSet(
        tuple(nfc(str(name)) for name in names), stimuli.sources, stimuli.targets, stimuli.classes,
        stimuli.left_out,
    )  # fmt: skip
