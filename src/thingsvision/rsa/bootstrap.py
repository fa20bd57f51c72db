"""Bootstrap of comparisons over stimuli, over subjects, and over both."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from jaxtyping import Float
from numpy.typing import ArrayLike, NDArray

from ..errors import InvalidArgument, unknown
from .ceiling import ceiling_of, check_subjects
from .comparison import COMPARISONS, OF_CONSTANTS
from .draws import drawn
from .joining import RDMs, joined, laid_out, side
from .matrix import stimuli_of_pairs
from .resampling import resampled

RESAMPLE = ("both", "stimuli", "subjects")


@dataclass(frozen=True, eq=False, repr=False)
class Bootstrap:
    """What a bootstrap found: estimates and how they vary over samples.

    Parameters
    ----------
    models : tuple
        Names of the models.
    comparison : str
        How models and subjects were compared.
    resample : str
        ``"stimuli"``, ``"subjects"`` or ``"both"``.
    estimates : array, shape (n_models,)
        Mean over subjects, on the data as they are.
    samples : dict of str to array, shape (n_resamples, n_models)
        The same for each sample, by what was drawn anew. With ``"both"`` there are three, of
        the same draws. NaN where a sample has fewer than three different stimuli, or an RDM
        is constant over it.
    ceilings : dict of str to array, shape (n_resamples, 2)
        Lower and upper noise ceiling of the samples, where they were asked for.
    n_stimuli, n_subjects : int
        Numbers that were drawn from.
    seed : int or None
        Of the draws; None where they were given.
    joined_by : str
        ``"id"`` or ``"position"``.
    """

    models: tuple[Any, ...]
    comparison: str
    resample: str
    estimates: Float[np.ndarray, " n_models"]
    samples: Mapping[str, Float[np.ndarray, "n_resamples n_models"]]
    n_stimuli: int
    n_subjects: int
    seed: int | None = None
    joined_by: str = "id"
    ceilings: Mapping[str, Float[np.ndarray, "n_resamples 2"]] = field(default_factory=dict)

    @property
    def dof(self) -> int:
        """Degrees of freedom: what was drawn from, the fewer of the two, less one."""
        numbers = {"stimuli": self.n_stimuli, "subjects": self.n_subjects}
        return min(numbers.values() if self.resample == "both" else [numbers[self.resample]]) - 1

    def variance(
        self, contrasts: Float[np.ndarray, "n_contrasts n_models"] | None = None
    ) -> Float[np.ndarray, " n_contrasts"]:
        """Estimate the sampling variance of the estimates, or of contrasts of them.

        A bootstrap over one factor of size n underestimates by n / (n - 1), which is made
        good. Drawing stimuli and subjects at once counts their noise twice, so the variance
        over both is put together from the three bootstraps (Schütt et al., 2023,
        doi:10.7554/eLife.82566):
        ``R v_subjects + S v_stimuli - R S (v_both - v_subjects - v_stimuli)`` with
        ``R = n_subjects / (n_subjects - 1)`` and S likewise, and kept between the larger of
        the two single ones and v_both.

        Parameters
        ----------
        contrasts : array, shape (n_contrasts, n_models), optional
            Weights of the models, e.g. ``[[1, -1]]`` for a difference.

        Returns
        -------
        array, shape (n_contrasts,)
            Of each model without `contrasts`.

        Raises
        ------
        InvalidArgument
            If fewer than two samples are of use.
        """
        weights = np.eye(len(self.models)) if contrasts is None else np.asarray(contrasts)
        usable = np.logical_and.reduce(
            [np.isfinite(sample).all(axis=1) for sample in self.samples.values()]
        )
        if usable.sum() < 2:
            raise InvalidArgument(
                f"Of {len(usable)} samples {usable.sum()} are of use: the others have fewer than "
                "three different stimuli, or an RDM is constant over them. Take more stimuli, or "
                "more resamples."
            )
        found = {
            factor: np.var(sample[usable] @ weights.T, axis=0, ddof=1)
            for factor, sample in self.samples.items()
        }
        subjects = self.n_subjects / max(1, self.n_subjects - 1)
        stimuli = self.n_stimuli / (self.n_stimuli - 1)
        if self.resample != "both":
            scale = stimuli if self.resample == "stimuli" else subjects
            return np.asarray(found[self.resample] * scale)
        both, one, other = found["both"], found["subjects"], found["stimuli"]
        joint = subjects * one + stimuli * other - subjects * stimuli * (both - one - other)
        least = np.maximum(subjects * one, stimuli * other)
        return np.asarray(np.minimum(np.maximum(joint, least), both))

    def interval(self, level: float = 0.95) -> Float[np.ndarray, "n_models 2"]:
        """Give confidence intervals of the estimates, shape (n_models, 2).

        Estimate ± the quantile of Student's t with `dof` degrees of freedom times the square
        root of `variance`; it may reach beyond 1.

        Parameters
        ----------
        level : float
            Between 0 and 1.

        Raises
        ------
        InvalidArgument
            If the level is not between 0 and 1.
        """
        half = half_width(self.variance(), self.dof, level)
        return np.stack([self.estimates - half, self.estimates + half], axis=1)

    def __repr__(self) -> str:
        count = len(next(iter(self.samples.values())))
        over = "stimuli and subjects" if self.resample == "both" else self.resample
        return f"Bootstrap({len(self.models)} models, {self.comparison}, {count} samples of {over})"


def bootstrap(
    model_rdms: RDMs,
    subject_rdms: RDMs,
    comparison: str = "pearson",
    resample: str = "both",
    n_resamples: int = 1000,
    seed: int = 0,
    by_position: bool = False,
    ceilings: bool = False,
    dtype: str = "float64",
    draws: Mapping[str, ArrayLike] | None = None,
) -> Bootstrap:
    """Draw stimuli, subjects or both anew, and compare models with subjects in each sample.

    Pairs of two copies of one stimulus are left out. Correlations and cosines of a sample are
    weighted by how often its pairs occur, which takes one matrix product for all samples;
    rank correlations are ranked anew in each sample.

    Parameters
    ----------
    model_rdms : RDM, list or mapping of them, or array
        As in `compare_rdms`.
    subject_rdms : list or mapping of RDM, or array
        One RDM a subject, as in `noise_ceiling`.
    comparison : str
        A name in `thingsvision.rsa.COMPARISONS`.
    resample : str
        ``"stimuli"``, ``"subjects"`` or ``"both"``, to which the inference generalises.
    n_resamples : int
        Number of samples, 2 or more; 1,000 is usual.
    seed : int
        Of the draws, 0 or more.
    by_position : bool
        As in `compare_rdms`.
    ceilings : bool
        Compute the noise ceiling of each sample too, from two subjects on; slow for the rank
        correlations.
    dtype : str
        ``"float64"``, or ``"float32"`` for speed: results differ by less than 1e-5. Only the
        comparisons that are one matrix product heed it.
    draws : mapping, optional
        Draws of your own in the place of the seed's: ``"stimuli"``, row numbers from 0 of shape
        (n_resamples, n_stimuli), and ``"subjects"``, shape (n_resamples, n_subjects), as
        `resample` needs them.

    Returns
    -------
    Bootstrap
        Estimates, samples, and methods for their variance and intervals.

    Raises
    ------
    InvalidArgument
        If there are fewer than four stimuli, fewer than two subjects where they are drawn,
        or another argument is out of its range.
    MismatchError
        If stimuli do not match.
    UnknownName
        If there is no such comparison or factor.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> subjects = rng.random((5, 45))
    >>> found = bootstrap({"mean": subjects.mean(axis=0)}, subjects, n_resamples=200)
    >>> found
    Bootstrap(1 models, pearson, 200 samples of stimuli and subjects)
    >>> found.interval().shape
    (1, 2)
    """
    COMPARISONS[comparison]
    if resample not in RESAMPLE:
        raise unknown("factor to resample", resample, RESAMPLE)
    if dtype not in ("float64", "float32"):
        raise unknown("type of number to compute in", dtype, ("float64", "float32"))
    models, subjects = side(model_rdms, "model_rdms"), side(subject_rdms, "subject_rdms")
    ids = joined([models, subjects], by_position)
    n_subjects, n_stimuli = len(subjects.pairs), next(iter(subjects.sizes.values()))
    check_subjects(n_subjects, 1 if resample == "stimuli" and not ceilings else 2)
    constant_too = comparison in OF_CONSTANTS
    return of_rows(
        laid_out(models, ids, constant_too),
        laid_out(subjects, ids, constant_too),
        comparison,
        resample,
        drawn(draws, resample, n_stimuli, n_subjects, n_resamples, seed),
        ceilings=ceilings,
        dtype=dtype,
        models=tuple(models.names),
        seed=None if draws is not None else seed,
        joined_by="position" if ids is None else "id",
    )


def of_rows(
    models_rows: NDArray[np.float64],
    subjects_rows: NDArray[np.float64],
    comparison: str,
    resample: str,
    counts: Mapping[str, NDArray[Any]],
    ceilings: bool = False,
    dtype: str = "float64",
    **about: Any,
) -> Bootstrap:
    """Bootstrap rows of pairs by how often each stimulus and subject was drawn."""
    plain = COMPARISONS[comparison](models_rows, subjects_rows)
    n_subjects = len(subjects_rows)
    samples, found = {}, {}
    often = counts.get("subjects")
    if often is not None:
        samples["subjects"] = often @ plain.T / n_subjects
    if resample != "subjects":
        every = np.ones((len(counts["stimuli"]), n_subjects), int)
        pools = {"stimuli": every} if often is None else {"both": often, "stimuli": every}
        values, bounds = resampled(
            comparison,
            models_rows,
            subjects_rows,
            counts["stimuli"],
            list(pools.values()) if ceilings else (),
            dtype,
        )
        for factor, pool in pools.items():
            samples[factor] = np.einsum("bms,bs->bm", values, pool) / n_subjects
        found = dict(zip(pools, bounds, strict=False))
    if often is not None and ceilings:
        found["subjects"] = np.array([ceiling_of(subjects_rows, comparison, row) for row in often])
    return Bootstrap(
        comparison=comparison,
        resample=resample,
        estimates=plain.mean(axis=1),
        samples=samples,
        ceilings=found,
        n_stimuli=stimuli_of_pairs(models_rows.shape[1]) or 0,
        n_subjects=n_subjects,
        **about,
    )


def half_width(variance: NDArray[np.float64], dof: int, level: float) -> NDArray[np.float64]:
    """Give half the width of t intervals."""
    from scipy.special import stdtrit

    if not 0 < level < 1:
        raise InvalidArgument(f"level={level!r} is no level of confidence: between 0 and 1.")
    return np.asarray(stdtrit(dof, (1 + level) / 2) * np.sqrt(variance))
