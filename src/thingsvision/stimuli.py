"""StimulusSet: ordered, named images or texts. Ids join everything later."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any
from warnings import warn

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from .errors import (
    ImageError,
    InvalidArgument,
    StimulusError,
    ThingsvisionWarning,
    counted,
    listing,
    nearest,
    several,
)
from .folders import beside, class_index, classes_of, find_images, is_unicode, nfc
from .images import SUFFIXES, probe_image, read_image
from .provenance import digest, digest_items
from .samples import samples_of
from .tables import read_lines, read_table

# How many names an error shows before it counts the rest.
SHOWN = 100

# The suffixes that an error names before it counts the rest.
COMMON = (".jpg", ".jpeg", ".png", ".tif", ".bmp", ".webp")

Source = Path | NDArray[Any] | str


@dataclass(frozen=True, eq=False)
class StimulusSet:
    """Ordered, named images or texts.

    Parameters
    ----------
    ids : tuple of str
        One per stimulus, all different.
    sources : tuple of pathlib.Path, array or str
        What each image is read from; arrays have shape ``(height, width, 3)`` or any other
        that `thingsvision.images.read_image` takes. A str is a text, which is a stimulus
        itself; a set holds images or texts, not both.
    targets : array of int, shape (n_stimuli,), optional
        Index of each image's class in `classes`.
    classes : tuple of str
        Names of the classes, if the images came in classes.
    left_out : tuple of str
        Files that were found but are not images.

    Raises
    ------
    StimulusError
        If there is no image, or ids are doubled, empty or no text that can be written.
    InvalidArgument
        If ids or targets are not as many as images.

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
        several(self.ids, "ids={}")
        for what, given in (("ids", self.ids), ("targets", self.targets)):
            if given is not None and len(given) != len(self.sources):
                raise InvalidArgument(
                    f"{len(given)} {what} were given for {counted(len(self.sources), 'image')}; "
                    "each image needs one."
                )
        doubled = [name for name, count in Counter(self.ids).items() if count > 1]
        if doubled:
            raise StimulusError(
                f"{counted(len(doubled), 'id')} found more than once: {listing(doubled, SHOWN)}. "
                "Rows of features are found by id, so each id must be its own. (Names that "
                "look alike but are made of different Unicode characters are one id.)"
            )
        unwritable = [name for name in self.ids if not name.strip() or not is_unicode(name)]
        if unwritable:
            raise StimulusError(
                f"{counted(len(unwritable), 'id')} found to be empty or no Unicode text: "
                f"{listing([ascii(name) for name in unwritable], SHOWN)}. Rename the files, or "
                "give names with ids=."
            )

    def __len__(self) -> int:
        return len(self.ids)

    @property
    def modality(self) -> str:
        """``"image"`` or ``"text"``."""
        return "text" if isinstance(self.sources[0], str) else "image"

    @property
    def texts(self) -> tuple[str, ...]:
        """The texts of a set of texts; empty for images."""
        return tuple(source for source in self.sources if isinstance(source, str))

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
        InvalidArgument
            If one text was given, not a list.
        """
        several(ids, "stimuli.select({})")
        return self._take(_rows(ids, self.ids, "id", "are not among the stimuli"))

    def _take(self, rows: Iterable[int]) -> StimulusSet:
        rows = list(rows)
        return StimulusSet(
            tuple(self.ids[row] for row in rows),
            tuple(self.sources[row] for row in rows),
            None if self.targets is None else self.targets[rows],
            self.classes,
        )

    def read(self, row: int) -> tuple[Image.Image, str]:
        """Decode one image, and compute the digest of the very bytes it was decoded from.

        Returns
        -------
        image : PIL.Image.Image
            Upright, mode RGB.
        digest : str
            SHA-256 of the file, or of the array.

        Raises
        ------
        ImageError
            If the image cannot be decoded; says why.
        """
        source = self.sources[row]
        if not isinstance(source, Path):
            return self.image(row), self.digest(row)
        try:
            data = source.read_bytes()
            return read_image(data), digest(data)
        except (OSError, ImageError):
            read_image(source)  # fails likewise, and its error names the file
            raise

    def image(self, row: int) -> Image.Image:
        """Decode one image: upright, mode RGB."""
        source = self.sources[row]
        if isinstance(source, str):
            raise InvalidArgument(f"Stimulus {self.ids[row]!r} is a text, not an image.")
        with _naming(self.ids[row], source):
            return read_image(source)

    def digest(self, row: int) -> str:
        """Compute the SHA-256 of one image's file, of its array, or of a text in UTF-8.

        Raises
        ------
        ImageError
            If the file cannot be read.
        """
        source = self.sources[row]
        if isinstance(source, Path):
            try:
                return digest(source.read_bytes())
            except OSError as error:
                raise ImageError(f"The image {str(source)!r} cannot be read: {error}.") from error
        if isinstance(source, str):
            return digest(source.encode())
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
        for name, source in zip(self.ids, self.sources, strict=True):
            try:
                if isinstance(source, str):
                    raise InvalidArgument(f"Stimulus {name!r} is a text, not an image.")
                with _naming(name, source):
                    sizes.append(probe_image(source))
            except ImageError as error:
                problems.append(str(error))
        if problems:
            lines = "\n  ".join(problems[:SHOWN])
            more = f"\n  … and {len(problems) - SHOWN} more" if len(problems) > SHOWN else ""
            raise StimulusError(
                f"{len(problems)} of {counted(len(self), 'image')} cannot be read:\n  "
                f"{lines}{more}\nMend or remove them, or give the list of files you want."
            )
        return tuple(sizes)

    def __repr__(self) -> str:
        classes = f" in {len(self.classes)} classes" if self.classes else ""
        noun = "stimulus" if len(self) == 1 else "stimuli"
        return f"StimulusSet({len(self)} {noun}{classes}: {listing(self.ids, 3)})"


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
        list of arrays ``(height, width, 3)`` or Pillow images.
    file_names : sequence of str, or path of a text file with a name per line, optional
        Which images of the folder, in which order.
    ids : sequence of str, optional
        Names to use in place of the paths.
    root : path, optional
        Folder that a list's or a table's paths, and the ids, are relative to; by default the
        table's own folder, or the deepest folder around all files of a list.

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
            file_names = read_lines(file_names)
        wanted = [nfc(Path(name).as_posix()) for name in file_names]
        lack = f"are not images in the folder {str(root)!r}"
        everything = everything._take(_rows(wanted, names, "file name", lack))
    return _named(everything, ids)


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


@contextmanager
def _naming(name: str, source: Source) -> Iterator[None]:
    """Put the id of an array into the errors about it; those about a file name the file."""
    try:
        yield
    except ImageError as error:
        if isinstance(source, Path):
            raise
        raise ImageError(f"Stimulus {name!r}: {error}") from error


def _named(stimuli: StimulusSet, ids: Sequence[str] | None) -> StimulusSet:
    names = stimuli.ids if ids is None else ids
    return StimulusSet(
        tuple(nfc(str(name)) for name in names), stimuli.sources, stimuli.targets, stimuli.classes,
        stimuli.left_out,
    )  # fmt: skip


def _rows(wanted: Sequence[str], known: Sequence[str], what: str, lack: str) -> list[int]:
    """Find the rows of ids; name all that are missing."""
    rows = {name: row for row, name in enumerate(known)}
    wanted = [nfc(name) for name in wanted]
    missing = [name for name in wanted if name not in rows]
    if missing:
        raise StimulusError(
            f"{len(missing)} of {counted(len(wanted), what)} {lack}: {listing(missing, SHOWN)}. "
            f"Nearest to the first: {listing(nearest(missing[0], known))}."
        )
    return [rows[name] for name in wanted]
