"""Features as an array of xarray, labelled as in Brain-Score: presentation × neuroid."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ..errors import InvalidArgument, MismatchError, counted, listing
from ..optional import require
from .plain import Plain, about, model_name, positions, read_about, restored

if TYPE_CHECKING:
    from xarray import DataArray

PRESENTATION, NEUROID = "presentation", "neuroid"


def to_xarray(features: Sequence[Plain]) -> DataArray:
    """Lay the features of one or more modules side by side; see `Features.to_xarray`."""
    xarray = require("xarray")
    if not features:
        raise InvalidArgument("There are no features of any module to make an array of.")
    first = features[0]
    others = [item.module for item in features if item.ids != first.ids]
    if others:
        raise MismatchError(
            f"The features of {listing(others)} are of other stimuli than those of "
            f"{first.module}, or in another order; features.select(ids) brings them into one."
        )
    if len(features) == 1:
        values = first.rows()
    else:
        values = np.empty(
            (len(first.ids), sum(item.size for item in features)),
            np.result_type(*(item.array.dtype for item in features)),
        )
        start = 0
        for item in features:  # one after the other, since each may be read from a file
            values[:, start : start + item.size] = item.rows()
            start += item.size
    coords = {**_of_presentations(first), **_of_neuroids(features)}
    array: DataArray = xarray.DataArray(
        values, coords, (PRESENTATION, NEUROID), attrs=about(features)
    )
    return array


def from_xarray(array: DataArray, ids: str = "stimulus_id") -> list[Plain]:
    """Take an array apart by module; see `Features.from_xarray`."""
    array = _without_indexes(array)
    rows, columns = _dimensions(array, ids)
    values = array.transpose(rows, columns).values
    along = {str(name): where for name, where in array.coords.items() if where.dims == (columns,)}
    modules = _texts(array, ("module", "layer"), columns)
    names = tuple(_text(name) for name in array.coords[ids].values)
    targets = array.coords.get("target")
    if targets is not None and (targets.dims != (rows,) or targets.dtype.kind not in "iu"):
        targets = None  # of another meaning
    found = []
    for module in dict.fromkeys(modules.tolist()):
        part = np.flatnonzero(modules == module)
        whole = len(part) == len(modules)
        chosen = slice(None) if whole else part
        of_part = {name: where.values[chosen] for name, where in along.items()}
        kept, axes = restored(values[:, chosen], array.attrs, module, of_part)
        found.append(
            Plain(
                kept,
                names,
                module,
                axes,
                None if targets is None else targets.values.astype(np.int64),
                read_about(array.attrs, "provenance") or _made_by(array, columns, part),
            )
        )
    return found


def one_module(features: Sequence[Plain]) -> Plain:
    """Give the features of the one module there is.

    Raises
    ------
    InvalidArgument
        If there are several; they are named.
    """
    if len(features) != 1:
        modules = [item.module for item in features]
        raise InvalidArgument(
            f"This array holds the neuroids of {counted(len(modules), 'module')}: "
            f"{listing(modules)}. Read them all with FeatureSet.from_xarray(array), choose one "
            "with array[:, (array.module == name).values], or, if the coordinate means something "
            "else, leave it out: array.drop_vars(name)."
        )
    return features[0]


def _without_indexes(array: DataArray) -> DataArray:
    """Make plain coordinates of the levels of indexes, which former xarray does not list."""
    from pandas import MultiIndex

    # A NeuroidAssembly would index itself again.
    plain: DataArray = require("xarray").DataArray(array)
    for dim in plain.dims:
        if isinstance(plain.indexes.get(dim), MultiIndex):
            plain = plain.reset_index(dim)
    return plain


def _dimensions(array: DataArray, ids: str) -> tuple[str, str]:
    """Find the dimension of the stimuli, which is that of their ids, and the other one."""
    if ids not in array.coords or len(array.coords[ids].dims) != 1:
        raise InvalidArgument(
            f"This array has no coordinate {ids!r} along its presentations that names the stimulus "
            f"of each. It has: {listing(sorted(map(str, array.coords))) or 'none'}. If one of "
            "these holds the ids, name it: from_xarray(array, ids=name)."
        )
    (rows,) = array.coords[ids].dims
    others = [dim for dim in array.dims if dim != rows]
    if len(others) != 1:
        sizes = ", ".join(f"{dim} ({array.sizes[dim]})" for dim in others) or "none"
        raise InvalidArgument(
            f"Features are made of an array of two dimensions, {rows} and neuroid. Besides {rows} "
            f"this one has {sizes}. Choose or average first, e.g. array.isel(time_bin=0), "
            "and keep neuroids as a dimension, e.g. array.isel(neuroid=[0])."
        )
    return str(rows), str(others[0])


def _of_presentations(features: Plain) -> dict[str, Any]:
    names = np.array(features.ids, dtype=object)
    # A NeuroidAssembly keeps the name of a coordinate only where there is a second one.
    coords: dict[str, Any] = {"stimulus_id": names, "stimulus_path": names}
    if features.targets is not None:
        coords["target"] = np.asarray(features.targets)
    return {name: (PRESENTATION, values) for name, values in coords.items()}


def _of_neuroids(features: Sequence[Plain]) -> dict[str, Any]:
    sizes = [item.size for item in features]
    model = model_name(features[0].provenance)
    modules = np.repeat(np.array([item.module for item in features], dtype=object), sizes)
    ids = [
        ".".join(filter(None, (model, item.module, str(number))))
        for item in features
        for number in range(item.size)
    ]
    coords: dict[str, NDArray[Any]] = {
        "neuroid_id": np.array(ids, dtype=object),
        "module": modules,
        "layer": modules,
        "model": np.full(len(ids), model, dtype=object),
    }
    start = 0
    for item in features:
        for axis, where in positions(item.axes, item.shape).items():
            # -1 where a module lacks the axis
            coords.setdefault(axis, np.full(len(ids), -1))[start : start + item.size] = where
        start += item.size
    return {name: (NEUROID, values) for name, values in coords.items()}


def _texts(array: DataArray, names: Sequence[str], columns: str) -> NDArray[Any]:
    """Read the first of some coordinates that is there as texts, shape (n_neuroids,)."""
    count = array.sizes[columns]
    for name in names:
        if name in array.coords:
            found = array.coords[name]
            if found.dims == (columns,):
                return np.array([_text(value) for value in found.values], dtype=object)
            if found.dims == ():  # after a selection by it
                return np.full(count, _text(found.item()), dtype=object)
    return np.full(count, "", dtype=object)


def _made_by(array: DataArray, columns: str, part: NDArray[np.int64]) -> dict[str, Any]:
    """Say which model the neuroids are of, for an array of another program."""
    models = set(_texts(array, ("model",), columns)[part].tolist())
    name = models.pop() if len(models) == 1 else ""
    return {"model": name} if name else {}


def _text(value: Any) -> str:
    return value.decode() if isinstance(value, bytes) else str(value)
