"""An array that is read when it is used, for formats that NumPy cannot map."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray


class LazyArray:
    """Stand for an array in a file; rows are read when they are asked for.

    Parameters
    ----------
    read : callable
        Takes rows (a slice, or sorted row numbers without doubles); gives an array
        ``(n_rows, ...)``.
    shape : tuple of int
        Of the whole array, ``(n_stimuli, ...)``.
    dtype : numpy.dtype
        Of its numbers.
    filename : path
        Where it lies.

    Examples
    --------
    >>> square = np.arange(9).reshape(3, 3)
    >>> lazy = LazyArray(lambda rows: square[rows], (3, 3), square.dtype, "square.h5")
    >>> lazy[[2, 0]]
    array([[6, 7, 8],
           [0, 1, 2]])
    """

    def __init__(
        self,
        read: Callable[[Any], NDArray[Any]],
        shape: tuple[int, ...],
        dtype: np.dtype[Any],
        filename: str | Path,
    ) -> None:
        self._read = read
        self.shape = shape
        self.dtype = dtype
        self.filename = filename

    @property
    def ndim(self) -> int:
        """Number of axes."""
        return len(self.shape)

    @property
    def size(self) -> int:
        """Number of elements."""
        return int(np.prod(self.shape, dtype=np.int64))

    @property
    def nbytes(self) -> int:
        """Size in memory, were it read."""
        return self.size * self.dtype.itemsize

    def __len__(self) -> int:
        return self.shape[0]

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> NDArray[Any]:
        whole = self._read(slice(None))
        return whole if dtype is None else whole.astype(dtype, copy=False)

    def __getitem__(self, key: Any) -> NDArray[Any]:
        first, *rest = key if isinstance(key, tuple) else (key,)
        if first is Ellipsis or first is None:
            return np.asarray(np.asarray(self)[key])
        wanted = np.arange(len(self))[first]
        # Files are read in the order of their rows, each row once.
        rows, places = np.unique(wanted, return_inverse=True)
        is_run = len(rows) > 0 and rows[-1] - rows[0] + 1 == len(rows)
        read = self._read(slice(int(rows[0]), int(rows[-1]) + 1) if is_run else rows)
        found = read[places.reshape(wanted.shape)]
        if not rest:
            return np.asarray(found)
        return np.asarray(found[(..., *rest) if wanted.ndim == 0 else (slice(None), *rest)])
