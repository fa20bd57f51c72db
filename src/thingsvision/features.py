"""Features: the activations of one module, row for row with the stimuli they belong to."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .arrays import as_array, is_table, labels_of
from .errors import InvalidArgument, MismatchError, counted, listing, several, unknown
from .interop.methods import FeatureSetInterop, FeaturesInterop


@dataclass(frozen=True, eq=False)
class Features(FeaturesInterop):
    """Activations of one module for an ordered set of stimuli.

    Parameters
    ----------
    array : array, shape (n_stimuli, ...)
        In memory, or a memory map that is read when it is used.
    ids : tuple of str
        One per row.
    module : str
        Address of the module.
    axes : tuple of str
        A name for each axis, e.g. ``("stimulus", "channel", "height", "width")``.
    targets : array of int, shape (n_stimuli,), optional
        Class of each stimulus, where the stimuli came in classes.
    provenance : dict
        What made the array.
    failures : dict of str to str
        Stimuli that could not be decoded, and why: id → reason. Their rows are NaN (0 where the
        numbers are integers).

    Raises
    ------
    InvalidArgument
        If the number of ids is not the number of rows.

    Examples
    --------
    >>> features = Features(np.eye(2), ids=("a.jpg", "b.jpg"), module="fc")
    >>> features.shape, np.asarray(features).sum()
    ((2, 2), np.float64(2.0))
    """

    array: NDArray[Any]
    ids: tuple[str, ...]
    module: str = ""
    axes: tuple[str, ...] = ()
    targets: NDArray[np.int64] | None = None
    provenance: Mapping[str, Any] = field(default_factory=dict)
    failures: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if len(self.ids) != len(self.array):
            raise InvalidArgument(
                f"Features of {self.module or 'a module'} have "
                f"{counted(len(self.array), 'row')} but {counted(len(self.ids), 'id')}. "
                "Each row needs the id of its stimulus."
            )

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of the array, ``(n_stimuli, ...)``."""
        return tuple(self.array.shape)

    @property
    def dtype(self) -> np.dtype[Any]:
        """Type of the numbers."""
        return self.array.dtype

    def __len__(self) -> int:
        return len(self.ids)

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> NDArray[Any]:
        if copy is None:
            return np.asarray(self.array, dtype=dtype)
        return np.array(self.array, dtype=dtype, copy=copy)

    def __getitem__(self, rows: Any) -> NDArray[Any]:
        if isinstance(rows, str) or (isinstance(rows, list) and rows and isinstance(rows[0], str)):
            ids = [rows] if isinstance(rows, str) else rows
            raise InvalidArgument(
                f"Features are indexed by numbers of rows, not by {rows!r}. By id, take "
                f"features.select({ids!r})."
            )
        return np.asarray(self.array[rows])

    def select(self, ids: Sequence[str]) -> Features:
        """Take the rows of some stimuli, in the order asked for.

        Parameters
        ----------
        ids : sequence of str
            Wanted ids.

        Returns
        -------
        Features
            Shape ``(len(ids), ...)``.

        Raises
        ------
        MismatchError
            If an id is not among these stimuli; all such ids are named.
        InvalidArgument
            If one text was given, not a list.
        """
        several(ids, "features.select({})")
        rows = {name: row for row, name in enumerate(self.ids)}
        missing = [name for name in ids if name not in rows]
        if missing:
            raise MismatchError(
                f"{len(missing)} of {counted(len(ids), 'id')} are not among the {len(self)} "
                f"stimuli of these features: {listing(missing)}. "
                f"Their ids look like: {listing(self.ids, 3)}."
            )
        order = [rows[name] for name in ids]
        return Features(
            self.array[order],
            tuple(ids),
            self.module,
            self.axes,
            None if self.targets is None else self.targets[order],
            self.provenance,
            {name: self.failures[name] for name in ids if name in self.failures},
        )

    def __repr__(self) -> str:
        shape = " × ".join(str(size) for size in self.shape)
        failed = f", {len(self.failures)} failed" if self.failures else ""
        return f"Features({self.module!r}, {shape}, {self.dtype}{failed})"


class FeatureSet(FeatureSetInterop, Mapping[str, Features]):
    """Features of several modules of one network for the same stimuli, by module address.

    Parameters
    ----------
    features : dict of str to Features
        In the order of the network's modules.

    Examples
    --------
    >>> FeatureSet({"fc": Features(np.eye(2), ("a.jpg", "b.jpg"), "fc")})
    FeatureSet(2 stimuli; fc: 2 × 2)
    """

    _member = Features

    def __init__(self, features: Mapping[str, Features]) -> None:
        self._features = dict(features)

    def __getitem__(self, module: str) -> Features:
        if module not in self._features:
            raise unknown("module", module, self._features, listed_by="list(features)")
        return self._features[module]

    def __iter__(self) -> Iterator[str]:
        return iter(self._features)

    def __len__(self) -> int:
        return len(self._features)

    @property
    def only(self) -> Features:
        """The features of the one module there is.

        Raises
        ------
        InvalidArgument
            If there are several modules, which are named.
        """
        if len(self) != 1:
            raise InvalidArgument(
                f"These features hold {len(self)} modules: {listing(list(self))}. "
                "Choose one by its name, e.g. features[name]."
            )
        return next(iter(self.values()))

    @property
    def provenance(self) -> Mapping[str, Any]:
        """What made the features of all modules."""
        return next(iter(self.values())).provenance if self._features else {}

    @property
    def failures(self) -> Mapping[str, str]:
        """Stimuli that could not be decoded, and why: id → reason."""
        return next(iter(self.values())).failures if self._features else {}

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> NDArray[Any]:
        return self.only.__array__(dtype, copy)

    def __repr__(self) -> str:
        shapes = [" × ".join(str(n) for n in item.shape) for item in self.values()]
        modules = [f"{name}: {shape}" for name, shape in zip(self, shapes, strict=True)]
        count = len(next(iter(self.values()))) if self._features else 0
        failed = f", {len(self.failures)} failed" if self.failures else ""
        return f"FeatureSet({count} stimuli{failed}; {listing(modules, 5)})"


def as_features(
    data: Features | FeatureSet | ArrayLike,
) -> tuple[NDArray[Any], tuple[str, ...] | None]:
    """Split features, or a plain array, into numbers and ids.

    Parameters
    ----------
    data : Features, FeatureSet of one module, table, or array, shape (n_stimuli, ...)
        A plain array has no ids. A table of pandas has those of its index, or of a column
        ``id``, see `Features.from_pandas`; none if its rows are only numbered.

    Returns
    -------
    array : array, shape (n_stimuli, ...)
        The numbers.
    ids : tuple of str or None
        One per row, if known.
    """
    if isinstance(data, FeatureSet):
        data = data.only
    if isinstance(data, Features):
        return np.asarray(data), data.ids
    if hasattr(data, "dissimilarities"):
        raise InvalidArgument(
            f"{data!r} holds dissimilarities of pairs, not features. Give the features it was made "
            "of; or compare it with other RDMs by compare_rdms(a, b)."
        )
    if is_table(data):
        return _of_table(data)
    return as_array(data, "The array"), None


def _of_table(table: Any) -> tuple[NDArray[Any], tuple[str, ...] | None]:
    if "id" in table.columns or labels_of(table) is not None:
        features = Features.from_pandas(table)
        return np.asarray(features), features.ids
    numbered = Features.from_pandas(table.set_axis([str(row) for row in range(len(table))]))
    return np.asarray(numbered), None
