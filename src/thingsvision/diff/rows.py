"""Which rows of two feature sets belong together."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from ..stimuli.folders import nfc

# Least correlation of a row with its partner in another order, which numbers must then confirm.
ALIKE = 0.5
# Features by which rows are compared, and bytes that are read in one go.
COLUMNS, BLOCK = 2000, 2**26
# Most rows of which every pair is correlated.
MOST = 4000


@dataclass(frozen=True)
class Join:
    """Rows of two sets that belong together.

    Parameters
    ----------
    a, b : array of int, shape (n_common,)
        Row numbers, in the order of A.
    by : str
        What joins them.
    only_a, only_b : tuple of str
        Ids that the other lacks.
    """

    a: NDArray[np.int64]
    b: NDArray[np.int64]
    by: str
    only_a: tuple[str, ...] = ()
    only_b: tuple[str, ...] = ()

    @property
    def is_reordered(self) -> bool:
        """Whether common rows come in another order."""
        return bool(np.any(np.diff(self.b) < 0))


def _whole(name: str) -> str:
    return nfc(name.replace("\\", "/"))


# From the strictest: tools name images by path, by file, or without suffix.
SPELLINGS: dict[str, Callable[[str], str]] = {
    "id": _whole,
    "file name": lambda name: PurePosixPath(_whole(name)).name,
    "file name without suffix": lambda name: PurePosixPath(_whole(name)).stem,
}


def join_rows(a: Sequence[str], b: Sequence[str]) -> Join | None:
    """Join rows by id, or by file name where ids have other folders or suffixes.

    Returns
    -------
    Join or None
        None if no names agree in any spelling that keeps them apart.

    Examples
    --------
    >>> join_rows(["cat/1.jpg", "dog/2.jpg"], ["2", "1"]).b.tolist()
    [1, 0]
    """
    for by, spell in SPELLINGS.items():
        names_a, names_b = [spell(name) for name in a], [spell(name) for name in b]
        if len(set(names_a)) < len(a) or len(set(names_b)) < len(b):
            return None  # coarser spellings tell still less apart
        places = {name: row for row, name in enumerate(names_b)}
        common = [row for row, name in enumerate(names_a) if name in places]
        if common:
            known = set(names_a)
            return Join(
                np.array(common), np.array([places[names_a[row]] for row in common]), by,
                tuple(a[row] for row, name in enumerate(names_a) if name not in places),
                tuple(b[row] for row, name in enumerate(names_b) if name not in known),
            )  # fmt: skip
    return None


def match_rows(a: Any, b: Any) -> NDArray[np.int64] | None:
    """Find the row of A that each row of B equals, whatever the order of its features.

    Parameters
    ----------
    a, b : array, shape (n_stimuli, ...)
        As many rows and features each.

    Returns
    -------
    array of int, shape (n_stimuli,), or None
        Row of A for each row of B; None if rows do not answer to each other one to one.
    """
    moments_a, moments_b = _moments(a), _moments(b)
    scale = moments_a.std(axis=0)
    scale[scale == 0] = 1
    distance, found = cKDTree(moments_a / scale).query(moments_b / scale)
    if len(set(found.tolist())) == len(b) and np.median(distance) < 1e-3:
        return np.asarray(found, np.int64)
    if len(a) > MOST or _width(a) != _width(b):
        return None
    columns = np.linspace(0, _width(a) - 1, min(COLUMNS, _width(a))).astype(int)
    rows_a, rows_b = (_standard(_columns(array, columns)) for array in (a, b))
    correlation = rows_b @ rows_a.T
    best = correlation.argmax(axis=1)
    is_bijection = len(set(best.tolist())) == len(b)
    if is_bijection and np.median(correlation.max(axis=1)) > ALIKE:
        return np.asarray(best, np.int64)
    return None


def blocks(array: Any, columns: Any = slice(None)) -> Any:
    """Yield blocks of rows, laid out flat, float64, within bounded memory."""
    step = max(1, BLOCK // (8 * max(1, _width(array))))
    for start in range(0, len(array), step):
        block = np.asarray(array[start : start + step])
        yield start, block.reshape(len(block), -1)[:, columns].astype(np.float64)


def _width(array: Any) -> int:
    return int(np.prod(array.shape[1:], dtype=np.int64))


def _moments(array: Any) -> NDArray[Any]:
    """Describe each row by numbers that do not depend on the order of its features."""
    found = []
    for _, block in blocks(array):
        mean = block.mean(axis=1)
        centred = block - mean[:, None]
        found.append(
            np.stack(
                [mean, block.std(axis=1), block.max(axis=1), block.min(axis=1),
                 np.cbrt((centred**3).mean(axis=1))], axis=1,
            )
        )  # fmt: skip
    return np.concatenate(found)


def _columns(array: Any, columns: NDArray[Any]) -> NDArray[Any]:
    return np.concatenate([block for _, block in blocks(array, columns)])


def _standard(rows: NDArray[Any]) -> NDArray[Any]:
    centred = rows - rows.mean(axis=1, keepdims=True)
    length = np.linalg.norm(centred, axis=1, keepdims=True)
    standard: NDArray[Any] = centred / np.where(length == 0, 1, length)
    return standard
