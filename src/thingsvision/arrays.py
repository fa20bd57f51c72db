"""Arrays of whatever holds numbers: lists, tensors, tables; refused in words where it does not."""

from __future__ import annotations

import sys
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .errors import InvalidArgument


def as_array(data: Any, what: str) -> NDArray[Any]:
    """Make an array of what holds numbers, without copying an array.

    Parameters
    ----------
    data : array, tensor, table or list
        A tensor may be on a device, and part of a graph.
    what : str
        How the message calls it.

    Returns
    -------
    array
        Of any type and shape.

    Raises
    ------
    InvalidArgument
        If rows differ in length, or values are masked, which NumPy would show as they are.

    Examples
    --------
    >>> as_array([[1, 2], [3, 4]], "x").shape
    (2, 2)
    """
    if isinstance(data, np.ma.MaskedArray):
        masked = int(np.ma.getmaskarray(data).sum())
        if masked:
            raise InvalidArgument(
                f"{what} has {masked} masked values, and none may be missing. Leave their stimuli "
                "out, or fill them: array.filled(value)."
            )
        return np.asarray(data.data)
    torch = sys.modules.get("torch")
    if torch is not None and isinstance(data, torch.Tensor):
        data = data.detach().cpu()
        data = data.float() if data.dtype == torch.bfloat16 else data
    try:
        return np.asarray(data)
    except (ValueError, TypeError) as error:
        raise InvalidArgument(
            f"{what} is no array: its parts differ in shape, or are of several kinds. Give each "
            "as many numbers as the others."
        ) from error


def as_numbers(data: Any, what: str) -> NDArray[np.float64]:
    """Make an array of float64, refusing what holds no real numbers.

    Examples
    --------
    >>> as_numbers([1, 2], "x")
    array([1., 2.])
    """
    array = as_array(data, what)
    if array.dtype.kind not in "biuf":
        raise InvalidArgument(f"{what} of shape {array.shape} holds {array.dtype}, not numbers.")
    return array.astype(np.float64, copy=False)


def is_table(data: Any) -> bool:
    """Tell whether this is a table of pandas.

    Examples
    --------
    >>> is_table([[1, 2]])
    False
    """
    pandas = sys.modules.get("pandas")
    return pandas is not None and isinstance(data, pandas.DataFrame)


def labels_of(table: Any) -> tuple[str, ...] | None:
    """Give the names of the rows of a table of pandas; None if they are only numbered.

    Examples
    --------
    >>> import pandas as pd
    >>> labels_of(pd.DataFrame({"size": [1.5]}, index=["a.jpg"]))
    ('a.jpg',)
    """
    pandas = sys.modules["pandas"]
    if isinstance(table.index, pandas.RangeIndex):
        return None
    return tuple(str(name) for name in table.index)
