"""Images in a dataset of an HDF5 file, such as the stimuli of the Natural Scenes Dataset."""

from __future__ import annotations

import math
import os
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from operator import index
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from ..errors import ImageError, InvalidArgument, StimulusError, counted, listing, unknown
from ..text_files import reason_of

SUFFIXES = (".h5", ".hdf5", ".hdf", ".he5")
# Bytes that HDF5 keeps of unpacked chunks: at least, and at most where one image needs more.
CACHE, LIMIT = 2**26, 2**31
# Rows that an error names before it counts the rest.
SHOWN = 20
ALLOWED = (
    "Images have (n, height, width) or (n, height, width, 1, 3 or 4), in uint8, uint16 or "
    "floating point in 0 to 1."
)


class Hdf5Dataset:
    """A dataset of images, opened when it is first read.

    Parameters
    ----------
    path : pathlib.Path
        The file.
    name : str
        Of the dataset in it.
    shape : tuple of int
        ``(n_images, height, width[, channels])``.
    dtype : numpy.dtype
        Type of its samples.
    chunks : tuple of int, optional
        Shape of the blocks that it is stored in; None if it is stored in one piece.
    """

    def __init__(
        self,
        path: Path,
        name: str,
        shape: tuple[int, ...],
        dtype: np.dtype[Any],
        chunks: tuple[int, ...] | None = None,
    ) -> None:
        self.path = path
        self.name = name
        self.shape = shape
        self.dtype = dtype
        self.chunks = chunks
        self._opened: tuple[Any, h5py.Dataset | None] = (None, None)

    def read(self, row: int) -> NDArray[Any]:
        """Read one image.

        Raises
        ------
        ImageError
            If the file cannot be read, or the dataset is no longer what it was.
        """
        try:
            samples: NDArray[Any] = self._dataset()[row]
        except (OSError, ValueError, RuntimeError) as error:
            raise ImageError(
                f"Row {row} of {self.name!r} in {str(self.path)!r} cannot be read: "
                f"{reason_of(error)}."
            ) from error
        return samples

    def _dataset(self) -> h5py.Dataset:
        """Open the file once in each process, and again if it has been changed.

        A handle is not shared with a forked process. Threads that come first together may open
        the file twice, which does no harm; a lock might stay locked in a fork.
        """
        file = self.path.stat()
        state = (os.getpid(), file.st_ino, file.st_size, file.st_mtime_ns)
        opened, dataset = self._opened
        if dataset is None or opened != state:
            # Closed first, since HDF5 would go on with what it knows of an open file.
            dataset, self._opened = None, (None, None)
            dataset = self._open()
            self._opened = state, dataset
        return dataset

    def _open(self) -> h5py.Dataset:
        file = h5py.File(self.path, "r", rdcc_nbytes=self.cache[0], rdcc_nslots=self.cache[1])
        item = file.get(self.name)
        is_dataset = isinstance(item, h5py.Dataset)
        if not is_dataset or (item.shape, item.dtype) != (self.shape, self.dtype):
            now = "not a dataset" if not is_dataset else _described(item.shape, item.dtype)
            raise ValueError(
                f"it was {_described(self.shape, self.dtype)} when the stimuli were loaded and is "
                f"{now} now; load them again"
            )
        return item

    @property
    def cache(self) -> tuple[int, int]:
        """Bytes and slots of a cache that holds all chunks of an image.

        Its neighbours lie in the same chunks, which are so unpacked once for all of them. There
        are ten slots for a chunk, since two chunks that fall into one slot drive each other out.
        """
        if self.chunks is None:
            return CACHE, 521
        chunk = math.prod(self.chunks) * self.dtype.itemsize
        sides = zip(self.shape[1:], self.chunks[1:], strict=True)
        image = chunk * math.prod(-(-length // side) for length, side in sides)
        size = min(max(image, CACHE), LIMIT)
        return size, min(max(10 * (size // chunk), 520), 10**6) + 1  # odd, to spread them

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_opened": (None, None)}


@dataclass(frozen=True, slots=True)
class Hdf5Image:
    """One image of a dataset.

    Parameters
    ----------
    dataset : Hdf5Dataset
        Where it lies.
    row : int
        Its row there.
    """

    dataset: Hdf5Dataset
    row: int

    def read(self) -> NDArray[Any]:
        """Read its samples, shape ``(height, width[, channels])``."""
        return self.dataset.read(self.row)

    @property
    def size(self) -> tuple[int, int]:
        """Height and width, known from the shape of the dataset."""
        return self.dataset.shape[1], self.dataset.shape[2]


def find_hdf5_images(
    path: Path, dataset: str | None = None, rows: Iterable[int] | slice | None = None
) -> list[Hdf5Image]:
    """Find the images in an HDF5 file; only its header is read.

    Parameters
    ----------
    path : pathlib.Path
        The file.
    dataset : str, optional
        Its name; may be left away if only one dataset could be images.
    rows : sequence of int, or slice, optional
        Which images, in which order; by default all.

    Returns
    -------
    list of Hdf5Image

    Raises
    ------
    StimulusError
        If the file cannot be read or holds no such images.
    InvalidArgument
        If several datasets could be meant, or rows are not in the dataset or doubled.
    """
    try:
        with h5py.File(path, "r") as file:
            found = _datasets(file)
            name = _only(path, found) if dataset is None else _asked_for(path, file, found, dataset)
            item = file[name]
            source = Hdf5Dataset(path, name, item.shape, item.dtype, item.chunks)
    except (OSError, RuntimeError) as error:
        raise StimulusError(
            f"The HDF5 file {str(path)!r} cannot be read: {reason_of(error)}. Is it "
            "complete, and HDF5? Copy or download it again."
        ) from error
    return [Hdf5Image(source, row) for row in _checked(rows, source)]


def _datasets(file: h5py.File) -> dict[str, h5py.Dataset]:
    """List all datasets by their names."""
    found: dict[str, h5py.Dataset] = {}

    def remember(name: str, item: Any) -> None:
        if isinstance(item, h5py.Dataset):
            found[name] = item

    file.visititems(remember)
    return found


def _only(path: Path, found: dict[str, h5py.Dataset]) -> str:
    """Find the one dataset that could be images."""
    likely = [name for name, item in found.items() if _are_images(item)]
    if len(likely) > 1:
        raise InvalidArgument(
            f"Several datasets in {str(path)!r} could be the images: "
            f"{listing(_shown(found, likely))}. Choose one, e.g. dataset={likely[0]!r}."
        )
    if likely:
        return likely[0]
    features = [name for name, item in found.items() if _are_features(item)]
    if features:
        raise _holds_features(path, features[0], found[features[0]])
    held = listing(_shown(found, found)) or "no dataset"
    raise StimulusError(
        f"There is no dataset of images in {str(path)!r}; it holds {held}. {ALLOWED}"
    )


def _asked_for(path: Path, file: h5py.File, found: dict[str, h5py.Dataset], wanted: str) -> str:
    """Check the dataset that was asked for, which may be a link to one."""
    name = wanted.strip("/")
    item = file.get(name) if name else None
    if not isinstance(item, h5py.Dataset):
        inside = [other for other in found if other.startswith(f"{name}/")]
        if inside:
            raise StimulusError(
                f"{wanted!r} in {str(path)!r} is a group, not a dataset. It holds "
                f"{listing(_shown(found, inside))}. Give the whole name, e.g. "
                f"dataset={inside[0]!r}."
            )
        held = listing(_shown(found, found)) or "no dataset"
        raise unknown("dataset", wanted, found, f"{str(path)!r} holds {held}.")
    if _are_features(item):
        raise _holds_features(path, name, item)
    if not _are_images(item):
        raise StimulusError(
            f"The dataset {wanted!r} in {str(path)!r} is no images "
            f"({_described(item.shape, item.dtype)}). {ALLOWED}"
        )
    return name


def _holds_features(path: Path, name: str, item: h5py.Dataset) -> StimulusError:
    return StimulusError(
        f"{str(path)!r} holds features, not images: {name} "
        f"({_described(item.shape, item.dtype)}). Give the file or folder of images that they "
        "were extracted from; features are opened by open_features(folder)."
    )


def _are_features(item: h5py.Dataset) -> bool:
    """Tell what our own HDF5 store, or version 2, has written."""
    is_ours = "module" in item.attrs and "axes" in item.attrs
    is_called = item.name.rpartition("/")[2] == "features"
    return is_called and (is_ours or (item.shape is not None and len(item.shape) == 2))


def _are_images(item: h5py.Dataset) -> bool:
    shape: tuple[int, ...] = item.shape or ()
    dtype = item.dtype
    is_depth = dtype.kind == "f" or dtype.newbyteorder("=") in (np.uint8, np.uint16)
    has_axes = len(shape) == 3 or (len(shape) == 4 and shape[-1] in (1, 3, 4))
    return bool(is_depth and has_axes and 0 not in shape) and not _are_features(item)


def _shown(found: dict[str, h5py.Dataset], names: Iterable[str]) -> list[str]:
    return [f"{name} ({_described(found[name].shape, found[name].dtype)})" for name in names]


def _described(shape: tuple[int, ...] | None, dtype: np.dtype[Any]) -> str:
    size = "empty" if shape is None else " × ".join(map(str, shape)) or "one value"
    return f"{size}, {'text' if h5py.check_string_dtype(dtype) else dtype}"


def _checked(rows: Iterable[int] | slice | None, source: Hdf5Dataset) -> Iterable[int]:
    """Check the numbers of rows, and name all that cannot be read."""
    count = source.shape[0]
    if rows is None:
        return range(count)
    try:
        if isinstance(rows, slice):
            return range(count)[rows]
        given = list(rows)
        if strange := [row for row in given if isinstance(row, (bool, np.bool_))]:
            raise TypeError(f"{strange[0]!r} is none (a mask becomes rows by np.flatnonzero)")
        numbers = [index(row) for row in given]
    except (TypeError, ValueError) as error:
        raise InvalidArgument(
            f"rows= takes whole numbers, e.g. [7, 0, 11], or a slice: {error}."
        ) from error
    problems = []
    if outside := [row for row in numbers if not 0 <= row < count]:
        problems.append(
            f"{len(outside)} of {counted(len(numbers), 'row')} cannot be found in {source.name!r}, "
            f"whose rows are 0 to {count - 1}: {listing(outside, SHOWN)}."
        )
    if len(set(numbers)) < len(numbers):
        doubled = [row for row, times in Counter(numbers).items() if times > 1]
        problems.append(
            f"{counted(len(doubled), 'row')} asked for more than once: {listing(doubled, SHOWN)}. "
            "Each row of features needs an id of its own."
        )
    if problems:
        raise InvalidArgument(" ".join(problems))
    return numbers
