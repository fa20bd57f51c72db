"""StimulusSet: ordered, named images or texts. Ids join everything later."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from ..errors import (
    ImageError,
    InvalidArgument,
    StimulusError,
    counted,
    listing,
    nearest,
    several,
)
from ..images import MAX_PIXELS, Suffices, probe_image, read_image
from ..provenance import digest, digest_items
from ..text_files import reason_of
from .folders import is_unicode, nfc
from .hdf5_images import Hdf5Image

# How many names an error shows before it counts the rest.
SHOWN = 100

Source = Path | NDArray[Any] | Hdf5Image | str


@dataclass(frozen=True, eq=False)
class StimulusSet:
    """Ordered, named images or texts.

    Parameters
    ----------
    ids : tuple of str
        One per stimulus, all different.
    sources : tuple of pathlib.Path, array, Hdf5Image or str
        What each image is read from; arrays have shape ``(height, width, 3)`` or any other
        that `thingsvision.images.read_image` takes. A str is a text, which is a stimulus
        itself; a set holds images or texts, not both.
    targets : array of int, shape (n_stimuli,), optional
        Index of each image's class in `classes`.
    classes : tuple of str
        Names of the classes, if the images came in classes.
    left_out : tuple of str
        Files that were found but are not images.
    max_pixels : int
        Larger images are refused.

    Raises
    ------
    StimulusError
        If there is no image, or ids are doubled, empty or no text that can be written.
    InvalidArgument
        If ids or targets are not as many as images.

    Examples
    --------
    >>> picture = np.zeros((8, 8, 3), np.uint8)
    >>> StimulusSet(("black", "white"), (picture, picture + 255))
    StimulusSet(2 stimuli: black, white)
    """

    ids: tuple[str, ...]
    sources: tuple[Source, ...]
    targets: NDArray[np.int64] | None = None
    classes: tuple[str, ...] = ()
    left_out: tuple[str, ...] = field(default=(), repr=False)
    max_pixels: int = field(default=MAX_PIXELS, repr=False)

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
        return self.take(range(len(self))[rows])

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
        return self.take(rows_of(ids, self.ids, "id", "are not among the stimuli"))

    def take(self, rows: Iterable[int]) -> StimulusSet:
        """Take the stimuli of some rows, in the order given."""
        rows = list(rows)
        return StimulusSet(
            tuple(self.ids[row] for row in rows),
            tuple(self.sources[row] for row in rows),
            None if self.targets is None else self.targets[rows],
            self.classes,
            max_pixels=self.max_pixels,
        )

    def read(self, row: int, suffices: Suffices | None = None) -> tuple[Image.Image, str]:
        """Decode one image, and compute the digest of the very bytes it was decoded from.

        Parameters
        ----------
        row : int
            Which one.
        suffices : callable, optional
            As `thingsvision.images.read_image` takes it.

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
        if isinstance(source, Hdf5Image):
            with _naming(self.ids[row], source):
                samples = source.read()
                return read_image(samples), _digest_of(samples)
        if not isinstance(source, Path):
            return self.image(row), self.digest(row)
        try:
            data = source.read_bytes()
            image = read_image(data, max_pixels=self.max_pixels, suffices=suffices)
            return image, digest(data)
        except (OSError, ImageError):
            read_image(
                source, max_pixels=self.max_pixels
            )  # fails likewise, and its error names the file
            raise

    def image(self, row: int) -> Image.Image:
        """Decode one image: upright, mode RGB."""
        source = self.sources[row]
        if isinstance(source, str):
            raise InvalidArgument(f"Stimulus {self.ids[row]!r} is a text, not an image.")
        with _naming(self.ids[row], source):
            data = source.read() if isinstance(source, Hdf5Image) else source
            return read_image(data, max_pixels=self.max_pixels)

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
                raise ImageError(
                    f"The image {str(source)!r} cannot be read: {reason_of(error)}."
                ) from error
        if isinstance(source, str):
            return digest(source.encode())
        return _digest_of(source.read() if isinstance(source, Hdf5Image) else source)

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
                if isinstance(source, Hdf5Image):
                    sizes.append(source.size)
                    continue
                with _naming(name, source):
                    sizes.append(probe_image(source, max_pixels=self.max_pixels))
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


def _digest_of(samples: NDArray[Any]) -> str:
    return digest_items([str(samples.dtype), samples.shape, digest(samples.tobytes())])


@contextmanager
def _naming(name: str, source: Source) -> Iterator[None]:
    """Put the id of an array into the errors about it; those about a file name the file."""
    try:
        yield
    except ImageError as error:
        if isinstance(source, Path):
            raise
        raise ImageError(f"Stimulus {name!r}: {error}") from error


def rows_of(wanted: Sequence[str], known: Sequence[str], what: str, lack: str) -> list[int]:
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
