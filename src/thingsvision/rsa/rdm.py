"""RDM: the dissimilarities between all pairs of stimuli, made, kept, and read from files."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float, Shaped
from numpy.typing import ArrayLike, NDArray

from ..arrays import as_array, is_table, labels_of
from ..errors import InvalidArgument, MismatchError, counted, listing, several
from ..features import Features, FeatureSet, as_features
from ..interop.methods import RDMInterop
from . import files
from .dissimilarity import may_be_negative
from .matrix import (
    as_float,
    check_ids,
    check_matrix,
    check_pairs,
    condensed,
    squared,
    stimuli_of_pairs,
)
from .measuring import measured


@dataclass(frozen=True, eq=False, repr=False)
class RDM(RDMInterop):
    """Representational dissimilarity matrix: how unlike each pair of stimuli is.

    Parameters
    ----------
    dissimilarities : array, shape (n_pairs,)
        Upper triangle without the diagonal, row by row: the order of
        ``scipy.spatial.distance.squareform``; ``n_pairs = n_stimuli * (n_stimuli - 1) / 2``.
    ids : tuple of str, optional
        One per stimulus, in the order of the matrix. Without ids an RDM can be
        compared only by position.
    dissimilarity : str
        Name of the measure, e.g. ``"correlation"``; empty if not known.
    provenance : dict
        What made it, e.g. the model and the module.
    name : str
        How it is called in tables.

    Raises
    ------
    InvalidArgument
        If the numbers are no upper triangle, do not fit the ids, are not finite, or are
        negative beyond rounding (1e-5 of the largest) and `dissimilarity` is not a
        cross-validated one (``"crossnobis"``, ``"poisson_cv"``); the pairs are named.

    Examples
    --------
    >>> rdm = RDM(np.array([0.1, 0.8, 0.9]), ids=("cat.jpg", "dog.jpg", "cup.jpg"), name="example")
    >>> rdm
    RDM('example', 3 stimuli, float64)
    >>> np.asarray(rdm)
    array([[0. , 0.1, 0.8],
           [0.1, 0. , 0.9],
           [0.8, 0.9, 0. ]])
    """

    dissimilarities: Shaped[np.ndarray, " n_pairs"]
    ids: tuple[str, ...] | None = None
    dissimilarity: str = ""
    provenance: Mapping[str, Any] = field(default_factory=dict)
    name: str = ""

    def __post_init__(self) -> None:
        object.__setattr__(
            self, "dissimilarities", as_float(as_array(self.dissimilarities, "The RDM"))
        )
        if self.ids is not None:
            object.__setattr__(self, "ids", tuple(several(self.ids, "ids={}")))
        values, what = self.dissimilarities, f"RDM {self.name!r}" if self.name else "This RDM"
        if values.ndim != 1:
            raise InvalidArgument(
                f"{what} was given an array of shape {values.shape}, not a row of pairs. "
                "For a square matrix use RDM.from_matrix."
            )
        count = stimuli_of_pairs(len(values))
        if count is None:
            raise InvalidArgument(
                f"{what} was given {len(values)} values, which is no number of pairs: "
                "n stimuli have n (n - 1) / 2 (1, 3, 6, 10, …)."
            )
        if self.ids is not None:
            check_ids(self.ids, count, what)
        check_pairs(values, what, self.ids, may_be_negative(self.dissimilarity))

    @classmethod
    def from_matrix(
        cls,
        matrix: NDArray[Any],
        ids: Sequence[str] | None = None,
        dissimilarity: str = "",
        provenance: Mapping[str, Any] | None = None,
        name: str = "",
    ) -> RDM:
        """Make an RDM of a square matrix, once it has been checked to be one.

        Parameters
        ----------
        matrix : array or pandas.DataFrame, shape (n_stimuli, n_stimuli)
            A table gives the ids too, if it names its rows. Finite, symmetric, zero on the
            diagonal, not negative, each within 1e-5 of its largest value; the upper triangle is
            what is kept. That of a cross-validated dissimilarity (``"crossnobis"``,
            ``"poisson_cv"``) may be negative.
        ids, dissimilarity, provenance, name
            As of `RDM`.

        Returns
        -------
        RDM

        Raises
        ------
        InvalidArgument
            If the matrix is no dissimilarity matrix; the message says why.

        Examples
        --------
        >>> RDM.from_matrix(np.array([[0, 2], [2, 0]]), ids=["a.jpg", "b.jpg"])
        RDM(2 stimuli, float64)
        """
        matrix, ids = _labelled(matrix, ids)
        signed = may_be_negative(dissimilarity)
        check_matrix(matrix, f"The matrix {name!r}" if name else "The matrix", ids, signed)
        values = condensed(matrix) if signed else np.maximum(condensed(matrix), 0)
        names = None if ids is None else tuple(several(ids, "ids={}"))
        return cls(values, names, dissimilarity, provenance or {}, name)

    @property
    def n_stimuli(self) -> int:
        """Number of stimuli, the side of the square matrix."""
        count = stimuli_of_pairs(len(self.dissimilarities))
        assert count is not None  # checked when it was made
        return count

    def __len__(self) -> int:
        return self.n_stimuli

    def square(self) -> Float[np.ndarray, "n_stimuli n_stimuli"]:
        """Lay the pairs out as a symmetric matrix, shape (n_stimuli, n_stimuli), diagonal zero."""
        return squared(self.dissimilarities)

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> NDArray[Any]:
        if copy is False:
            raise ValueError("The square matrix of an RDM is always a new array.")
        return self.square().astype(dtype or self.dissimilarities.dtype, copy=False)

    def select(self, ids: Sequence[str]) -> RDM:
        """Take some stimuli, in the order asked for.

        Parameters
        ----------
        ids : sequence of str
            Wanted ids, none of them twice.

        Returns
        -------
        RDM
            Of ``len(ids)`` stimuli.

        Raises
        ------
        MismatchError
            If an id is not among these stimuli; all such ids are named.
        InvalidArgument
            If this RDM carries no ids, or one text was given, not a list.
        """
        if self.ids is None:
            raise InvalidArgument(
                f"{self!r} carries no ids to select by. Name its stimuli first, e.g. with "
                "load_rdm(path, ids=…) or RDM.from_matrix(matrix, ids=…)."
            )
        wanted = tuple(several(ids, "rdm.select({})"))
        rows = {name: row for row, name in enumerate(self.ids)}
        missing = [name for name in wanted if name not in rows]
        if missing:
            raise MismatchError(
                f"{len(missing)} of {counted(len(wanted), 'id')} are not among the {len(self)} "
                f"stimuli of {self!r}: {listing(missing)}. "
                f"Its ids look like: {listing(self.ids, 3)}."
            )
        values = self.dissimilarities
        if wanted != self.ids:
            order = [rows[name] for name in wanted]
            values = condensed(self.square()[np.ix_(order, order)])
        return RDM(values, wanted, self.dissimilarity, self.provenance, self.name)

    def save(self, path: str | Path) -> Path:
        """Write the RDM to a file that `load_rdm` reads back.

        Parameters
        ----------
        path : str or Path
            ``.npz`` keeps all: dissimilarities, ids, and the rest as JSON.
            ``.csv`` is the square matrix with the ids as header and first
            column, and the name of the dissimilarity in the corner.

        Returns
        -------
        Path
            Where it was written.

        Raises
        ------
        UnknownName
            If the suffix is another one.
        """
        about = {
            "name": self.name,
            "dissimilarity": self.dissimilarity,
            "provenance": dict(self.provenance),
        }
        return files.write(Path(path), self.dissimilarities, self.square, self.ids, about)

    def __repr__(self) -> str:
        facts = [repr(self.name)] if self.name else []
        facts.append(f"{len(self)} stimuli")
        facts += [self.dissimilarity] if self.dissimilarity else []
        facts += [str(self.dissimilarities.dtype)]
        facts += ["without ids"] if self.ids is None else []
        return f"RDM({', '.join(facts)})"


def compute_rdm(
    features: Features | FeatureSet | ArrayLike,
    dissimilarity: str = "correlation",
    *,
    select: ArrayLike | None = None,
    weights: ArrayLike | None = None,
    conditions: Sequence[Any] | None = None,
    nan: str = "refuse",
    drop_failed: bool = False,
    out: str | Path | None = None,
    **options: Any,
) -> RDM:
    """Compute the RDM of the features of one module.

    Parameters
    ----------
    features : Features, FeatureSet of one module, or array, shape (n_stimuli, ...)
        All axes but the first are flattened. A plain array gives an RDM without ids.
    dissimilarity : str
        A name in `thingsvision.rsa.DISSIMILARITIES`: ``"correlation"``, ``"cosine"``,
        ``"euclidean"``, ``"squared_euclidean"``, ``"gaussian"``, ``"mahalanobis"``,
        ``"crossnobis"``, ``"poisson"``, ``"poisson_cv"``.
    select : array of bool, shape (n_features,), or of int, optional
        The features to take, by mask or by number from 0; all by default.
    weights : array, shape (n_features,), optional
        What each feature is multiplied by beforehand; not negative.
    conditions : sequence, length n_stimuli, optional
        Where rows are repeated measurements, of which condition each one is. The RDM is
        then of the conditions, in the order in which they first appear: of their means, or
        cross-validated. For cross-validated measures the ids, by default.
    nan : str
        ``"refuse"`` rows with NaN or infinity, naming them, or ``"drop"`` them, with a
        warning that names them.
    drop_failed : bool
        Leave out stimuli whose images could not be decoded, with a warning that names them;
        otherwise they are refused.
    out : str or Path, optional
        A ``.npy`` file to write the pairs to as they are computed. The RDM is then a
        memory map of it; nothing of its size is held in memory.
    **options
        Of the dissimilarity. ``gaussian``: ``bandwidth``. ``mahalanobis`` and
        ``crossnobis``: ``residuals``, ``covariance``, ``precision``. ``crossnobis`` and
        ``poisson_cv``: ``folds``, the fold (run) of each row. ``poisson`` and
        ``poisson_cv``: ``prior_lambda``, ``prior_weight``.

    Returns
    -------
    RDM
        Of ``n_stimuli`` stimuli, or of as many as there are conditions; float32 features
        give float32, float16 too, all others float64.

    Raises
    ------
    UnknownName
        If there is no such dissimilarity.
    InvalidArgument
        If features are not finite, images could not be decoded, or the dissimilarity is not
        defined for a stimulus (a constant row has no correlation); all such ids are named. If an
        RDM was given, whose dissimilarities are no features, or the dissimilarity has no such
        option.
    StoreError
        If the disk has no room for `out`.

    Examples
    --------
    >>> features = Features(np.eye(3), ids=("a.jpg", "b.jpg", "c.jpg"), module="fc")
    >>> rdm = compute_rdm(features, dissimilarity="euclidean")
    >>> rdm
    RDM('fc', 3 stimuli, euclidean, float64)
    >>> rdm.dissimilarities.round(3)
    array([1.414, 1.414, 1.414])
    >>> compute_rdm(features, "gaussian", bandwidth=1.0).dissimilarities.round(3)
    array([0.632, 0.632, 0.632])
    """
    if isinstance(features, RDM):
        raise InvalidArgument(
            f"{features!r} is an RDM already. Compare it with others by compare_rdms(a, b); if an "
            "RDM of its rows is meant, give them as an array: compute_rdm(rdm.square())."
        )
    if isinstance(features, list | tuple) and any(isinstance(item, RDM) for item in features):
        raise InvalidArgument(
            f"These are {len(features)} RDMs already, not features. Compare them with others by "
            "compare_rdms(a, b)."
        )
    array, ids = as_features(features)
    failures = getattr(features, "failures", {})
    pairs, names, done = measured(
        array,
        ids,
        dissimilarity,
        {"select": select, "weights": weights, "conditions": conditions, "nan": nan,
         "drop_failed": drop_failed, "failures": failures},
        None if out is None else Path(out),
        options,
    )  # fmt: skip
    provenance = {**_provenance(features), **({"rdm": done} if done else {})}
    model = provenance.get("model", "")
    model = model.get("name", "") if isinstance(model, Mapping) else model
    name = f"{model} {provenance.get('module', '')}".strip()
    return RDM(pairs, names, dissimilarity, provenance, name)


def _labelled(matrix: Any, ids: Sequence[str] | None) -> tuple[NDArray[Any], Sequence[str] | None]:
    """Take the ids of a table that names its rows and columns, which have to be the same."""
    if not is_table(matrix):
        return as_array(matrix, "The matrix"), ids
    above, beside = labels_of(matrix.T), labels_of(matrix)
    if above != beside:
        differ = [
            f"{a} / {b}" for a, b in zip(matrix.columns, matrix.index, strict=False) if a != b
        ]
        raise InvalidArgument(
            f"The table names its columns otherwise than its rows: {listing(differ)}. Bring both "
            "into the same order: table.loc[ids, ids]."
        )
    if ids is not None and beside is not None and list(ids) != list(beside):
        raise InvalidArgument(
            f"The table names its stimuli itself ({listing(beside, 3)}), otherwise than the ids "
            "given. Leave ids out; for another order use table.loc[ids, ids]."
        )
    return matrix.to_numpy(), beside if ids is None else ids


def _provenance(features: Any) -> dict[str, Any]:
    """Say what made the features, and from which module."""
    if isinstance(features, FeatureSet):
        features = features.only
    if not isinstance(features, Features):
        return {}
    return {**features.provenance, **({"module": features.module} if features.module else {})}
