"""From model RDMs and subject RDMs to a table with intervals, p values and noise ceilings."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import combinations
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ..errors import InvalidArgument, unknown
from .bootstrap import Bootstrap, bootstrap, half_width
from .ceiling import NoiseCeiling, noise_ceiling
from .comparison import COMPARISONS
from .joining import RDMs, side
from .multiple import benjamini_hochberg, holm
from .permutation import permutation_test
from .rdm import RDM

if TYPE_CHECKING:
    import pandas as pd

TESTS = ("bootstrap", "permutation")


def compare_models(
    model_rdms: RDMs | Mapping[str, Mapping[str, RDM]],
    subject_rdms: RDMs | Mapping[str, Any],
    comparison: str = "pearson",
    resample: str | None = None,
    n_resamples: int = 1000,
    level: float = 0.95,
    test: str = "bootstrap",
    n_permutations: int = 10_000,
    seed: int = 0,
    by_position: bool = False,
    dtype: str = "float64",
) -> pd.DataFrame:
    """Compare model RDMs with the RDMs of subjects, with intervals and noise ceilings.

    Parameters
    ----------
    model_rdms : RDM, list or mapping of them, or array
        As in `compare_rdms`. For several modules of several models a mapping from model to a
        mapping from module to RDM.
    subject_rdms : list of RDM, or array; or mapping from the name of a reference to these
        One RDM a subject, as in `noise_ceiling`: rows (n_subjects, n_pairs), a stack, or a
        list. A mapping holds several references, e.g. ``{"human IT": …, "behaviour": …}``.
    comparison : str
        A name in `thingsvision.rsa.COMPARISONS`.
    resample : str, optional
        What the inference generalises to: ``"stimuli"``, ``"subjects"`` or ``"both"``. Without
        it both, or stimuli where there is one subject.
    n_resamples : int
        Samples of the bootstrap, 2 or more.
    level : float
        Of the confidence intervals, between 0 and 1.
    test : str
        ``"bootstrap"`` is a one-sided t test of the estimate against 0 with the bootstrap's
        variance; ``"permutation"`` permutes stimulus labels, see `permutation_test`.
    n_permutations : int
        Of that test.
    seed : int
        Of all draws, 0 or more.
    by_position : bool
        As in `compare_rdms`: take arrays to be in the order of the RDMs with ids.
    dtype : str
        As in `bootstrap`.

    Returns
    -------
    pandas.DataFrame
        A row for each model and reference: model, module, reference, comparison, estimate
        (mean over subjects), ci_low, ci_high (see `Bootstrap.interval`), p, ceiling_low,
        ceiling_high (NaN for one subject), n_stimuli, n_subjects, seed. ``table.attrs``
        records the rest: test, level, resample, n_resamples, joined_by.

    Raises
    ------
    InvalidArgument
        If there are fewer than four stimuli, fewer than two subjects where they are
        resampled, or another argument is out of its range.
    MismatchError
        If stimuli do not match.
    UnknownName
        If there is no such comparison, factor or test.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> subjects = rng.random(45) + rng.random((5, 45))
    >>> models = {"good": subjects.mean(axis=0), "poor": rng.random(45)}
    >>> table = compare_models(models, {"human": subjects}, comparison="spearman")
    >>> table[["model", "reference", "n_stimuli", "n_subjects"]]
      model reference  n_stimuli  n_subjects
    0  good     human         10           5
    1  poor     human         10           5
    >>> bool(table.p[0] < 0.001 < table.p[1])
    True
    """
    import pandas as pd

    if test not in TESTS:
        raise unknown("test", test, TESTS)
    models, labels = _models(model_rdms)
    tables = []
    for name, subjects in _references(subject_rdms).items():
        found = _bootstrapped(
            models, subjects, comparison, resample, n_resamples, seed, by_position, dtype
        )
        low, high = found.interval(level).T
        if test == "permutation":
            tested = permutation_test(
                models, subjects, comparison, n_permutations, seed, by_position
            )
            p = tested["p"].to_numpy()
        else:
            p = _p(found.estimates, found.variance(), found.dof)
        ceiling = NoiseCeiling(np.nan, np.nan)
        if found.n_subjects > 1:
            ceiling = noise_ceiling(subjects, comparison, by_position)
        rows = pd.DataFrame(labels, columns=["model", "module"])
        tables.append(
            rows.assign(
                reference=name,
                comparison=comparison,
                estimate=found.estimates,
                ci_low=low,
                ci_high=high,
                p=p,
                ceiling_low=ceiling.lower,
                ceiling_high=ceiling.upper,
                n_stimuli=found.n_stimuli,
                n_subjects=found.n_subjects,
                seed=seed,
            )
        )
    return _table(tables, found, level, n_resamples, test=test)


def compare_models_pairwise(
    model_rdms: RDMs | Mapping[str, Mapping[str, RDM]],
    subject_rdms: RDMs | Mapping[str, Any],
    comparison: str = "pearson",
    resample: str | None = None,
    n_resamples: int = 1000,
    level: float = 0.95,
    seed: int = 0,
    by_position: bool = False,
    dtype: str = "float64",
) -> pd.DataFrame:
    """Test which of several models is more like the subjects, pair by pair.

    Both models of a pair are compared with the same samples of stimuli and subjects, so what
    varies for both alike cancels. Two-sided t tests with the variance of the differences.

    Parameters
    ----------
    model_rdms, subject_rdms, comparison, resample, n_resamples, level, seed, by_position, dtype
        As in `compare_models`; two models or more.

    Returns
    -------
    pandas.DataFrame
        A row for each pair and reference: model_a, module_a, model_b, module_b, reference,
        comparison, difference (a less b), ci_low, ci_high, p, p_fdr (Benjamini and Hochberg:
        false discovery rate), p_fwe (Holm: family-wise error), n_stimuli, n_subjects, seed.
        The corrections are over the pairs of one reference; the intervals are not corrected.

    Raises
    ------
    InvalidArgument
        If there are fewer than two models; else as `compare_models`.
    MismatchError
        If stimuli do not match.
    UnknownName
        If there is no such comparison or factor.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> subjects = rng.random(45) + rng.random((5, 45))
    >>> models = {"good": subjects.mean(axis=0), "poor": rng.random(45)}
    >>> table = compare_models_pairwise(models, subjects)
    >>> table[["model_a", "model_b", "reference"]].values.tolist()
    [['good', 'poor', 'reference']]
    """
    import pandas as pd

    models, labels = _models(model_rdms)
    if len(labels) < 2:
        raise InvalidArgument("One model has nothing to be compared with; give two or more.")
    pairs = np.array(list(combinations(range(len(labels)), 2)))
    contrasts = np.zeros((len(pairs), len(labels)))
    contrasts[np.arange(len(pairs)), pairs[:, 0]] = 1
    contrasts[np.arange(len(pairs)), pairs[:, 1]] = -1
    tables = []
    for name, subjects in _references(subject_rdms).items():
        found = _bootstrapped(
            models, subjects, comparison, resample, n_resamples, seed, by_position, dtype
        )
        difference, variance = contrasts @ found.estimates, found.variance(contrasts)
        half = half_width(variance, found.dof, level)
        p = np.minimum(2 * _p(np.abs(difference), variance, found.dof), 1)
        names = [(*labels[a], *labels[b]) for a, b in pairs]
        rows = pd.DataFrame(names, columns=["model_a", "module_a", "model_b", "module_b"])
        tables.append(
            rows.assign(
                reference=name,
                comparison=comparison,
                difference=difference,
                ci_low=difference - half,
                ci_high=difference + half,
                p=p,
                p_fdr=benjamini_hochberg(p),
                p_fwe=holm(p),
                n_stimuli=found.n_stimuli,
                n_subjects=found.n_subjects,
                seed=seed,
            )
        )
    return _table(tables, found, level, n_resamples)


def _bootstrapped(
    models: RDMs,
    subjects: RDMs,
    comparison: str,
    resample: str | None,
    n_resamples: int,
    seed: int,
    by_position: bool,
    dtype: str,
) -> Bootstrap:
    COMPARISONS[comparison]
    if resample is None:
        resample = "both" if len(side(subjects, "subject_rdms").pairs) > 1 else "stimuli"
    return bootstrap(
        models, subjects, comparison, resample, n_resamples, seed, by_position, dtype=dtype
    )


def _table(
    tables: list[pd.DataFrame], found: Bootstrap, level: float, n_resamples: int, **more: str
) -> pd.DataFrame:
    import pandas as pd

    table = pd.concat(tables, ignore_index=True)
    table.attrs |= {
        **more,
        "level": level,
        "resample": found.resample,
        "n_resamples": n_resamples,
        "joined_by": found.joined_by,
    }
    return table


def _p(estimates: NDArray[Any], variance: NDArray[Any], dof: int) -> NDArray[np.float64]:
    """Test estimates one-sided against 0 by Student's t; without any variance p is 0 or 1."""
    from scipy.special import stdtr

    with np.errstate(divide="ignore", invalid="ignore"):
        t = np.where(estimates == 0, 0, estimates / np.sqrt(variance))
    return np.asarray(stdtr(dof, -t))


def _references(data: Any) -> dict[str, Any]:
    """Name the references."""
    if isinstance(data, Mapping):
        if not data:
            raise InvalidArgument("subject_rdms holds no reference; give at least one.")
        return {str(name): subjects for name, subjects in data.items()}
    return {(data.name if isinstance(data, RDM) else "") or "reference": data}


def _models(data: Any) -> tuple[Any, list[tuple[str, str]]]:
    """List the RDMs of models, and model and module of each."""
    if isinstance(data, Mapping) and any(isinstance(item, Mapping) for item in data.values()):
        flat = {
            (str(model), str(module)): rdm
            for model, modules in data.items()
            for module, rdm in (
                modules.items() if isinstance(modules, Mapping) else [("", modules)]
            )
        }
        return flat, list(flat)
    found = side(data, "model_rdms")
    labels = []
    for name, rdm in zip(found.names, found.rdms, strict=True):
        made_by = rdm.provenance if rdm is not None else {}
        model, module = made_by.get("model", ""), str(made_by.get("module", ""))
        model = str(model.get("name", "") if isinstance(model, Mapping) else model)
        if isinstance(data, Mapping) and str(name) != module:
            model = str(name)
        labels.append((model or str(name), module))
    return data, labels
