"""Zarr arrays whose chunks are objects in a store such as S3."""

from __future__ import annotations

from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import StoreError
from .lazy import LazyArray
from .remote import LOOK, location
from .zarr import ZarrStore

# Objects that are sent or fetched at once.
AT_ONCE = 8
RECORD = "zarr.json"


class RemoteZarrStore(ZarrStore):
    """Features as Zarr arrays in an object store, by a URL.

    An object cannot be renamed. So the chunks lie where they will be found, and what makes an
    array of them, its ``zarr.json``, is put there last; until then it is kept beside, in an
    object whose name ends in ``.part``. Zarr encodes and decodes chunks in memory, and all that
    is sent and fetched goes through `thingsvision.store.remote.RemotePath`.
    """

    def __init__(self, folder: Any) -> None:
        super().__init__(folder)
        self.folder = location(folder)
        self._memory: dict[str, dict[str, Any]] = {}
        self._pending: dict[Path, bytes] = {}

    def create(self, file: str, shape: tuple[int, ...], dtype: np.dtype[Any]) -> None:
        """Lay out an array, or open what an interrupted run left of it."""
        if file in self._open_arrays:
            return
        memory: dict[str, Any] = {}
        self._open_arrays[file] = self.lay_out(memory, file, shape, dtype)
        self._memory[file] = memory
        record = memory[RECORD].to_bytes()
        if not self.part(file).is_file() or self.part(file).read_bytes() != record:
            self.part(file).write_bytes(record)
        # Of a finish that was interrupted, or of features some of whose images were mended.
        (self.whole(file) / RECORD).unlink(missing_ok=True)

    def put(self, file: str, start: int, rows: NDArray[Any]) -> None:
        """Encode rows of an array, from row `start` on; they are sent by ``flush``."""
        self._open_arrays[file][start : start + len(rows)] = rows
        memory = self._memory[file]
        for key in [key for key in memory if key != RECORD]:
            self._pending[self.whole(file) / key] = memory.pop(key).to_bytes()

    def flush(self) -> None:
        """Send all chunks, several at once; each is safe when it has been taken."""
        with ThreadPoolExecutor(AT_ONCE) as pool:
            for _ in pool.map(lambda chunk: chunk[0].write_bytes(chunk[1]), self._pending.items()):
                pass
        self._pending = {}

    def sync(self) -> None:
        """Do nothing: an object is safe when it has been taken."""

    def release(self) -> None:
        """Let go of all arrays."""
        super().release()
        self._memory, self._pending = {}, {}

    def holds(self, file: str, shape: tuple[int, ...], dtype: np.dtype[Any]) -> bool:
        """Tell whether an array was laid out, complete or not, and of the right shape."""
        return any(
            self.fits(path, shape, dtype) for path in (self.part(file), self.whole(file) / RECORD)
        )

    def complete(self, file: str, shape: tuple[int, ...], dtype: np.dtype[Any]) -> None:
        """Put what makes an array of the chunks; may be called twice."""
        if self.part(file).is_file():
            (self.whole(file) / RECORD).write_bytes(self.part(file).read_bytes())
            self.part(file).unlink(missing_ok=True)

    def get(self, file: str, shape: tuple[int, ...], dtype: np.dtype[Any]) -> LazyArray:
        """Open a complete array lazily: chunks are fetched when their rows are used."""
        where = self.whole(file)
        record = (where / RECORD).read_bytes()
        array = self._opened(record)

        def read(rows: Any) -> NDArray[Any]:
            try:
                return fetched(rows)
            except OSError as error:
                raise StoreError(
                    f"Rows of {str(where)!r} cannot be read: {error}. {LOOK}; if objects were "
                    "deleted, delete all of these features and extract them again."
                ) from error

        def fetched(rows: Any) -> NDArray[Any]:
            wanted = np.arange(array.shape[0])[rows]
            found = np.empty((len(wanted), *array.shape[1:]), array.dtype)
            of_chunk = wanted // array.chunks[0]
            chunks = np.unique(of_chunk)
            for first in range(0, len(chunks), AT_ONCE):
                some = chunks[first : first + AT_ONCE]
                here = np.isin(of_chunk, some)
                part = self._opened(record, where, some)
                found[here] = part.oindex[wanted[here]]
            return found

        return LazyArray(read, array.shape, array.dtype, where)

    def fits(self, path: Path, shape: tuple[int, ...], dtype: np.dtype[Any]) -> bool:
        """Tell whether an object is the record of an array of this shape and type."""
        try:
            array = self._opened(path.read_bytes())
        except (FileNotFoundError, ValueError, KeyError):
            return False
        return bool(array.shape == shape and array.dtype == dtype)

    def _opened(self, record: bytes, where: Path | None = None, chunks: Iterable[int] = ()) -> Any:
        """Open an array of which some chunks are in memory."""
        from zarr.core.buffer.cpu import Buffer

        memory = {RECORD: Buffer.from_bytes(record)}
        array = self._zarr.open_array(memory, mode="r")
        if where is not None and array.size:
            keys = ["/".join(["c", str(chunk), *"0" * (array.ndim - 1)]) for chunk in chunks]
            with ThreadPoolExecutor(AT_ONCE) as pool:
                for key, data in zip(
                    keys, pool.map(lambda key: (where / key).read_bytes(), keys), strict=True
                ):
                    memory[key] = Buffer.from_bytes(data)
        return array
