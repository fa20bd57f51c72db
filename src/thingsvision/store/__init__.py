"""Feature stores: where activations are kept, and read lazily."""

from __future__ import annotations

import os

from ..errors import InvalidArgument, StoreError
from ..features import FeatureSet
from ..registry import Registry
from .base import Store
from .records import read_meta
from .remote import is_remote, location
from .sink import Sink

STORES = Registry(
    "format",
    {
        "npy": "thingsvision.store.npy:NpyStore",
        "hdf5": "thingsvision.store.hdf5:Hdf5Store",
        "txt": "thingsvision.store.txt:TxtStore",
        "zarr": "thingsvision.store.zarr:ZarrStore",
        "mat": "thingsvision.store.mat:MatStore",
        "pt": "thingsvision.store.pt:PtStore",
        "csv": "thingsvision.store.table:CsvStore",
        "parquet": "thingsvision.store.table:ParquetStore",
    },
    needs={"zarr": "zarr", "csv": "pyarrow", "parquet": "pyarrow"},
)

# Formats by default: in a folder, and in an object store, where it is the only one.
IN_FOLDER, IN_OBJECTS = "npy", "zarr"


def choose_format(folder: str | os.PathLike[str], format: str | None = None) -> str:
    """Choose the format in which features are written.

    Parameters
    ----------
    folder : path or URL
        Where to.
    format : str, optional
        The one that was asked for.

    Raises
    ------
    InvalidArgument
        If the format cannot be written there.

    Examples
    --------
    >>> choose_format("features"), choose_format("memory://features")
    ('npy', 'zarr')
    """
    if not is_remote(location(folder)):
        return format or IN_FOLDER
    if format not in (None, IN_OBJECTS):
        raise InvalidArgument(
            f"The format {format!r} cannot be written to {os.fspath(folder)!r}: its files are "
            f"filled in place, and an object can only be replaced as a whole. Take format "
            f"{IN_OBJECTS!r}, which has an object for each batch, or a folder; thingsvision "
            "convert makes other formats of it in a folder."
        )
    return IN_OBJECTS


def make_store(folder: str | os.PathLike[str], format: str | None = None) -> Store:
    """Make the store that writes and reads a folder.

    Parameters
    ----------
    folder : path or URL
        Where the features lie, or will.
    format : str, optional
        A name in `STORES`; chosen by `choose_format` if none is given.

    Raises
    ------
    InvalidArgument
        If the format cannot be written there.
    UnknownName
        If there is no such format.

    Examples
    --------
    >>> make_store("features").format
    'npy'
    """
    store_class = STORES[choose_format(folder, format)]
    if is_remote(location(folder)):
        from .remote_zarr import RemoteZarrStore

        store_class = RemoteZarrStore
    store: Store = store_class(folder)
    return store


def open_features(folder: str | os.PathLike[str]) -> FeatureSet:
    """Open the features in a folder; they are read when they are used.

    Parameters
    ----------
    folder : path or URL
        What `extract_features` wrote to.

    Returns
    -------
    FeatureSet
        Module address → `Features`.

    Raises
    ------
    StoreError
        If the folder holds no features, or unfinished ones.

    Examples
    --------
    >>> import numpy as np, tempfile
    >>> from thingsvision.extraction import extract_features
    >>> from thingsvision.testing import toy_network
    >>> folder = tempfile.mkdtemp()
    >>> images = np.zeros((2, 8, 6, 3), np.uint8)
    >>> _ = extract_features(toy_network(), images, "fc", out=folder)
    >>> open_features(folder)
    FeatureSet(2 stimuli; fc: 2 × 5)
    """
    folder = location(folder)
    return make_store(folder, read_meta(folder)["format"]).read()


def recorded_batch_size(folder: str | os.PathLike[str]) -> int | None:
    """Read the batch size of the features in a folder, finished or not; None if there are none."""
    try:
        return int(read_meta(location(folder))["request"]["batch_size"])
    except (StoreError, KeyError):
        return None


__all__ = [
    "STORES",
    "Sink",
    "Store",
    "choose_format",
    "location",
    "make_store",
    "open_features",
    "read_meta",
    "recorded_batch_size",
]
