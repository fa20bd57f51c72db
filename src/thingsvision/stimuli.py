"""StimulusSet: ordered, named images. Ids join everything later."""

from __future__ import annotations

import csv
import os
import unicodedata
import warnings
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from .errors import InvalidArgument, StimulusError, listing, nearest
from .images import SUFFIXES, probe_image, read_image
from .provenance import digest, digest_items

# What operating systems and notebooks leave behind.
LITTER = {".ipynb_checkpoints", "thumbs.db", ".ds_store", "__macosx", "desktop.ini"}
COLUMNS = {"path": ("path", "file", "filename", "file_name", "image"), "id": ("id", "stimulus")}

Source = Path | NDArray[Any]


@dataclass(frozen=True, eq=False)
class StimulusSet:
    """Ordered, named images.

    Parameters
    ----------
    ids : tuple of str
        One per image, all different.
    sources : tuple of pathlib.Path or array
        What each image is read from; arrays have shape ``(height, width, 3)`` or any other
        that `thingsvision.images.read_image` takes.
    targets : array of int, shape (n_stimuli,), optional
        Index of each image's class in `classes`.
    classes : tuple of str
        Names of the classes, if the images came in classes.
    left_out : tuple of str
        Files that were found but are not images.

    Raises
    ------
    StimulusError
        If there is no image, or ids are doubled.

    Examples
    --------
    >>> stimuli = load_stimuli(np.zeros((2, 8, 8, 3), np.uint8))
    >>> stimuli
    StimulusSet(2 stimuli: 000000, 000001)
    """

    ids: tuple[str, ...]
    sources: tuple[Source, ...]
    targets: NDArray[np.int64] | None = None
    classes: tuple[str, ...] = ()
    left_out: tuple[str, ...] = field(default=(), repr=False)

    def __post_init__(self) -> None:
        if not self.ids:
            raise StimulusError("There are no stimuli.")
        if len(self.ids) != len(self.sources):
            raise InvalidArgument(
                f"{len(self.ids)} ids were given for {len(self.sources)} images; "
                "each image needs one id."
            )
        doubled = [name for name, count in Counter(self.ids).items() if count > 1]
        if doubled:
            raise StimulusError(
                f"{len(doubled)} ids occur more than once: {listing(doubled)}. "
                "Rows of features are found by id, so each id must be its own."
            )

    def __len__(self) -> int:
        return len(self.ids)

    def __getitem__(self, rows: slice) -> StimulusSet:
        if not isinstance(rows, slice):
            raise InvalidArgument(
                f"A stimulus set takes a slice, such as stimuli[:10], not {rows!r}. "
                "One picture is stimuli.image(row)."
            )
        return self._take(range(len(self))[rows])

    def select(self, ids: Sequence[str]) -> StimulusSet:
        """Take some stimuli, in the order asked for.

        Raises
        ------
        StimulusError
            If ids are unknown; all are named.
        """
        rows = {name: row for row, name in enumerate(self.ids)}
        missing = [name for name in ids if name not in rows]
        if missing:
            raise StimulusError(
                f"{len(missing)} of {len(ids)} ids are not among the stimuli: {listing(missing)}. "
                f"Nearest to the first: {listing(nearest(missing[0], self.ids))}."
            )
        return self._take([rows[name] for name in ids])

    def _take(self, rows: Iterable[int]) -> StimulusSet:
        rows = list(rows)
        return StimulusSet(
            tuple(self.ids[row] for row in rows),
            tuple(self.sources[row] for row in rows),
            None if self.targets is None else self.targets[rows],
            self.classes,
        )

    def read(self, row: int) -> tuple[Image.Image, str]:
        """Decode one image, and compute the digest of what it was decoded from.

        Returns
        -------
        image : PIL.Image.Image
            Upright, mode RGB.
        digest : str
            SHA-256 of the file, or of the array's bytes.

        Raises
        ------
        ImageError
            If the image cannot be decoded; says why.
        """
        return read_image(self.sources[row]), self.digest(row)

    def image(self, row: int) -> Image.Image:
        """Decode one image: upright, mode RGB."""
        return read_image(self.sources[row])

    def digest(self, row: int) -> str:
        """Compute the SHA-256 of one image's file, or of its array."""
        source = self.sources[row]
        if isinstance(source, Path):
            return digest(source.read_bytes())
        return digest_items([str(source.dtype), source.shape, digest(source.tobytes())])

    @cached_property
    def sizes(self) -> tuple[tuple[int, int], ...]:
        """Height and width of every upright image, read from the headers.

        Raises
        ------
        StimulusError
            If headers show that images cannot be read; all are named with the reason.
        """
        sizes, problems = [], []
        for source in self.sources:
            try:
                sizes.append(probe_image(source))
            except StimulusError as error:
                problems.append(str(error))
        if problems:
            lines = "\n  ".join(problems[:20])
            more = f"\n  … and {len(problems) - 20} more" if len(problems) > 20 else ""
            raise StimulusError(
                f"{len(problems)} of {len(self)} images cannot be read:\n  {lines}{more}\n"
                "Mend or remove them, or give the list of files you want."
            )
        return tuple(sizes)

    def __repr__(self) -> str:
        classes = f" in {len(self.classes)} classes" if self.classes else ""
        return f"StimulusSet({len(self)} stimuli{classes}: {listing(self.ids, 3)})"


def load_stimuli(
    source: str | os.PathLike[str] | Sequence[Any] | NDArray[Any],
    *,
    file_names: Sequence[str] | str | os.PathLike[str] | None = None,
    ids: Sequence[str] | None = None,
    root: str | os.PathLike[str] | None = None,
) -> StimulusSet:
    """Find the images of an experiment and give them an order and names.

    Images of a folder are sorted by the parts of their relative path, each in code-point
    order. If all of them lie in subfolders, the first subfolder is the class. A list, a
    table or `file_names` keeps its own order.

    Parameters
    ----------
    source : path, sequence of paths, or arrays
        A folder; a CSV file with a column ``path`` (and, if wanted, ``id`` and ``class``);
        a list of image files; or images as an array ``(n_stimuli, height, width, 3)`` or a
        list of arrays ``(height, width, 3)``.
    file_names : sequence of str, or path of a text file with a name per line, optional
        Which images of the folder, in which order.
    ids : sequence of str, optional
        Names to use in place of the paths.
    root : path, optional
        Folder that a list's or a table's paths, and the ids, are relative to.

    Returns
    -------
    StimulusSet
        Ids are paths relative to the root, with ``/`` and the suffix, in Unicode NFC.

    Raises
    ------
    StimulusError
        If the folder is missing or empty, names do not exist, or ids are doubled. All
        problems of one kind are named together.

    Examples
    --------
    >>> load_stimuli([np.zeros((4, 4, 3), np.uint8)], ids=["black"]).ids
    ('black',)
    """
    if isinstance(source, np.ndarray) or _is_arrays(source):
        stimuli = _from_arrays(source, ids)
    elif isinstance(source, (str, os.PathLike)):
        path = Path(source).expanduser()
        if not path.exists():
            raise StimulusError(
                f"There is no folder or file {str(path)!r} (the current folder is "
                f"{str(Path.cwd())!r}).{_siblings(path)}"
            )
        if path.is_dir():
            stimuli = _from_folder(path, file_names)
        elif path.suffix.lower() in (".csv", ".tsv"):
            stimuli = _from_table(path, root)
        else:
            stimuli = _from_paths([path], root)
    elif isinstance(source, Sequence):
        stimuli = _from_paths([Path(item).expanduser() for item in source], root)
    else:
        raise InvalidArgument(
            f"Stimuli were given as {type(source).__name__}; allowed are a folder, a list of "
            "files, a CSV file, and arrays."
        )
    if file_names is not None and not _is_folder(source):
        raise InvalidArgument("file_names chooses among the images of a folder; give a folder.")
    if ids is not None:
        stimuli = StimulusSet(tuple(ids), stimuli.sources, stimuli.targets, stimuli.classes)
    return stimuli


def _is_folder(source: Any) -> bool:
    return isinstance(source, (str, os.PathLike)) and Path(source).expanduser().is_dir()


def _is_arrays(source: Any) -> bool:
    return (
        isinstance(source, Sequence)
        and not isinstance(source, str)
        and len(source) > 0
        and isinstance(source[0], (np.ndarray, Image.Image))
    )


def _siblings(path: Path) -> str:
    if not path.parent.is_dir():
        return ""
    near = nearest(path.name, [item.name for item in path.parent.iterdir()], 3)
    return f" Beside it: {listing(near)}." if near else ""


def _from_arrays(source: Any, ids: Sequence[str] | None) -> StimulusSet:
    arrays = [np.asarray(item) for item in source]
    numbers = tuple(f"{row:06d}" for row in range(len(arrays)))
    for name, array in zip(ids or numbers, arrays, strict=False):
        try:
            probe_image(array)
        except StimulusError as error:
            raise StimulusError(f"Array of stimulus {name!r}: {error}") from error
    return StimulusSet(numbers, tuple(arrays))


def _from_folder(root: Path, file_names: Any) -> StimulusSet:
    images, left_out = _scan(root)
    if not images:
        raise StimulusError(
            f"There are no images in {str(root)!r} ({len(left_out)} other files). "
            f"Known are {listing(sorted(SUFFIXES), 60)}."
        )
    known = {_identifier(relative): relative for relative in images}
    chosen = list(known) if file_names is None else _named(file_names, known)
    if file_names is None and left_out:
        warnings.warn(
            f"{len(left_out)} files in {str(root)!r} are not images and were left out: "
            f"{listing(left_out)}.",
            stacklevel=3,
        )
    targets, classes = _classes([Path(name) for name in chosen])
    return StimulusSet(
        tuple(chosen),
        tuple(root / known[name] for name in chosen),
        targets,
        classes,
        tuple(left_out),
    )


def _scan(root: Path) -> tuple[list[Path], list[str]]:
    """List images, sorted by the parts of their relative path, and all other files."""
    images, others = [], []
    seen: set[str] = set()
    for folder, folders, files in os.walk(root, followlinks=True):
        real = os.path.realpath(folder)
        if real in seen:  # a link that leads back
            folders.clear()
            continue
        seen.add(real)
        here = Path(folder).relative_to(root)
        others += [(here / name).as_posix() for name in folders if name.lower() in LITTER]
        folders[:] = [name for name in folders if name.lower() not in LITTER]
        for name in files:
            relative = here / name
            hidden = name.startswith(".") or name.lower() in LITTER
            if relative.suffix.lower() in SUFFIXES and not hidden:
                images.append(relative)
            else:
                others.append(relative.as_posix())
    images.sort(key=lambda path: unicodedata.normalize("NFC", path.as_posix()).split("/"))
    return images, sorted(others)


def _named(file_names: Any, known: dict[str, Path]) -> list[str]:
    if isinstance(file_names, (str, os.PathLike)):
        lines = Path(file_names).read_text(encoding="utf-8-sig").splitlines()
        file_names = [line for line in lines if line.strip()]
    wanted = [_identifier(Path(name)) for name in file_names]
    missing = [name for name in wanted if name not in known]
    if missing:
        raise StimulusError(
            f"{len(missing)} of {len(wanted)} file names are not in the folder: "
            f"{listing(missing)}. Nearest to the first: {listing(nearest(missing[0], known))}. "
            "Names are relative to the folder, with their suffix."
        )
    return wanted


def _from_paths(paths: list[Path], root: str | os.PathLike[str] | None) -> StimulusSet:
    if not paths:
        raise StimulusError("The list of images is empty.")
    base = Path(root).expanduser() if root is not None else None
    files = [base / path if base else path for path in paths]
    missing = [str(path) for path in files if not path.is_file()]
    if missing:
        raise StimulusError(
            f"{len(missing)} of {len(files)} files do not exist: {listing(missing)}."
        )
    if base is None and len(files) > 1:
        base = Path(os.path.commonpath([path.absolute().parent for path in files]))
    elif base is None:
        base = files[0].absolute().parent
    relative = [Path(os.path.relpath(path.absolute(), base.absolute())) for path in files]
    targets, classes = _classes(relative)
    return StimulusSet(tuple(map(_identifier, relative)), tuple(files), targets, classes)


def _from_table(table: Path, root: str | os.PathLike[str] | None) -> StimulusSet:
    with table.open(newline="", encoding="utf-8-sig") as file:
        sample = file.read(4096)
        file.seek(0)
        separator = max(",\t;", key=sample.partition("\n")[0].count)
        rows = list(csv.DictReader(file, delimiter=separator))
    header = {str(name).strip().lower(): name for name in (rows[0] if rows else {})}
    column = next((header[name] for name in COLUMNS["path"] if name in header), None)
    if column is None:
        raise StimulusError(
            f"The table {str(table)!r} has {len(rows)} rows and the columns "
            f"{listing(list(header)) or 'none'}; it needs a column 'path' with image files."
        )
    base = Path(root) if root is not None else table.parent
    stimuli = _from_paths([Path(row[column]) for row in rows], base)
    named = next((header[name] for name in COLUMNS["id"] if name in header), None)
    ids = tuple(_nfc(row[named]) for row in rows) if named else stimuli.ids
    targets, classes = stimuli.targets, stimuli.classes
    if "class" in header:
        labels = [row[header["class"]] for row in rows]
        classes = tuple(sorted(set(labels)))
        targets = np.array([classes.index(label) for label in labels])
    return StimulusSet(ids, stimuli.sources, targets, classes)


def _classes(relative: list[Path]) -> tuple[NDArray[np.int64] | None, tuple[str, ...]]:
    """Take the first folder as the class, if every image lies in one."""
    if any(len(path.parts) < 2 or path.parts[0] == ".." for path in relative):
        return None, ()
    labels = [_nfc(path.parts[0]) for path in relative]
    classes = tuple(sorted(set(labels)))
    index = {name: number for number, name in enumerate(classes)}
    return np.array([index[label] for label in labels], dtype=np.int64), classes


def _identifier(relative: Path) -> str:
    return _nfc(relative.as_posix())


def _nfc(name: str) -> str:
    return unicodedata.normalize("NFC", name)
