"""Encoding models: cross-validated ridge regression from features to responses."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ..arrays import as_numbers
from ..errors import InvalidArgument, counted, listing, unknown
from ..folds import Splitting, groups_of, split
from ..optional import expect
from .inputs import AnyFeatures, AnyResponses, Inputs, join
from .preparation import Preparation
from .result import EncodingResult
from .ridge import candidate_shares
from .runs import Fit, Run, choose, taken
from .scores import normalised_pearson, normalised_r2
from .undefined import warn_of_constant, warn_of_undefined

SEVERAL = ("each", "choose", "choose per target", "bands")
POOLING = ("folds", "pooled")
MISSING = ("refuse", "skip")
BLOCK_BYTES = 2**28  # of responses that are fitted at once
CHOSEN = "(chosen)"


def fit_encoding(
    features: AnyFeatures,
    responses: AnyResponses,
    *,
    several: str = "each",
    alphas: ArrayLike | None = None,
    cv: Any = 5,
    inner_cv: Any = 5,
    groups: Sequence[Any] | Mapping[str, Any] | None = None,
    reduction: str | None = None,
    n_components: int = 100,
    standardise: bool = False,
    reliability: ArrayLike | None = None,
    average: str = "folds",
    missing: str = "refuse",
    n_shares: int = 50,
    block: int | None = None,
    by_position: bool = False,
    backend: str = "numpy",
    seed: int = 0,
) -> EncodingResult:
    r"""Predict responses from features by ridge regression, and score it on held-out stimuli.

    In each outer fold, all that is learnt (means, deviations, components, penalties,
    the module, weights of bands) is learnt from its training stimuli. Each target has
    its own penalty, the one with the least squared error in the inner folds:
    :math:`\min_w \|y - X w\|^2 + \alpha \|w\|^2` (Hoerl & Kennard 1970,
    doi:10.1080/00401706.1970.10488634), the intercept free. Banded ridge gives each module
    a weight of its own per target (Nunez-Elizalde et al. 2019,
    doi:10.1016/j.neuroimage.2019.04.012; Dupré la Tour et al. 2022,
    doi:10.1016/j.neuroimage.2022.119728).

    Parameters
    ----------
    features : Features, FeatureSet, array (n_stimuli, ...), or mapping from name to these
        Of one or several modules; all axes but the first are flattened.
    responses : Responses, Features or array, shape (n_stimuli, n_targets)
        Joined to the features by id. A memory map is read a block at a time.
    several : {"each", "choose", "choose per target", "bands"}
        Of several modules: one model for each; with a choice of the best
        module on the training stimuli of each fold, for all targets or for each one; or one
        banded ridge, its bands scaled to equal variance.
    alphas : array of float, optional
        Penalties to choose from. By default 21 values from 1e-5 to 1e5 times the
        mean squared length of the centred training rows.
    cv, inner_cv : int, splitter of scikit-learn, or list of (train, test)
        Outer and inner folds. A number is of shuffled folds with the seed.
    groups : sequence of length n_stimuli, or mapping from id, optional
        Stimuli of one group are kept together.
    reduction : {None, "pca", "projection"}
        Principal components of the training rows, or a sparse random projection.
    n_components : int
        What the reduction leaves.
    standardise : bool
        Whether each feature is divided by its deviation in the training rows.
    reliability : array, shape (n_targets,), optional
        For normalised scores; by default that of the responses. A noise ceiling given
        as a correlation is squared first.
    average : {"folds", "pooled"}
        Whether a score is the mean over folds, or that of all held-out
        predictions together, as folds of few stimuli need it.
    missing : {"refuse", "skip"}
        Whether targets with NaN are refused or left without a score.
    n_shares : int
        How many random weights of bands are tried.
    block : int, optional
        How many targets are fitted at once; by default as many as fill 256 MB.
    by_position : bool
        Take an array, which carries no ids, to be in the order of what does.
    backend : {"numpy", "torch", "torch_cuda", "cupy"}
        What himalaya computes with.
    seed : int
        Of folds, projections and weights of bands.

    Returns
    -------
    EncodingResult
        `table` is the summary, `scores` the arrays per target. Warnings name the targets that
        have no score, and modules and targets whose predictions are constant, which counts as a
        correlation of 0.

    Raises
    ------
    MismatchError
        If the stimuli differ or cannot be joined by id.
    InvalidArgument
        If features are not finite, targets hold NaN, or an argument is not allowed.
    MissingPackage
        If himalaya is not installed.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> features = rng.normal(size=(80, 10))
    >>> responses = features @ rng.normal(size=(10, 3)) + rng.normal(size=(80, 3))
    >>> result = fit_encoding(features, responses)
    >>> bool((result.score("pearson") > 0.8).all())
    True
    """
    expect("himalaya")
    for name, value, allowed in (
        ("several", several, SEVERAL), ("average", average, POOLING), ("missing", missing, MISSING),
    ):  # fmt: skip
        if value not in allowed:
            raise unknown(f"value of {name}", value, allowed)
    inputs = join(features, responses, by_position)
    n_stimuli, n_targets = inputs.responses.shape
    known = _reliability(reliability, inputs.reliability, n_targets)
    penalties = _penalties(alphas)
    folds = split(
        n_stimuli, cv, inner_cv, groups_of(groups, inputs.ids, n_stimuli), seed
    )  # fmt: skip
    smallest = min(len(test) for _, test in folds.outer)
    if average == "folds" and smallest < 3:
        raise InvalidArgument(
            f"A fold has {counted(smallest, 'test stimulus', 'test stimuli')}, too few for a score "
            'of its own. Say average="pooled", or make larger folds.'
        )
    if block is not None and block < 1:
        raise InvalidArgument(f"block is {block}; at least one target is fitted at once.")
    fit = Fit(
        inputs, folds, penalties,
        Preparation(reduction, n_components, standardise, seed),
        block or max(1, BLOCK_BYTES // (8 * n_stimuli)), missing, backend,
    )  # fmt: skip
    names = tuple(inputs.features)
    chosen = shares = None
    if several == "bands":
        runs = [fit.run(names, candidate_shares(len(names), n_shares, seed))]
        shares = runs[0].shares
        modules: tuple[str, ...] = (" + ".join(names),)
    else:
        runs = [fit.run((name,), None) for name in names]
        modules = names
        if several != "each":
            best = choose(runs, per_target=several == "choose per target")
            runs.append(taken(runs, best))
            chosen, modules = np.array(names)[best], (*names, CHOSEN)
    return _result(
        runs, modules, inputs, folds, average, known, shares, chosen, several, fit, seed, names
    )


def linear_predictivity(features: AnyFeatures, responses: AnyResponses, **options: Any) -> float:
    """Measure how well features predict responses linearly: the median score over targets.

    The score is the held-out Pearson correlation, divided by the noise ceiling of each
    target where its reliability is known, after Yamins et al. (2014,
    doi:10.1073/pnas.1403112111), by cross-validated ridge regression.

    Parameters
    ----------
    features : Features, FeatureSet of one module, or array, shape (n_stimuli, ...)
        Of one module.
    responses : Responses, Features or array, shape (n_stimuli, n_targets)
        E.g. of voxels or neurons, or the features of another network.
    **options
        As of `fit_encoding`.

    Returns
    -------
    float
        At most 1, with noise-normalised scores about 1; NaN if no target has a score.

    Raises
    ------
    InvalidArgument
        If there are several modules; also as `fit_encoding`.

    Examples
    --------
    >>> features = np.random.default_rng(0).normal(size=(60, 4))
    >>> round(linear_predictivity(features, features[:, :2] - features[:, 2:]), 2)
    1.0
    """
    result = fit_encoding(features, responses, **options)
    if len(result.modules) != 1:
        raise InvalidArgument(
            f"Linear predictivity is of one module, and {len(result.modules)} were given: "
            f"{listing(result.modules)}. For several see fit_encoding(…).table."
        )
    score = "pearson_normalised" if "pearson_normalised" in result.scores else "pearson"
    values = result.scores[score][0]
    return float(np.median(values[np.isfinite(values)])) if np.isfinite(values).any() else np.nan


def _reliability(
    given: ArrayLike | None, known: NDArray[np.float64] | None, n_targets: int
) -> NDArray[np.float64] | None:
    if given is None:
        return known
    values = as_numbers(given, "reliability")
    if values.ndim == 0:
        values = np.full(n_targets, float(values))
    if values.shape != (n_targets,) or np.nanmax(values, initial=0) > 1 + 1e-9:
        raise InvalidArgument(
            f"reliability has shape {values.shape} and reaches {np.nanmax(values, initial=0):.3g}; "
            f"it is one number per target, shape ({n_targets},), at most 1."
        )
    return values


def _penalties(alphas: ArrayLike | None) -> NDArray[np.float64] | None:
    if alphas is None:
        return None
    values = np.unique(np.atleast_1d(as_numbers(alphas, "alphas")))
    if not len(values) or not (np.isfinite(values) & (values > 0)).all():
        raise InvalidArgument(f"alphas are {alphas!r}; penalties are numbers above zero.")
    return values


def _result(
    runs: Sequence[Run], modules: tuple[str, ...], inputs: Inputs, folds: Splitting, average: str,
    reliability: NDArray[np.float64] | None, shares: NDArray[np.float64] | None,
    chosen: NDArray[np.str_] | None, several: str, fit: Fit, seed: int, names: tuple[str, ...],
) -> EncodingResult:  # fmt: skip
    by_fold = {
        "pearson": np.stack([[one.pearson() for one in run.sums] for run in runs]),
        "r2": np.stack([[one.r2() for one in run.sums] for run in runs]),
    }
    if average == "folds":
        scores = {name: values.mean(axis=1) for name, values in by_fold.items()}
    else:
        pooled = [sum(run.sums[1:], start=run.sums[0]) for run in runs]
        scores = {
            "pearson": np.stack([one.pearson() for one in pooled]),
            "r2": np.stack([one.r2() for one in pooled]),
        }
    warn_of_undefined(scores["pearson"], runs, inputs.target_names, average)
    warn_of_constant(inputs.features, modules, runs, inputs.target_names)
    if reliability is not None:
        scores["pearson_normalised"] = normalised_pearson(scores["pearson"], reliability)
        scores["r2_normalised"] = normalised_r2(scores["r2"], reliability)
    prepare = fit.prepare
    models = [inputs.models[name] for name in names]
    if several == "bands":
        models = [" + ".join(dict.fromkeys(filter(None, models)))]
    elif chosen is not None:
        models.append(" / ".join(dict.fromkeys(filter(None, models))))
    provenance = {
        "models": models,
        "reference": inputs.reference,
        "n_stimuli": len(inputs.responses),
        "n_features": [run.n_features for run in runs],
        "ids": inputs.ids,
        "joined_by": inputs.joined_by,
        "cv": folds.description,
        "inner_cv": folds.inner_description,
        "several": several,
        "average": average,
        "reduction": prepare.reduction,
        "n_components": None if prepare.reduction is None else prepare.n_components,
        "standardise": prepare.standardise,
        "alphas": None if fit.alphas is None else fit.alphas.tolist(),
        "backend": fit.backend,
        "seed": seed,
    }
    return EncodingResult(
        modules, scores, by_fold, np.stack([run.alphas for run in runs]),
        names if several == "bands" else (), shares, chosen, reliability, inputs.target_names,
        provenance,
    )  # fmt: skip
