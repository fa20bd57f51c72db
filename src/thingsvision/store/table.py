"""Tables: one row a stimulus, one column a feature, for R, pandas and spreadsheets."""

from __future__ import annotations

import json
import os
from abc import abstractmethod
from collections.abc import Iterator
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..optional import require
from .staged import WholeStore

# Numbers that are put into a table at once.
BLOCK = 2**22
ID, TARGET, CLASS = "id", "target", "class"


class TableStore(WholeStore):
    """Features as tables, one a module, made for flat features.

    The first column is ``id``; ``target`` and ``class`` follow where the stimuli came in
    classes; then a column for each feature, ``f0``, ``f1``, … An array of more than two axes is
    laid out in C order; ``meta.json`` holds its shape, in which it is read again.
    """

    def __init__(self, folder: str | os.PathLike[str]) -> None:
        super().__init__(folder)
        require("pyarrow")

    def tables(self, array: NDArray[Any]) -> Iterator[Any]:
        """Yield an array as tables of a few rows each."""
        import pyarrow as pa

        stimuli = self._stimuli
        flat = array.reshape(len(array), -1) if array.size else array.reshape(len(array), 0)
        held = _held(array.dtype)
        names = [f"f{column}" for column in range(flat.shape[1])]
        step = max(1, BLOCK // max(1, flat.shape[1]))
        for start in range(0, len(flat), step):
            rows = slice(start, start + step)
            about: dict[str, Any] = {ID: pa.array(stimuli.ids[rows], pa.string())}
            if stimuli.targets is not None:
                targets = stimuli.targets[rows]
                about[TARGET] = pa.array(targets)
                about[CLASS] = pa.array([stimuli.classes[t] for t in targets], pa.string())
            block = np.ascontiguousarray(flat[rows].T, dtype=held)
            yield pa.table({**about, **dict(zip(names, map(pa.array, block), strict=True))})

    def save(self, path: Path, array: NDArray[Any], module: str) -> None:
        """Write an array as tables of a few rows each."""
        tables = self.tables(array)
        first = next(tables)
        # The second is where pandas looks for the ``attrs`` of a table.
        about = {"module": module, "PANDAS_ATTRS": json.dumps({"module": module})}
        with self.writer(path, first.schema.with_metadata(about)) as writer:
            for table in chain([first], tables):
                writer.write_table(table.replace_schema_metadata(about))

    def load(self, path: Path, shape: tuple[int, ...], dtype: np.dtype[Any]) -> NDArray[Any]:
        """Read a complete array of a known shape and type."""
        table = self.table(path, _held(dtype))
        names = [n for n in table.column_names if n not in (ID, TARGET, CLASS)]
        array = np.empty((table.num_rows, len(names)), dtype)
        for column, name in enumerate(names):
            array[:, column] = table.column(name).to_numpy()
        return array.reshape(shape)

    @abstractmethod
    def writer(self, path: Path, schema: Any) -> Any:
        """Open a file that tables of one schema are written to."""

    @abstractmethod
    def table(self, path: Path, held: np.dtype[Any]) -> Any:
        """Read a file whose features are of a type."""


def _held(dtype: np.dtype[Any]) -> np.dtype[Any]:
    """Give the type of a table's columns: few readers know half precision."""
    return np.dtype(np.float32) if dtype == np.float16 else dtype


class CsvStore(TableStore):
    """Features as comma-separated values, every number to its last digit."""

    format = "csv"
    suffix = ".csv"

    def writer(self, path: Path, schema: Any) -> Any:
        """Open a file that tables of one schema are written to."""
        from pyarrow import csv

        return csv.CSVWriter(path, schema)

    def table(self, path: Path, held: np.dtype[Any]) -> Any:
        """Read a file whose features are of a type."""
        import pyarrow as pa
        from pyarrow import csv

        with path.open(encoding="utf-8") as file:
            names = file.readline().rstrip("\n").replace('"', "").split(",")
        # Otherwise a column of -0.0 would be taken for whole numbers.
        kinds = {n: pa.from_numpy_dtype(held) for n in names if n not in (ID, TARGET, CLASS)}
        parse = csv.ParseOptions(newlines_in_values=True)
        # A header of many columns may be longer than the block that is read first.
        read = csv.ReadOptions(block_size=2**30)
        return csv.read_csv(path, read, parse, csv.ConvertOptions(column_types=kinds))


class ParquetStore(TableStore):
    """Features as Parquet, a group of rows at a time."""

    format = "parquet"
    suffix = ".parquet"

    def writer(self, path: Path, schema: Any) -> Any:
        """Open a file that tables of one schema are written to."""
        from pyarrow import parquet

        return parquet.ParquetWriter(path, schema)

    def table(self, path: Path, held: np.dtype[Any]) -> Any:
        """Read a file whose features are of a type."""
        from pyarrow import parquet

        return parquet.read_table(path)
