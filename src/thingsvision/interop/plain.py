"""Features as plain values, and what of them has to be written down to have them back."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ..provenance import plain

FLAT = ("stimulus", "feature")
# What other coordinates are called, which no axis can be called as well.
TAKEN = {
    "stimulus_id", "stimulus_path", "target", "neuroid_id", "module", "layer", "model",
    "presentation", "neuroid",
}  # fmt: skip


class Plain(NamedTuple):
    """The fields of features, in the order of their constructor."""

    array: Any
    ids: tuple[str, ...]
    module: str = ""
    axes: tuple[str, ...] = ()
    targets: NDArray[np.int64] | None = None
    provenance: Mapping[str, Any] = {}

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of what belongs to one stimulus."""
        return tuple(int(length) for length in self.array.shape[1:])

    @property
    def size(self) -> int:
        """Number of features of one stimulus."""
        return int(np.prod(self.shape, dtype=np.int64))

    def rows(self) -> NDArray[Any]:
        """Read the array, once, with all axes but the first laid out in C order."""
        return np.asarray(self.array).reshape(len(self.ids), self.size)


def model_name(provenance: Mapping[str, Any]) -> str:
    """Take the name of the network from a provenance.

    Examples
    --------
    >>> model_name({"model": "torchvision/alexnet"})
    'torchvision/alexnet'
    """
    model = provenance.get("model", "")
    return str(model.get("name", "") if isinstance(model, Mapping) else model)


def positions(axes: Sequence[str], shape: Sequence[int]) -> dict[str, NDArray[np.int64]]:
    """Say where each feature lies in each axis of one stimulus's activation, in C order.

    Parameters
    ----------
    axes : sequence of str
        With that of the stimuli. Axes are numbered where these are no names for them.
    shape : sequence of int
        Without the axis of the stimuli.

    Examples
    --------
    >>> {axis: where.tolist() for axis, where in positions(("stimulus", "a", "b"), (2, 2)).items()}
    {'a': [0, 0, 1, 1], 'b': [0, 1, 0, 1]}
    """
    where = np.unravel_index(np.arange(np.prod(shape, dtype=np.int64)), shape) if shape else ()
    return dict(zip(_names(axes, len(shape)), where, strict=True))


def as_json(record: Mapping[str, Any]) -> str:
    """Write a record as one line of JSON."""
    return json.dumps(plain(dict(record)), ensure_ascii=False)


def about(features: Sequence[Plain]) -> dict[str, str]:
    """Write down, as JSON, what made features and which shape they had, by module."""
    shapes = {item.module: {"axes": item.axes, "shape": item.shape} for item in features}
    return {"provenance": as_json(features[0].provenance), "features": as_json(shapes)}


def read_about(attributes: Mapping[str, Any], name: str) -> dict[str, Any]:
    """Read what `about` wrote; an empty record if it did not."""
    try:
        found = json.loads(attributes[name])
    except (KeyError, TypeError, ValueError):  # of another program
        return {}
    return found if isinstance(found, dict) else {}


def restored(
    rows: NDArray[Any],
    attributes: Mapping[str, Any],
    module: str,
    coordinates: Mapping[str, Any],
) -> tuple[NDArray[Any], tuple[str, ...]]:
    """Give features their axes back, if all of them are there.

    Parameters
    ----------
    rows : array, shape (n_stimuli, n_features)
        In any order of features.
    attributes : dict
        With what `about` wrote.
    module : str
        Address of the module.
    coordinates : dict of str to array, shape (n_features,)
        With the `positions` of each feature.

    Returns
    -------
    array : array, shape (n_stimuli, ...)
        Flat, where features were left out or are not known.
    axes : tuple of str
    """
    known = read_about(attributes, "features").get(module)
    if not known or int(np.prod(known["shape"], dtype=np.int64)) != rows.shape[1]:
        return rows, FLAT
    shape, axes = tuple(known["shape"]), tuple(known["axes"])
    if shape:
        names = _names(axes, len(shape))
        if not all(name in coordinates for name in names):
            return rows, FLAT
        try:
            where = [np.asarray(coordinates[name]).astype(np.int64) for name in names]
            places = np.ravel_multi_index(where, shape)
        except ValueError:  # outside of the shape, or no numbers
            return rows, FLAT
        every = np.arange(rows.shape[1])
        if not np.array_equal(places, every):
            order = np.argsort(places)
            if not np.array_equal(places[order], every):
                return rows, FLAT
            rows = rows[:, order]
    return rows.reshape(len(rows), *shape), axes


def _names(axes: Sequence[str], count: int) -> tuple[str, ...]:
    names = tuple(axes[1:])
    if len(names) == count == len(set(names)) and not TAKEN & set(names):
        return names
    return tuple(f"axis{number + 1}" for number in range(count))
