"""Feature stores: where activations are kept, and read lazily."""

from __future__ import annotations

import os
from pathlib import Path

from ..errors import StoreError
from ..features import FeatureSet
from ..registry import Registry
from .base import Store
from .records import read_meta
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


def open_features(folder: str | os.PathLike[str]) -> FeatureSet:
    """Open the features in a folder; they are read when they are used.

    Parameters
    ----------
    folder : path
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
    folder = Path(folder).expanduser()
    store: Store = STORES[read_meta(folder)["format"]](folder)
    return store.read()


def recorded_batch_size(folder: str | os.PathLike[str]) -> int | None:
    """Read the batch size of the features in a folder, finished or not; None if there are none."""
    try:
        return int(read_meta(Path(folder).expanduser())["request"]["batch_size"])
    except (StoreError, KeyError):
        return None


__all__ = ["STORES", "Sink", "Store", "open_features", "read_meta", "recorded_batch_size"]
