"""Squared Euclidean distances of many rows: band by band, above the diagonal, in place.

``|x - y|² = |x|² + |y|² - 2 x·y`` turns distances into matrix products, which are fast. What
it costs is digits: where the distance is small against the lengths, nearly all of them. So
about the mean row is subtracted first, which changes no distance and makes the lengths small,
and pairs that are still close are computed again: in float64, by subtraction, or, where there
are many of them, by float64 products.

A band is some rows against all later ones. It is computed, finished and written to its place
among the pairs by one thread, while others work on other bands; so besides the result there is
never more than the prepared rows and one band for each core. Threads that share a band, as those
of a matrix product do, would wait for each other at each step.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

# Distances below these fractions of |x|² + |y|² are computed again: from float32 products in
# float64, from float64 products by subtracting the two rows.
CLOSE = {np.dtype(np.float32): 0.15, np.dtype(np.float64): 1e-5}
DENSE = 0.002  # above this share of close pairs a float64 product is faster than subtracting
BAND = 1024  # rows of a band at most
SPACE = 2**30  # bytes of all bands at once
SMALL = 2**24  # multiplications that are done before threads are started
BLOCK = 2**18  # numbers that one thread works on at once, so that they stay in its cache
HELD = 2**32  # bytes of prepared rows that are held; more are prepared again for every band
LIMIT: ContextVar[int | None] = ContextVar("LIMIT", default=None)  # of `within`

Rows = Callable[[Any], NDArray[np.float64]]  # row numbers or a slice → those rows, brought to form
Finish = Callable[[NDArray[Any]], None]  # squared distances → dissimilarities, in place


@runtime_checkable
class Pairs(Protocol):
    """Where results go: an array, or something else that takes slices of pairs."""

    def __setitem__(self, pairs: slice, values: NDArray[Any], /) -> None:
        """Keep the values of some pairs."""


class Prepared:
    """Rows brought to form, with about their mean subtracted, in the type of the result.

    Parameters
    ----------
    rows : callable
        Gives rows of shape (n_features,) by number, in float64.
    shape : (n_stimuli, n_features)
        Of all rows.
    dtype : dtype
        float32 or float64.
    limit : int, optional
        Bytes that this and a band may take; that of `within`, by default.
    """

    def __init__(
        self,
        rows: Rows,
        shape: tuple[int, ...],
        dtype: np.dtype[Any],
        limit: int | None = None,
    ) -> None:
        self.rows, self.shape, self.dtype = rows, shape, dtype
        self.limit = LIMIT.get() if limit is None else limit
        count, width = shape
        sample = np.arange(0, count, -(-count // min(256, max(8, BLOCK // width), count)))
        self.centre = rows(sample).mean(axis=0)
        self.lengths = np.empty(count, dtype)  # |x|², of the rows as they were rounded
        self.spread = 0.0  # mean of |x|² before rounding
        self._mean = np.zeros(width)
        most = HELD if self.limit is None else min(HELD, self.limit // 2)
        held = count * width * dtype.itemsize <= most
        self._held = np.empty(shape, dtype) if held else None
        self._fill()

    def _fill(self) -> None:
        def one(block: slice) -> tuple[float, NDArray[np.float64]]:
            wide = self.rows(block)
            wide -= self.centre
            exact = float(np.einsum("ij,ij->", wide, wide))
            total = wide.sum(axis=0)
            narrow = wide.astype(self.dtype)
            if self._held is not None:
                self._held[block] = narrow
            if self.dtype != np.float64:
                wide = narrow.astype(np.float64)
            self.lengths[block] = np.einsum("ij,ij->i", wide, wide)
            return exact, total

        count, width = self.shape
        for exact, total in in_threads(one, slices(0, count, max(1, BLOCK // width))):
            self.spread += exact / count
            self._mean += total / count

    def mean_distance(self) -> float:
        """Mean of the squared distances of all rows from all rows, each from itself included."""
        return 2 * (self.spread - float(self._mean @ self._mean))

    @property
    def is_held(self) -> bool:
        """Whether all prepared rows are in memory."""
        return self._held is not None

    def products(self, band: slice, out: NDArray[Any]) -> None:
        """Compute ``-2 x·y`` of the rows of a band with themselves and all later ones."""
        if self._held is None:
            self._products_of_blocks(band, out)
            return
        block = self._held[band]
        own = out[:, : len(block)]
        np.matmul(block, block.T, out=own)  # which NumPy knows to be symmetric: half the work
        own *= -2
        left = block * self.dtype.type(-2)
        np.matmul(left, self._held[band.stop :].T, out=out[:, len(block) :])

    def _products_of_blocks(self, band: slice, out: NDArray[Any]) -> None:
        """Compute the same while only the band and, for each core, few rows are in memory.

        All cores work on one band: the taller it is, the less often all rows are read.
        """
        width = self.shape[1]
        left = np.empty((band.stop - band.start, width), self.dtype)
        few = max(1, min(BAND, self._space() // 4 // (cores() * width * 20)))

        def fill(rows: slice) -> None:
            np.multiply(
                self._block(rows), self.dtype.type(-2),
                out=left[rows.start - band.start : rows.stop - band.start],
            )  # fmt: skip

        def multiply(columns: slice) -> None:
            found = out[:, columns.start - band.start : columns.stop - band.start]
            np.matmul(left, self._block(columns).T, out=found)

        for work in (fill, multiply):
            stop = band.stop if work is fill else self.shape[0]
            for _ in in_threads(work, slices(band.start, stop, few)):
                pass

    def height(self) -> int:
        """Choose the rows of a band: some bands for each core, and all of them within the space."""
        count, width = self.shape
        if self._held is None:
            row = (count + width) * self.dtype.itemsize
            return int(np.clip(self._space() // 2 // row, 1, count))
        workers = cores()
        space = SPACE if self.limit is None else min(SPACE, self.limit // 4)
        return int(np.clip(min(count // (4 * workers), space // (workers * count * 8)), 64, BAND))

    def _space(self) -> int:
        return HELD if self.limit is None else self.limit

    def _block(self, block: slice) -> NDArray[Any]:
        rows = self.rows(block)
        rows -= self.centre
        return rows.astype(self.dtype)


@contextmanager
def within(limit: int) -> Iterator[None]:
    """Keep what dissimilarities take besides features and result below so many bytes.

    Rows of features that are wider than that are still prepared one by one.
    """
    token = LIMIT.set(limit)
    try:
        yield
    finally:
        LIMIT.reset(token)


def squared_distances(
    prepared: Prepared, finish: Finish | None = None, out: Pairs | None = None
) -> Any:
    """Compute the squared distances of all pairs of rows, or what `finish` makes of them.

    Parameters
    ----------
    prepared : Prepared
        The rows, shape (n_stimuli, n_features).
    finish : callable, optional
        Turns squared distances into dissimilarities in place, element by element.
    out : Pairs, optional
        Takes the result, slice by slice, instead of a new array.

    Returns
    -------
    array, shape (n_pairs,)
        Upper triangle row by row, in the type of the prepared rows; or `out`.
    """
    count, width = prepared.shape
    if out is None:
        out = np.empty(count * (count - 1) // 2, prepared.dtype)
    own, lock = threading.local(), threading.Lock()
    wide: list[Prepared] = []  # in float64, once many pairs are too close for float32

    def one(band: slice) -> None:
        rows = wide[0] if wide else prepared
        found = _space(own, band, rows)
        close = _products(rows, band, found)
        if rows.dtype != np.float64 and sum(map(len, close.values())) > DENSE * found.size:
            with lock:  # as many are close here, so they probably are in the other bands
                if not wide:
                    double = np.dtype(np.float64)
                    wide.append(Prepared(rows.rows, rows.shape, double, rows.limit))
            found = _space(own, band, wide[0])
            close = _products(wide[0], band, found)
        _subtract(found, close, prepared, band.start)
        _write(found, band, count, finish, out)

    bands = list(slices(0, count - 1, prepared.height()))
    if count * count * width < SMALL:
        for band in bands:
            one(band)
        return out
    with _one_thread_each():
        for _ in in_threads(one, bands) if prepared.is_held else map(one, bands):
            pass
    return out


def _space(own: threading.local, band: slice, rows: Prepared) -> NDArray[Any]:
    """Give this thread's memory for a band, shape (n_rows, n_rows and all later ones)."""
    shape = (band.stop - band.start, rows.shape[0] - band.start)
    size = shape[0] * shape[1]
    space: NDArray[Any] | None = getattr(own, "space", None)
    if space is None or space.dtype != rows.dtype or space.size < size:
        own.space = space = np.empty(size, rows.dtype)
    return space[:size].reshape(shape)


@contextmanager
def _one_thread_each() -> Iterator[None]:
    """Let each matrix product stay in the thread that asks for it."""
    from threadpoolctl import threadpool_limits

    with threadpool_limits(1, user_api="blas"):
        yield


def _products(prepared: Prepared, band: slice, found: NDArray[Any]) -> dict[int, NDArray[np.intp]]:
    """Compute the squared distances of a band; list, for each of its rows, columns too close."""
    prepared.products(band, found)
    lengths = prepared.lengths[band.start :]
    longest = lengths.max()
    share = CLOSE[prepared.dtype]
    close = {}
    for block in slices(0, len(found), max(1, BLOCK // found.shape[1])):
        distances = found[block]
        distances += lengths[block, None]
        distances += lengths
        for row in range(block.start, block.stop):
            found[row, : row + 1] = np.inf  # on and below the diagonal
        suspect = distances.min(axis=1) <= share * (lengths[block] + longest)
        for row in (np.flatnonzero(suspect) + block.start).tolist():
            columns = np.flatnonzero(found[row] <= share * (lengths[row] + lengths))
            np.maximum(found[row], 0, out=found[row])
            if len(columns):
                close[row] = columns
    return close


def _subtract(
    found: NDArray[Any], close: dict[int, NDArray[np.intp]], prepared: Prepared, first: int
) -> None:
    """Replace the distances of close pairs by sums of squared differences in float64."""
    step = max(1, BLOCK // prepared.shape[1])
    for row, columns in close.items():
        this = prepared.rows(slice(first + row, first + row + 1))
        for some in slices(0, len(columns), step):
            difference = prepared.rows(first + columns[some])
            difference -= this
            found[row, columns[some]] = np.einsum("ij,ij->i", difference, difference)


def _write(found: NDArray[Any], band: slice, count: int, finish: Finish | None, out: Pairs) -> None:
    """Finish the distances of a band, and put them in their place among the pairs."""
    for block in slices(0, len(found), max(1, BLOCK // found.shape[1])):
        if finish is not None:
            finish(found[block])
        for row in range(block.start, block.stop):
            start, stop = pair(band.start + row, count), pair(band.start + row + 1, count)
            out[start:stop] = found[row, row + 1 :]


def pair(row: int, count: int) -> int:
    """Say where among the pairs of `count` stimuli those of a row with later ones begin."""
    return row * (2 * count - row - 1) // 2


def slices(start: int, stop: int, step: int) -> Iterator[slice]:
    """Cut a range into slices of `step`, the last one shorter."""
    for first in range(start, stop, step):
        yield slice(first, min(first + step, stop))


def in_threads(work: Callable[[Any], Any], items: Iterable[Any]) -> Iterator[Any]:
    """Work on items in as many threads as there are cores; NumPy lets them run side by side."""
    items = list(items)
    if len(items) < 2:
        yield from map(work, items)
        return
    with ThreadPoolExecutor(min(len(items), cores())) as pool:
        yield from pool.map(work, items)


def cores() -> int:
    """Count the cores that this process may use."""
    usable = getattr(os, "sched_getaffinity", None)
    return len(usable(0)) if usable else os.cpu_count() or 1
