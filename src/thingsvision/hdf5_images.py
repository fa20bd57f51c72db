"""Images in a dataset of an HDF5 file, such as the stimuli of the Natural Scenes Dataset."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from operator import index
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from .errors import ImageError, InvalidArgument, StimulusError, listing, unknown

SUFFIXES = (".h5", ".hdf5", ".hdf", ".he5")
# Bytes that HDF5 keeps of a compressed dataset: a chunk with several images is unpacked once.
CACHE = 2**26


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
    """

    def __init__(self, path: Path, name: str, shape: tuple[int, ...], dtype: np.dtype[Any]) -> None:
        self.path = path
        self.name = name
        self.shape = shape
        self.dtype = dtype
        self._opened: dict[int, h5py.Dataset] = {}

    def read(self, row: int) -> NDArray[Any]:
        """Read one image.

        Raises
        ------
        ImageError
            If the file cannot be read.
        """
        try:
            samples: NDArray[Any] = self._dataset()[row]
        except (OSError, ValueError, KeyError, RuntimeError) as error:
            raise ImageError(
                f"Row {row} of {self.name!r} in {str(self.path)!r} cannot be read: {error}."
            ) from error
        return samples

    def _dataset(self) -> h5py.Dataset:
        """Open the file once in each process: a handle does not outlive a fork."""
        here = os.getpid()
        if here not in self._opened:
            self._opened = {here: h5py.File(self.path, "r", rdcc_nbytes=CACHE)[self.name]}
        return self._opened[here]

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_opened": {}}


@dataclass(frozen=True)
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
    def blank(self) -> NDArray[Any]:
        """Give black samples of its shape and type, which need no memory and no reading."""
        return np.broadcast_to(np.zeros((), self.dataset.dtype), self.dataset.shape[1:])


def find_hdf5_images(
    path: Path, dataset: str | None = None, rows: Sequence[int] | None = None
) -> list[Hdf5Image]:
    """Find the images in an HDF5 file; only its header is read.

    Parameters
    ----------
    path : pathlib.Path
        The file.
    dataset : str, optional
        Its name; may be left away if only one dataset could be images.
    rows : sequence of int, optional
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
    except OSError as error:
        raise StimulusError(f"The HDF5 file {str(path)!r} cannot be read: {error}.") from error
    wanted = _chosen(path, found, dataset)
    source = Hdf5Dataset(path, wanted, *found[wanted])
    numbers = range(source.shape[0]) if rows is None else _checked(rows, source)
    return [Hdf5Image(source, row) for row in numbers]


def _datasets(file: h5py.File) -> dict[str, tuple[tuple[int, ...], np.dtype[Any]]]:
    """List the shapes and types of all datasets."""
    found: dict[str, tuple[tuple[int, ...], np.dtype[Any]]] = {}

    def remember(name: str, item: Any) -> None:
        if isinstance(item, h5py.Dataset) and item.shape is not None:
            found[name] = (item.shape, item.dtype)

    file.visititems(remember)
    return found


def _chosen(path: Path, found: dict[str, Any], dataset: str | None) -> str:
    likely = [name for name, (shape, dtype) in found.items() if _are_images(shape, dtype)]
    shown = [f"{name} ({' × '.join(map(str, shape))}, {dtype})" for name, (shape, dtype) in
             found.items()]  # fmt: skip
    if dataset is not None:
        name = dataset.strip("/")
        if name not in found:
            there = f"{str(path)!r} holds {listing(shown) or 'none'}."
            raise unknown("dataset", dataset, found, there)
        if name not in likely:
            shape, dtype = found[name]
            raise StimulusError(
                f"The dataset {dataset!r} in {str(path)!r} has the shape {shape} and type {dtype}. "
                "Images have (n, height, width) or (n, height, width, 1, 3 or 4), in uint8, uint16 "
                "or floating point in 0 to 1."
            )
        return name
    if not likely:
        raise StimulusError(
            f"There is no dataset of images in {str(path)!r}; it holds "
            f"{listing(shown) or 'no dataset'}. Images have (n, height, width, channels)."
        )
    if len(likely) > 1:
        raise InvalidArgument(
            f"Several datasets in {str(path)!r} could be the images: {listing(likely)}. Choose "
            f"one, e.g. dataset={likely[0]!r}."
        )
    return likely[0]


def _are_images(shape: tuple[int, ...], dtype: np.dtype[Any]) -> bool:
    is_depth = dtype.kind == "f" or dtype.newbyteorder("=") in (np.uint8, np.uint16)
    has_axes = len(shape) == 3 or (len(shape) == 4 and shape[-1] in (1, 3, 4))
    return bool(is_depth and has_axes and 0 not in shape)


def _checked(rows: Sequence[int], source: Hdf5Dataset) -> list[int]:
    try:
        numbers = [index(row) for row in rows]
    except TypeError as error:
        raise InvalidArgument(f"rows= takes whole numbers: {error}.") from error
    count = source.shape[0]
    if outside := [row for row in numbers if not 0 <= row < count]:
        raise InvalidArgument(
            f"{len(outside)} of {len(numbers)} rows are not in {source.name!r}, whose rows are 0 "
            f"to {count - 1}: {listing(outside, 20)}."
        )
    seen: set[int] = set()
    if doubled := [row for row in numbers if row in seen or seen.add(row)]:  # type: ignore[func-returns-value]
        raise InvalidArgument(
            f"Rows are asked for more than once: {listing(doubled, 20)}. Each row of features "
            "needs an id of its own."
        )
    return numbers
