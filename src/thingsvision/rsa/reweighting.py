"""Reweighted RSA: how alike RDMs are once features, or RDMs, are weighted to fit."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ..errors import InvalidArgument, listing
from ..features import Features, FeatureSet, as_features
from ..folds import Folds, groups_of, split
from .aligned import aligned, check_count, named_rdms, pair_rows
from .comparison import compare_rdms
from .rdm import RDM

if TYPE_CHECKING:
    import pandas as pd

Array = NDArray[np.float64]
Rows = NDArray[np.intp]
PENALTIES = (1e-4, 1e-2, 1e-1, 1.0, 10.0, 100.0, 1000.0)
FEWEST = 3  # stimuli of a test part: three pairs


@dataclass(frozen=True, eq=False, repr=False)
class ReweightedResult:
    """What reweighting gave on held-out stimuli.

    Parameters
    ----------
    folds : pandas.DataFrame
        One row per reference and fold: reference, fold, comparison, estimate,
        equal_weights (the same pairs with all weights equal), alpha, n_weights (those above
        zero), n_pairs.
    weights : array, shape (n_folds, n_references, n_components)
        Of the features, principal components (which differ between folds) or RDMs.
    components : tuple of str
        Names of the RDMs, or numbers of features.
    provenance : dict
        Model, module, folds, seed, how stimuli were joined.
    """

    folds: pd.DataFrame
    weights: Array
    components: tuple[str, ...]
    provenance: Mapping[str, Any]

    @property
    def table(self) -> pd.DataFrame:
        """Means over folds, one row per reference.

        Columns: model, module, reference, comparison, estimate, equal_weights, n_folds,
        n_stimuli, seed. A fold in which all weights are zero counts as no likeness, 0.
        """
        groups = self.folds.groupby(["reference", "comparison"], sort=False)
        table = groups[["estimate", "equal_weights"]].mean().reset_index()
        table.insert(0, "model", self.provenance["model"])
        table.insert(1, "module", self.provenance["module"])
        table["n_folds"] = len(self.weights)
        table["n_stimuli"] = self.provenance["n_stimuli"]
        table["seed"] = self.provenance["seed"]
        return table

    def __repr__(self) -> str:
        n_folds, n_references, n_components = self.weights.shape
        return (
            f"ReweightedResult({n_components} weights, {n_references} references, {n_folds} folds)"
        )


def compare_reweighted(
    model: Features | FeatureSet | ArrayLike | Mapping[str, Any] | Sequence[RDM],
    reference: Any,
    *,
    comparison: str = "pearson",
    alphas: Sequence[float] = PENALTIES,
    cv: Any = 5,
    inner_cv: Any = 5,
    groups: Sequence[Any] | Mapping[str, Any] | None = None,
    n_components: int | None = None,
    by_position: bool = False,
    seed: int = 0,
) -> ReweightedResult:
    r"""Compare RDMs with the weighted sum of RDMs that fits them best, on held-out stimuli.

    Each feature :math:`j` has an RDM of its own, :math:`(x_{ij} - x_{kj})^2`; weights
    :math:`w_j \ge 0` and an offset are fitted to the pairs of the training stimuli by
    least squares with a penalty :math:`\alpha \sum (s_j w_j)^2`, :math:`s_j^2` the summed squares
    of the feature's centred dissimilarities, so that the scale of a feature does not matter.
    The weighted sum is compared with the reference on the pairs of the test stimuli; pairs of a
    training and a test stimulus are not used. Equal weights are the squared euclidean RDM.
    After Kaniuth & Hebart (2022, doi:10.1016/j.neuroimage.2022.119294) and Khaligh-Razavi &
    Kriegeskorte (2014, doi:10.1371/journal.pcbi.1003915).

    Parameters
    ----------
    model : Features, array (n_stimuli, n_features), or list or mapping of RDM
        Features to be weighted; or RDMs, e.g. of several modules, to be weighted.
    reference : RDM, list or mapping of them, or array
        What they are fitted to, e.g. one RDM a subject; each is fitted on its own.
    comparison : str
        A name in `thingsvision.rsa.COMPARISONS`, for the held-out pairs.
    alphas : sequence of float
        Penalties, from 0, of which the one with the largest Pearson correlation over the inner
        folds is taken.
    cv, inner_cv : int, splitter of scikit-learn, or list of (train, test)
        Folds of stimuli. A number is of shuffled folds with the seed.
    groups : sequence of length n_stimuli, or mapping from id, optional
        Stimuli of one group are kept together.
    n_components : int, optional
        Weigh so many principal components of the training stimuli instead of features.
    by_position : bool
        Take what carries no ids to be in the order of what does.
    seed : int
        Of the folds.

    Returns
    -------
    ReweightedResult
        `table` has the estimate beside that of equal weights.

    Raises
    ------
    MismatchError
        If the stimuli differ or cannot be joined by id.
    InvalidArgument
        If there are too few stimuli, or something is not finite or constant.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> features = rng.normal(size=(40, 5))
    >>> shown = features * [3, 0, 0, 1, 0]
    >>> human = ((shown[:, None] - shown[None]) ** 2).sum(axis=2)
    >>> result = compare_reweighted(features, human)
    >>> result.table[["estimate", "equal_weights"]].round(2)
       estimate  equal_weights
    0       1.0           0.31
    """
    references = named_rdms(reference, "reference")
    source, names, model_ids, about = _source(model)
    labels = {f"the reference {name}": rdm for name, rdm in references.items()}
    sizes = {"the model": source.n_stimuli, **{n: len(rdm) for n, rdm in labels.items()}}
    known = {"the model": model_ids, **{n: rdm.ids for n, rdm in labels.items()}}
    ids = aligned(known, sizes, by_position)
    source = source.ordered(ids, model_ids)
    targets = pair_rows(references, ids)
    check_count(source.n_stimuli, 2 * FEWEST, "A reweighting")
    penalties = sorted(set(map(float, alphas)))
    if not penalties or penalties[0] < 0 or not np.isfinite(penalties).all():
        raise InvalidArgument(f"alphas are {alphas!r}; penalties are numbers from 0.")
    chosen_groups = groups_of(groups, ids, source.n_stimuli)
    folds = split(source.n_stimuli, cv, inner_cv, chosen_groups, seed)
    check_parts(folds.outer, "cv")
    rows, weights = [], []
    for number, (train, test) in enumerate(folds.outer):
        inner = folds.inner[number]
        check_parts(inner, "inner_cv")
        fitted = source.prepared(train, n_components)
        best = _choose_penalty(fitted, targets, train, inner, penalties)
        found = _fit(fitted, targets, train, best)
        weights.append(found)
        pairs, truth = fitted.pairs(test), _truth(targets, test)
        for which, name in enumerate(references):
            rows.append(
                {
                    "reference": name,
                    "fold": number,
                    "comparison": comparison,
                    "estimate": _likeness(pairs @ found[which], truth[which], comparison),
                    "equal_weights": _likeness(pairs.sum(axis=1), truth[which], comparison),
                    "alpha": best[which],
                    "n_weights": int((found[which] > 0).sum()),
                    "n_pairs": len(pairs),
                }
            )
    import pandas as pd

    about |= {
        "n_stimuli": source.n_stimuli, "cv": folds.description, "seed": seed, "ids": ids,
        "inner_cv": folds.inner_description, "joined_by": "position" if ids is None else "id",
    }  # fmt: skip
    components = names if n_components is None else tuple(map(str, range(len(weights[0][0]))))
    return ReweightedResult(pd.DataFrame(rows), np.stack(weights), components, about)


@dataclass(frozen=True)
class _Features:
    """RDMs of single features."""

    array: Array

    @property
    def n_stimuli(self) -> int:
        return len(self.array)

    def ordered(self, ids: Sequence[str] | None, own: Sequence[str] | None) -> _Features:
        return self if ids is None or own is None else _Features(self.array[_order(ids, own)])

    def prepared(self, train: Rows, n_components: int | None) -> _Features:
        if n_components is None:
            return self
        from sklearn.decomposition import PCA

        count = min(n_components, len(train) - 1, self.array.shape[1])
        if count < 1:
            raise InvalidArgument(f"n_components is {n_components}; at least 1 is needed.")
        pca = PCA(count, svd_solver="full").fit(self.array[train])
        return _Features(pca.transform(self.array))

    def pairs(self, rows: Rows) -> Array:
        return np.concatenate(list(self.blocks(rows)))

    def blocks(self, rows: Rows) -> Iterator[Array]:
        """Yield the dissimilarities of each stimulus with later ones, (n_later, n_features)."""
        for number, row in enumerate(rows[:-1]):
            yield np.square(self.array[row] - self.array[rows[number + 1 :]])


@dataclass(frozen=True)
class _RDMs:
    """RDMs of several models or modules."""

    squares: Array  # (n_rdms, n, n)

    @property
    def n_stimuli(self) -> int:
        return int(self.squares.shape[1])

    def ordered(self, ids: Sequence[str] | None, own: Sequence[str] | None) -> _RDMs:
        if ids is None or own is None:
            return self
        order = _order(ids, own)
        return _RDMs(self.squares[:, order][:, :, order])

    def prepared(self, train: Rows, n_components: int | None) -> _RDMs:
        if n_components is not None:
            raise InvalidArgument("n_components is for features; RDMs are weighted as they are.")
        return self

    def pairs(self, rows: Rows) -> Array:
        return _truth(self.squares, rows).T

    def blocks(self, rows: Rows) -> Iterator[Array]:
        yield self.pairs(rows)


def _source(model: Any) -> tuple[Any, tuple[str, ...], tuple[str, ...] | None, dict[str, Any]]:
    """Say what is weighted: what it is, names, ids, provenance."""
    many = isinstance(model, Mapping) and not isinstance(model, FeatureSet)
    if many or isinstance(model, RDM) or (
        isinstance(model, list | tuple) and any(isinstance(item, RDM) for item in model)
    ):  # fmt: skip
        rdms = named_rdms(model, "model")
        sizes = {name: len(rdm) for name, rdm in rdms.items()}
        ids = aligned({name: rdm.ids for name, rdm in rdms.items()}, sizes, False)
        about = {"model": " + ".join(rdms), "module": ""}
        return _RDMs(pair_rows(rdms, ids)), tuple(rdms), ids, about
    array, ids = as_features(model)
    if array.ndim == 0 or array.size == 0 or array.dtype.kind not in "biuf":
        raise InvalidArgument(f"Features of shape {array.shape} are no numbers (n_stimuli, …).")
    flat = array.reshape(len(array), -1).astype(np.float64)
    broken = np.flatnonzero(~np.isfinite(flat).all(axis=1))
    if len(broken):
        names = broken.tolist() if ids is None else [ids[int(row)] for row in broken]
        raise InvalidArgument(f"Features hold NaN or infinity for: {listing(names)}.")
    item = model.only if isinstance(model, FeatureSet) else model
    name = item.provenance.get("model", "") if isinstance(item, Features) else ""
    name = name.get("name", "") if isinstance(name, Mapping) else name
    about = {"model": name, "module": item.module if isinstance(item, Features) else ""}
    return _Features(flat), tuple(map(str, range(flat.shape[1]))), ids, about


def _order(ids: Sequence[str], own: Sequence[str]) -> list[int]:
    rows = {name: row for row, name in enumerate(own)}
    return [rows[name] for name in ids]


def _truth(squares: Array, rows: Rows) -> Array:
    """Take the pairs among some stimuli, shape (n_rdms, n_pairs)."""
    first, second = np.triu_indices(len(rows), 1)
    return squares[:, rows[first], rows[second]]


def _moments(source: Any, targets: Array, rows: Rows) -> tuple[Array, Array, Array]:
    """Accumulate what least squares needs, of centred pairs: products, with the targets, scales."""
    truth = _truth(targets, rows)
    total, products, mixed = np.zeros(1), np.zeros(1), np.zeros(1)
    start = 0
    for block in source.blocks(rows):
        here = truth[:, start : start + len(block)]
        total, products = total + block.sum(axis=0), products + block.T @ block
        mixed, start = mixed + block.T @ here.T, start + len(block)
    products = products - np.outer(total, total) / start
    mixed = mixed - np.outer(total, truth.mean(axis=1))
    floor = 1e-12 * np.square(total) / start  # what rounding leaves of constant dissimilarities
    scales: Array = np.sqrt(np.where(np.diag(products) > floor, np.diag(products), 0))
    return products, mixed, scales


def _fit(source: Any, targets: Array, rows: Rows, penalties: Sequence[float]) -> Array:
    """Fit weights to each target with its penalty, shape (n_targets, n_components)."""
    products, mixed, scales = _moments(source, targets, rows)
    return np.stack(
        [
            nonnegative_weights(products, mixed[:, which], scales, penalty)
            for which, penalty in enumerate(penalties)
        ]
    )


def nonnegative_weights(products: Array, mixed: Array, scales: Array, penalty: float) -> Array:
    """Minimise the squared error plus a penalty over weights that are not negative.

    Parameters
    ----------
    products : array, shape (n, n)
        Inner products of the centred columns.
    mixed : array, shape (n,)
        Their inner products with the centred target.
    scales : array, shape (n,)
        Lengths of the columns; those of length 0 get no weight.
    penalty : float
        On squared weights of columns of length 1.

    Returns
    -------
    array, shape (n,)
    """
    from scipy.linalg import cholesky, solve_triangular
    from scipy.optimize import nnls

    weights = np.zeros(len(scales))
    used = np.flatnonzero(scales > 0)
    if not len(used):
        return weights
    scaled = products[np.ix_(used, used)] / np.outer(scales[used], scales[used])
    scaled[np.diag_indices(len(used))] += max(penalty, 1e-12 * len(used))
    root = cholesky(scaled)  # upper: scaled = root.T @ root
    aim = solve_triangular(root, mixed[used] / scales[used], trans="T")
    weights[used] = nnls(root, aim, maxiter=30 * len(used))[0] / scales[used]
    return weights


def _choose_penalty(
    source: Any, targets: Array, train: Rows, inner: Folds, penalties: Sequence[float]
) -> list[float]:
    """Take for each target the penalty that predicts pairs of held-out training stimuli best."""
    if len(penalties) == 1:
        return [penalties[0]] * len(targets)
    scores = np.zeros((len(penalties), len(targets)))
    for fitted_on, tested_on in inner:
        rows, held_out = train[fitted_on], train[tested_on]
        moments = _moments(source, targets, rows)
        pairs, truth = source.pairs(held_out), _truth(targets, held_out)
        for number, penalty in enumerate(penalties):
            for which in range(len(targets)):
                weights = nonnegative_weights(moments[0], moments[1][:, which], moments[2], penalty)
                scores[number, which] += _likeness(pairs @ weights, truth[which], "pearson")
    return [penalties[number] for number in scores.argmax(axis=0)]


def _likeness(predicted: Array, truth: Array, comparison: str) -> float:
    """Compare two rows of pairs; what is constant is like nothing."""
    if np.ptp(predicted) <= 1e-12 * np.abs(predicted).max(initial=0):
        return 0.0
    value = compare_rdms(predicted, truth, comparison=comparison)
    assert isinstance(value, float)
    return value


def check_parts(folds: Folds, name: str) -> None:
    """Refuse folds whose parts have fewer than three stimuli, hence too few pairs."""
    smallest = min(min(len(train), len(test)) for train, test in folds)
    if smallest < FEWEST:
        raise InvalidArgument(
            f"A fold of {name} has a part of {smallest} stimuli, and RDMs are compared from "
            f"{FEWEST} on. Make fewer folds: {name}=2, or give more stimuli."
        )
