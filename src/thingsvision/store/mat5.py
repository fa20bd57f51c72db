"""Elements of MATLAB version 5 files, as MathWorks publishes their format.

Texts are UTF-16, or UTF-32 where they need more than 16 bits a character, so that the stated
number of characters is right. (Of UTF-8, as SciPy writes it, Octave drops the last letters.)
"""

from __future__ import annotations

import struct
import sys
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

# NumPy's type -> (class of a MATLAB array, type of its data)
NUMBERS = {
    "float64": (6, 9),
    "float32": (7, 7),
    "int8": (8, 1),
    "uint8": (9, 2),
    "int16": (10, 3),
    "uint16": (11, 4),
    "int32": (12, 5),
    "uint32": (13, 6),
    "int64": (14, 12),
    "uint64": (15, 13),
}
CELL, CHAR = 1, 4
INT8, INT32, UINT32, MATRIX, UTF16, UTF32 = 1, 5, 6, 14, 17, 18
ENDIAN = "le" if sys.byteorder == "little" else "be"


def title() -> bytes:
    """Give the first 128 bytes; without the time, so that equal runs give equal bytes."""
    return b"MATLAB 5.0 MAT-file".ljust(116) + bytes(8) + struct.pack("=HH", 0x0100, 0x4D49)


def variable(name: str, value: str | Sequence[str] | NDArray[Any]) -> bytes:
    """Write a text, texts (a column of cells), or a small array of at most two axes."""
    if isinstance(value, str):
        is_wide = any(character > "\uffff" for character in value)
        data = value.encode(f"{'utf-32' if is_wide else 'utf-16'}-{ENDIAN}")
        shape = (1, len(value)) if value else (0, 0)
        return _matrix(CHAR, shape, name, _element(UTF32 if is_wide else UTF16, data))
    if isinstance(value, np.ndarray):
        column = value if value.ndim == 2 else value[:, None]
        data = column.astype(value.dtype.newbyteorder("=")).tobytes(order="F")
        return number_head(name, column.shape, value.dtype) + data + bytes(-len(data) % 8)
    texts = b"".join(variable("", text) for text in value)
    return _matrix(CELL, (len(value), 1), name, texts)


def number_head(name: str, shape: Sequence[int], dtype: np.dtype[Any]) -> bytes:
    """Begin a numeric array: its numbers, first axis fastest, and padding to 8 bytes follow."""
    kind, data_type = NUMBERS[str(dtype)]
    size = int(np.prod(shape, dtype=np.int64)) * dtype.itemsize
    tag = struct.pack("=II", data_type, size)
    return _matrix_head(kind, shape, name, len(tag) + size + -size % 8) + tag


def _matrix(kind: int, shape: Sequence[int], name: str, content: bytes) -> bytes:
    return _matrix_head(kind, shape, name, len(content)) + content


def _matrix_head(kind: int, shape: Sequence[int], name: str, size: int) -> bytes:
    parts = (
        _element(UINT32, struct.pack("=II", kind, 0))
        + _element(INT32, struct.pack(f"={len(shape)}i", *shape))
        + _element(INT8, name.encode("ascii"))
    )
    return struct.pack("=II", MATRIX, len(parts) + size) + parts


def _element(data_type: int, data: bytes) -> bytes:
    return struct.pack("=II", data_type, len(data)) + data + bytes(-len(data) % 8)
