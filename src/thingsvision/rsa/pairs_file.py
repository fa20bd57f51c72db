"""Pairs that go to disk as they are computed, because they do not fit into memory."""

from __future__ import annotations

import io
import tempfile
import threading
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import InvalidArgument, StoreError
from ..text_files import reason_of


class PairsFile:
    """A ``.npy`` file of dissimilarities, shape (n_pairs,), that takes them slice by slice.

    Under its name it appears when it is complete. It is written, not mapped: pages that are
    mapped would count as memory of this process.

    Parameters
    ----------
    path : Path
        Name that ends in ``.npy``.
    count : int
        Number of pairs.
    dtype : dtype
        float32 or float64.

    Raises
    ------
    InvalidArgument
        If the name does not end so.
    StoreError
        If the disk has no room.

    Examples
    --------
    >>> import tempfile
    >>> path = Path(tempfile.mkdtemp()) / "pairs.npy"
    >>> with PairsFile(path, 3, np.dtype(np.float64)) as file:
    ...     file[0:2], file[2:3] = np.array([1.0, 2.0]), np.array([3.0])
    >>> np.load(path)
    array([1., 2., 3.])
    """

    def __init__(self, path: Path, count: int, dtype: np.dtype[Any]) -> None:
        if path.suffix != ".npy":
            raise InvalidArgument(
                f"out={str(path)!r} does not end in .npy, which is what pairs are written to "
                "as they are computed. For other formats leave out out=… and save the RDM."
            )
        path.parent.mkdir(parents=True, exist_ok=True)
        self.path, self.dtype = path, dtype
        self._part = path.with_name(f"{path.name}.part")
        stream = io.BytesIO()
        header = {"descr": dtype.str, "fortran_order": False, "shape": (count,)}
        np.lib.format.write_array_header_1_0(stream, header)
        self._offset = len(stream.getvalue())
        self._size = self._offset + count * dtype.itemsize
        self._file = self._part.open("wb", buffering=0)
        self._lock = threading.Lock()
        self._file.write(stream.getvalue())

    def __enter__(self) -> PairsFile:
        from ..store.disk import reserve

        try:
            self._file.truncate(self._size)
            reserve(self._file.fileno(), self._size)
        except OSError as error:
            self.__exit__(type(error), error, None)
            raise StoreError(
                f"{self.path} needs {self._size / 1e9:.3g} GB, for which there is no room: "
                f"{reason_of(error)}. Free the space, or name another folder."
            ) from error
        return self

    def __setitem__(self, pairs: slice, values: NDArray[Any]) -> None:
        data = memoryview(np.ascontiguousarray(values, dtype=self.dtype).view(np.uint8).data)
        with self._lock:
            self._file.seek(self._offset + pairs.start * self.dtype.itemsize)
            while data:  # the system may take less than it was given
                data = data[self._file.write(data) :]

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._file.close()
        if kind is None:
            self._part.replace(self.path)
        else:
            self._part.unlink(missing_ok=True)


class PairsPlace:
    """A folder for pairs that are too many for the memory; made when it is asked for."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._made: tempfile.TemporaryDirectory[str] | None = None

    def __enter__(self) -> PairsPlace:
        return self

    def path(self) -> Path:
        """Make the folder, and name the file in it."""
        self._made = tempfile.TemporaryDirectory(
            prefix="thingsvision-", dir=self._folder, ignore_cleanup_errors=True
        )
        return Path(self._made.name) / "pairs.npy"

    def clear(self) -> None:
        """Remove the folder, if it was made."""
        if self._made is not None:
            self._made.cleanup()

    def __exit__(self, *_: object) -> None:
        self.clear()
