"""What reweighted RSA weighs: the RDM of each feature, or RDMs as they are."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import InvalidArgument, listing
from ..features import Features, FeatureSet, as_features
from .aligned import features_side, names_of, order_of, square_stack
from .joining import Side, side
from .matrix import check_ids
from .rdm import RDM

Array = NDArray[np.float64]
Rows = NDArray[np.intp]


@dataclass(frozen=True)
class FeatureComponents:
    """RDMs of single features."""

    array: Array

    @property
    def n_stimuli(self) -> int:
        """Number of rows."""
        return len(self.array)

    def prepared(self, train: Rows, n_components: int | None) -> FeatureComponents:
        """Take principal components of the training stimuli, if so asked."""
        if n_components is None:
            return self
        from sklearn.decomposition import PCA

        count = min(n_components, len(train) - 1, self.array.shape[1])
        if count < 1:
            raise InvalidArgument(f"n_components is {n_components}; at least 1 is needed.")
        pca = PCA(count, svd_solver="full").fit(self.array[train])
        return FeatureComponents(pca.transform(self.array))

    def pairs(self, rows: Rows) -> Array:
        """Lay out the pairs among some stimuli, shape (n_pairs, n_components)."""
        return np.concatenate(list(self.blocks(rows)))

    def blocks(self, rows: Rows) -> Iterator[Array]:
        """Yield the dissimilarities of each stimulus with later ones, (n_later, n_features)."""
        for number, row in enumerate(rows[:-1]):
            yield np.square(self.array[row] - self.array[rows[number + 1 :]])


@dataclass(frozen=True)
class RDMComponents:
    """RDMs of several models or modules."""

    squares: Array  # (n_rdms, n, n)

    @property
    def n_stimuli(self) -> int:
        """Number of rows."""
        return int(self.squares.shape[1])

    def prepared(self, train: Rows, n_components: int | None) -> RDMComponents:
        """Leave RDMs as they are."""
        if n_components is not None:
            raise InvalidArgument("n_components is for features; RDMs are weighted as they are.")
        return self

    def pairs(self, rows: Rows) -> Array:
        """Lay out the pairs among some stimuli, shape (n_pairs, n_components)."""
        return pairs_among(self.squares, rows).T

    def blocks(self, rows: Rows) -> Iterator[Array]:
        """Yield the pairs at once."""
        yield self.pairs(rows)


def source_of(model: Any) -> tuple[FeatureComponents | Side, tuple[str, ...], Side, dict[str, Any]]:
    """Say what is weighted, names of its components, how it is joined, and what made it.

    Raises
    ------
    InvalidArgument
        If it is no features or RDMs, or features are not finite.
    """
    many = isinstance(model, Mapping) and not isinstance(model, FeatureSet)
    if many or isinstance(model, RDM) or (
        isinstance(model, list | tuple) and any(isinstance(item, RDM) for item in model)
    ):  # fmt: skip
        rdms = side(model, "model")
        names = names_of(rdms)
        return rdms, tuple(names), rdms, {"model": " + ".join(names), "module": ""}
    array, ids = as_features(model)
    if array.ndim == 0 or array.size == 0 or array.dtype.kind not in "biuf":
        raise InvalidArgument(
            f"Features of shape {array.shape} and type {array.dtype} are no numbers (n_stimuli, …)."
        )
    flat = array.reshape(len(array), -1).astype(np.float64)
    broken = np.flatnonzero(~np.isfinite(flat).all(axis=1))
    if len(broken):
        lost = broken.tolist() if ids is None else [ids[int(row)] for row in broken]
        raise InvalidArgument(f"Features hold NaN or infinity for: {listing(lost)}.")
    if ids is not None:
        check_ids(ids, len(flat), "These features")
    item = model.only if isinstance(model, FeatureSet) else model
    name = item.provenance.get("model", "") if isinstance(item, Features) else ""
    name = name.get("name", "") if isinstance(name, Mapping) else name
    about = {"model": name, "module": item.module if isinstance(item, Features) else ""}
    names = [str(number) for number in range(flat.shape[1])]
    return FeatureComponents(flat), tuple(names), features_side(len(flat), ids), about


def ordered(
    source: FeatureComponents | Side, joined_as: Side, ids: tuple[str, ...] | None
) -> FeatureComponents | RDMComponents:
    """Bring what is weighted into the order of the ids."""
    if isinstance(source, Side):
        return RDMComponents(square_stack(source, ids))
    own = joined_as.ids[0]
    if ids is None or own is None:
        return source
    return FeatureComponents(source.array[order_of(ids, own)])


def pairs_among(squares: Array, rows: Rows) -> Array:
    """Take the pairs among some stimuli, shape (n_rdms, n_pairs)."""
    first, second = np.triu_indices(len(rows), 1)
    return squares[:, rows[first], rows[second]]
