"""Zarr, version 3: a folder per module, a file per batch; for object stores and clusters."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..optional import require
from .chunked import ChunkedStore
from .disk import sync, sync_tree
from .lazy import LazyArray

# A chunk of zeros is written like any other, so that none is missing.
CONFIG = {"array.write_empty_chunks": True}


class ZarrStore(ChunkedStore):
    """Features as Zarr arrays, chunked by batches.

    The attributes of an array are ``module``, ``file_names`` and, where the stimuli came in
    classes, ``targets`` and ``classes``; its dimensions are named.
    """

    format = "zarr"
    suffix = ".zarr"

    def __init__(self, folder: str | os.PathLike[str]) -> None:
        super().__init__(folder)
        self._zarr: Any = require("zarr")
        self._open_arrays: dict[str, Any] = {}
        self._unsynced: dict[Path, None] = {}

    def create(self, file: str, shape: tuple[int, ...], dtype: np.dtype[Any]) -> None:
        """Lay out an array, or open what an interrupted run left of it."""
        if file in self._open_arrays:
            return
        part = self.part(file)
        if self.resume(file, shape, dtype):
            if not self._part:  # another one may be amid a chunk
                for torn in part.rglob("*.partial"):  # left by a run that was killed amid a chunk
                    torn.unlink()
            with self._zarr.config.set(CONFIG):
                self._open_arrays[file] = self._zarr.open_array(part, mode="r+")
            return
        self._open_arrays[file] = self.lay_out(part, file, shape, dtype)

    def lay_out(self, where: Any, file: str, shape: tuple[int, ...], dtype: np.dtype[Any]) -> Any:
        """Make a new array: in a folder, or in a dict."""
        module = self._module(file)
        attributes: dict[str, Any] = {"module": module, "file_names": list(self._stimuli.ids)}
        if self._stimuli.targets is not None:
            attributes["targets"] = self._stimuli.targets.tolist()
            attributes["classes"] = list(self._stimuli.classes)
        # A chunk is a batch, so that no chunk is written twice.
        rows = min(len(self._stimuli), int(self._request.get("batch_size", 1)))
        with self._zarr.config.set(CONFIG):
            return self._zarr.create_array(
                where, shape=shape, dtype=dtype,
                chunks=(rows, *(max(1, side) for side in shape[1:])),
                dimension_names=self._arrays[module]["axes"], attributes=attributes,
                overwrite=True,
            )  # fmt: skip

    def put(self, file: str, start: int, rows: NDArray[Any]) -> None:
        """Write rows of an array, from row `start` on."""
        array = self._open_arrays[file]
        array[start : start + len(rows)] = rows
        step = array.chunks[0]
        for chunk in range(start // step, (start + len(rows) - 1) // step + 1):
            self._unsynced[self.part(file) / "c" / str(chunk)] = None

    def flush(self) -> None:
        """Do nothing: every chunk is a file that is written at once."""

    def sync(self) -> None:
        """Force all chunks that were put onto the disk, and the names of their folders."""
        for chunk in self._unsynced:
            if chunk.exists():  # Zarr writes no file for a chunk of zeros
                sync_tree(chunk) if chunk.is_dir() else sync(chunk)
        for file in self._open_arrays:
            chunks = self.part(file) / "c"
            sync(self.part(file) / "zarr.json")
            if chunks.exists():
                sync(chunks)
            sync(self.part(file))
        self._unsynced = {}

    def release(self) -> None:
        """Let go of all arrays."""
        self._open_arrays = {}

    def get(self, file: str, shape: tuple[int, ...], dtype: np.dtype[Any]) -> LazyArray:
        """Open a complete array lazily."""
        path = self.whole(file)
        if not path.is_dir():
            raise FileNotFoundError(f"there is no {path.name}")
        array = self._zarr.open_array(path, mode="r")

        def read(rows: Any) -> NDArray[Any]:
            found = array[rows] if isinstance(rows, slice) else array.oindex[rows]
            return np.asarray(found)

        return LazyArray(read, array.shape, array.dtype, path)

    def fits(self, path: Path, shape: tuple[int, ...], dtype: np.dtype[Any]) -> bool:
        """Tell whether an array of this shape and type lies at a path."""
        if not path.is_dir():
            return False
        try:
            array = self._zarr.open_array(path, mode="r")
        except (OSError, ValueError, KeyError):
            return False
        return bool(array.shape == shape and array.dtype == dtype)
