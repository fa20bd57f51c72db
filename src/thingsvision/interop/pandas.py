"""Features as a table of pandas, with the columns that the formats csv and parquet have."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from ..errors import InvalidArgument, listing
from .plain import Plain, about, positions, read_about, restored

if TYPE_CHECKING:
    from pandas import DataFrame

ID, TARGET, CLASS = "id", "target", "class"
NUMBERED = re.compile(r"f(\d+)")


def to_pandas(features: Plain) -> DataFrame:
    """Make a table with one row a stimulus; see `Features.to_pandas`."""
    import pandas as pd

    columns = [f"f{number}" for number in range(features.size)]
    frame = pd.DataFrame(features.rows(), pd.Index(features.ids, name=ID), columns)
    if features.targets is not None:
        frame.insert(0, TARGET, features.targets)
    frame.attrs.update(about([features]))
    return frame


def from_pandas(frame: DataFrame) -> Plain:
    """Read a table with one row a stimulus; see `Features.from_pandas`."""
    import pandas as pd

    if ID in frame.columns:
        frame = frame.set_index(ID)
    elif isinstance(frame.index, pd.RangeIndex):
        raise InvalidArgument(
            "This table has neither an index of ids nor a column 'id': its rows are only numbered. "
            "Name their stimuli first, e.g. frame.set_index('file')."
        )
    names = [name for name in frame.columns if name not in (TARGET, CLASS)]
    table = frame[names]
    other = [name for name in names if not pd.api.types.is_numeric_dtype(table[name].dtype)]
    if other:
        raise InvalidArgument(
            f"These columns hold no numbers: {listing(other)}. Leave them out: "
            "frame.drop(columns=[…])."
        )
    attributes = {str(name): value for name, value in frame.attrs.items()}
    known = read_about(attributes, "features")
    module = next(iter(known), "")
    shape = known.get(module, {}).get("shape", ())
    targets = None
    if TARGET in frame.columns and pd.api.types.is_integer_dtype(frame[TARGET].dtype):
        targets = frame[TARGET].to_numpy(np.int64)
    numbers = [NUMBERED.fullmatch(str(name)) for name in names]
    where = {}
    if all(numbers) and len(numbers) == np.prod(shape, dtype=np.int64):
        # Columns may have been put into another order.
        at = [int(number[1]) for number in numbers if number]
        if max(at, default=0) < len(at):
            axes = known[module]["axes"]
            where = {axis: places[at] for axis, places in positions(axes, shape).items()}
    array, axes = restored(table.to_numpy(), attributes, module, where)
    return Plain(
        array,
        tuple(str(name) for name in frame.index),
        module,
        axes,
        targets,
        read_about(attributes, "provenance"),
    )


def square_table(matrix: NDArray[np.floating], ids: Sequence[str] | None) -> DataFrame:
    """Make a table of a square matrix; see `RDM.to_pandas`."""
    import pandas as pd

    index = pd.RangeIndex(len(matrix)) if ids is None else pd.Index(ids)
    return pd.DataFrame(matrix, index, index)
