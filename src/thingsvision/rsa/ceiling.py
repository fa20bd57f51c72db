"""Noise ceiling: how well the best possible model could do, given how subjects differ."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ..errors import InvalidArgument, counted
from .comparison import COMPARISONS, OF_CONSTANTS
from .correlations import standardised, unit
from .joining import RDMs, joined, laid_out, side
from .ranks import ranked

Scaling = Callable[[NDArray[np.float64]], NDArray[np.float64]]


def mean_scaled(rows: NDArray[np.float64]) -> NDArray[np.float64]:
    """Bring rows to mean one, so that all kernels have the same trace."""
    scaled: NDArray[np.float64] = rows / rows.mean(axis=1, keepdims=True)
    return scaled


SCALINGS: dict[str, Scaling] = {  # what is done to the RDM of each subject before the mean
    "pearson": standardised,
    "whitened_correlation": standardised,
    "spearman": ranked,
    "kendall_tau_a": ranked,
    "kendall_tau_b": ranked,
    "rho_a": ranked,
    "bures": mean_scaled,
}


class NoiseCeiling(NamedTuple):
    """Bounds of what a perfect model could reach."""

    lower: float
    upper: float


def noise_ceiling(
    subject_rdms: RDMs, comparison: str = "pearson", by_position: bool = False
) -> NoiseCeiling:
    """Compute the noise ceiling of the RDMs of several subjects.

    The upper bound compares each subject with the mean over all subjects, the lower bound
    with the mean over the others; both are averaged over subjects (Nili et al., 2014,
    doi:10.1371/journal.pcbi.1003553). Before the mean, each RDM is standardised for the
    correlations, brought to unit length for the cosines, ranked for the rank correlations,
    and brought to mean one for Bures. The mean is the best model there can be for pearson,
    spearman, rho-a and cosine; for Kendall's tau, for the whitened measures and for Bures it
    is close to it, so the upper bound is approximate.

    Parameters
    ----------
    subject_rdms : list or mapping of RDM, or array
        One RDM a subject: rows (n_subjects, n_pairs), a stack (n_subjects, n_stimuli,
        n_stimuli), or a list of RDMs or square matrices. RDMs with ids are joined by them.
    comparison : str
        A name in `thingsvision.rsa.COMPARISONS`.
    by_position : bool
        As in `compare_rdms`: take arrays to be in the order of the RDMs with ids.

    Returns
    -------
    NoiseCeiling
        ``(lower, upper)``, in the units of the comparison.

    Raises
    ------
    InvalidArgument
        If there are fewer than two subjects or fewer than four stimuli, or an RDM is
        constant.
    MismatchError
        If the subjects have different stimuli.
    UnknownName
        If there is no such comparison.

    Examples
    --------
    >>> import numpy as np
    >>> subjects = np.array([[1.0, 2, 3, 4, 5, 6], [1, 2, 3, 4, 6, 5], [2, 1, 3, 4, 5, 6]])
    >>> lower, upper = noise_ceiling(subjects, comparison="spearman")
    >>> round(lower, 3), round(upper, 3)
    (0.942, 0.962)
    """
    COMPARISONS[comparison]  # refuses an unknown name before anything is computed
    subjects = side(subject_rdms, "subject_rdms")
    ids = joined([subjects], by_position)
    check_subjects(len(subjects.pairs))
    return ceiling_of(laid_out(subjects, ids, comparison in OF_CONSTANTS), comparison)


def ceiling_of(
    rows: NDArray[np.float64], comparison: str, counts: NDArray[Any] | None = None
) -> NoiseCeiling:
    """Compute the noise ceiling of rows, shape (n_subjects, n_pairs), each counted so often.

    Subjects drawn several times are left out, and averaged over, as one.
    """
    compare = COMPARISONS[comparison]
    weights = np.ones(len(rows)) if counts is None else counts.astype(np.float64)
    scaled = SCALINGS.get(comparison, unit)(rows)
    total = weights @ scaled
    present = np.flatnonzero(weights)
    upper = compare(total[None], rows[present]).mean()
    if len(present) < 2:
        return NoiseCeiling(np.nan, float(upper))
    lower = [
        compare((total - weights[one] * scaled[one])[None], rows[[one]])[0, 0] for one in present
    ]
    return NoiseCeiling(float(np.mean(lower)), float(upper))


def check_subjects(n_subjects: int, at_least: int = 2) -> None:
    """Refuse too few subjects for what is to be inferred."""
    if n_subjects < at_least:
        raise InvalidArgument(
            f"There is {counted(n_subjects, 'subject')}, and {at_least} are needed to tell how "
            "subjects differ. Give the RDM of each subject, not their mean, as a list or as rows "
            "(n_subjects, n_pairs)."
        )
