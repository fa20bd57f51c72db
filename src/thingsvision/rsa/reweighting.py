"""Reweighted RSA: how alike RDMs are once features, or RDMs, are weighted to fit."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ..errors import InvalidArgument, unknown
from ..features import Features, FeatureSet
from ..folds import Folds, groups_of, split
from .aligned import check_count, names_of, square_stack
from .comparison import COMPARISONS
from .components import ordered, pairs_among, source_of
from .joining import joined, side
from .rdm import RDM

if TYPE_CHECKING:
    import pandas as pd

Array = NDArray[np.float64]
Rows = NDArray[np.intp]
PENALTIES = (1e-3, 1e-2, 1e-1, 1.0, 10.0, 100.0, 1000.0, 10000.0)
SHRINK = ("equal", "zero")
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
    shrink: str = "equal",
    by_position: bool = False,
    seed: int = 0,
) -> ReweightedResult:
    r"""Compare RDMs with the weighted sum of RDMs that fits them best, on held-out stimuli.

    Each feature :math:`j` has an RDM of its own, :math:`(x_{ij} - x_{kj})^2`; weights
    :math:`w_j \ge 0` and an offset are fitted to the pairs of the training stimuli by
    least squares with a penalty :math:`\alpha s^2 \sum (w_j - w_0)^2`, :math:`s^2` the summed
    squares of a feature's centred dissimilarities, in the mean over features, and :math:`w_0` zero
    or the equal weights that fit best. The weighted sum is compared with the reference on the
    pairs of the test stimuli; pairs of a training and a test stimulus are not used. Equal weights
    are the squared euclidean RDM; shrunk to them, little is lost where stimuli are few.
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
    shrink : {"equal", "zero"}
        Whether the penalty draws weights to equal ones or, as in Kaniuth & Hebart, to zero.
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
    references = side(reference, "reference")
    found, names, joined_as, about = source_of(model)
    ids = joined([joined_as, references], by_position)
    source, targets = ordered(found, joined_as, ids), square_stack(references, ids)
    check_count(source.n_stimuli, 2 * FEWEST, "A reweighting")
    if shrink not in SHRINK:
        raise unknown("value of shrink", shrink, SHRINK)
    penalties = sorted(set(map(float, alphas)))
    if not penalties or penalties[0] < 0 or not np.isfinite(penalties).all():
        raise InvalidArgument(f"alphas are {alphas!r}; penalties are numbers from 0.")
    chosen_groups = groups_of(groups, ids, source.n_stimuli)
    nested = len(penalties) > 1
    folds = split(source.n_stimuli, cv, inner_cv, chosen_groups, seed, nested)
    check_parts(folds.outer, "cv")
    rows, weights = [], []
    for number, (train, test) in enumerate(folds.outer):
        inner = folds.inner[number] if nested else []
        check_parts(inner, "inner_cv")
        fitted = source.prepared(train, n_components)
        best = _choose_penalty(fitted, targets, train, inner, penalties, shrink)
        fold_weights = _fit(fitted, targets, train, best, shrink)
        weights.append(fold_weights)
        pairs, truth = fitted.pairs(test), pairs_among(targets, test)
        for which, name in enumerate(names_of(references)):
            rows.append(
                {
                    "reference": name,
                    "fold": number,
                    "comparison": comparison,
                    "estimate": _likeness(pairs @ fold_weights[which], truth[which], comparison),
                    "equal_weights": _likeness(pairs.sum(axis=1), truth[which], comparison),
                    "alpha": best[which],
                    "n_weights": int((fold_weights[which] > 0).sum()),
                    "n_pairs": len(pairs),
                }
            )
    import pandas as pd

    about |= {
        "n_stimuli": source.n_stimuli, "cv": folds.description, "seed": seed, "ids": ids,
        "shrink": shrink, "inner_cv": folds.inner_description,
        "joined_by": "position" if ids is None else "id",
    }  # fmt: skip
    components = names if n_components is None else tuple(map(str, range(len(weights[0][0]))))
    return ReweightedResult(pd.DataFrame(rows), np.stack(weights), components, about)


def _moments(source: Any, targets: Array, rows: Rows) -> tuple[Array, Array, Array]:
    """Accumulate what least squares needs, of centred pairs: products, with the targets, scales."""
    truth = pairs_among(targets, rows)
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


def _fit(source: Any, targets: Array, rows: Rows, penalties: Sequence[float], shrink: str) -> Array:
    """Fit weights to each target with its penalty, shape (n_targets, n_components)."""
    products, mixed, scales = _moments(source, targets, rows)
    return np.stack(
        [
            nonnegative_weights(products, mixed[:, which], scales, penalty, shrink)
            for which, penalty in enumerate(penalties)
        ]
    )


def nonnegative_weights(
    products: Array, mixed: Array, scales: Array, penalty: float, shrink: str = "zero"
) -> Array:
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
        On squared distances of the weights from where they are shrunk to, in units of
        the mean squared length of the columns.
    shrink : {"equal", "zero"}
        To the equal weights that fit best, or to zero.

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
    unit = np.square(scales[used]).mean()
    scaled, aims = products[np.ix_(used, used)] / unit, mixed[used] / unit
    if shrink == "equal" and scaled.sum() > 0:
        aims = aims + penalty * max(aims.sum() / scaled.sum(), 0)
    scaled[np.diag_indices(len(used))] += penalty
    # A trace of a penalty keeps collinear columns apart; each weighed in its own length.
    lengths = np.sqrt(np.diag(scaled))
    scaled = scaled / np.outer(lengths, lengths)
    scaled[np.diag_indices(len(used))] += 1e-12 * len(used)
    root = cholesky(scaled)  # upper: scaled = root.T @ root
    aim = solve_triangular(root, aims / lengths, trans="T")
    weights[used] = nnls(root, aim, maxiter=30 * len(used))[0] / lengths
    return weights


def _choose_penalty(
    source: Any,
    targets: Array,
    train: Rows,
    inner: Folds,
    penalties: Sequence[float],
    shrink: str,
) -> list[float]:
    """Take for each target the penalty that predicts pairs of held-out training stimuli best."""
    if len(penalties) == 1:
        return [penalties[0]] * len(targets)
    scores = np.zeros((len(penalties), len(targets)))
    for fitted_on, tested_on in inner:
        rows, held_out = train[fitted_on], train[tested_on]
        moments = _moments(source, targets, rows)
        pairs, truth = source.pairs(held_out), pairs_among(targets, held_out)
        for number, penalty in enumerate(penalties):
            for which in range(len(targets)):
                weights = nonnegative_weights(
                    moments[0], moments[1][:, which], moments[2], penalty, shrink
                )
                scores[number, which] += _likeness(pairs @ weights, truth[which], "pearson")
    return [penalties[number] for number in scores.argmax(axis=0)]


def _likeness(predicted: Array, truth: Array, comparison: str) -> float:
    """Compare two rows of pairs; what is constant is like nothing."""
    if np.ptp(predicted) <= 1e-12 * np.abs(predicted).max(initial=0):
        return 0.0
    return float(COMPARISONS[comparison](predicted[None], truth[None])[0, 0])


def check_parts(folds: Folds, name: str) -> None:
    """Refuse folds whose parts have fewer than three stimuli, hence too few pairs."""
    smallest = min((min(len(train), len(test)) for train, test in folds), default=FEWEST)
    if smallest < FEWEST:
        raise InvalidArgument(
            f"A fold of {name} has a part of {smallest} stimuli, and RDMs are compared from "
            f"{FEWEST} on. Make fewer folds: {name}=2, or give more stimuli."
        )
