"""Permutation of stimulus labels: how alike RDMs are whose stimuli have nothing in common."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from .ceiling import check_subjects
from .comparison import COMPARISONS, OF_CONSTANTS
from .correlations import standardised, unit
from .draws import check_count, generator
from .joining import RDMs, joined, laid_out, side
from .kernels import whitened
from .matrix import squared, stimuli_of_pairs
from .ranks import ranked

if TYPE_CHECKING:
    import pandas as pd

Array = NDArray[Any]
BLOCK = 64  # permutations at a time


def permutation_test(
    model_rdms: RDMs,
    subject_rdms: RDMs,
    comparison: str = "pearson",
    n_permutations: int = 10_000,
    seed: int = 0,
    by_position: bool = False,
) -> pd.DataFrame:
    """Test models against the hypothesis that their stimuli are exchangeable.

    The stimulus labels of the subjects are permuted, all subjects alike, and the mean over
    subjects is compared with what the true labels give. One-sided:
    ``p = (1 + number of permutations at least as good) / (1 + n_permutations)``.

    Parameters
    ----------
    model_rdms : RDM, list or mapping of them, or array
        As in `compare_rdms`.
    subject_rdms : RDM, list or mapping of them, or array
        One RDM a subject; a single one will do.
    comparison : str
        A name in `thingsvision.rsa.COMPARISONS`.
    n_permutations : int
        At least 1; p is no smaller than ``1 / (1 + n_permutations)``.
    seed : int
        Of the permutations, 0 or more.
    by_position : bool
        As in `compare_rdms`.

    Returns
    -------
    pandas.DataFrame
        A row a model: model, comparison, estimate, p, and p_fwe, which compares with the best
        of all models in each permutation and so controls the family-wise error over them;
        n_stimuli, n_subjects, seed.

    Raises
    ------
    InvalidArgument
        If there are fewer than four stimuli, or an argument is out of its range.
    MismatchError
        If stimuli do not match.
    UnknownName
        If there is no such comparison.

    Examples
    --------
    >>> subjects = np.random.default_rng(0).random((5, 45))
    >>> table = permutation_test({"mean": subjects.mean(axis=0)}, subjects, n_permutations=99)
    >>> float(table.p[0])
    0.01
    """
    import pandas as pd

    COMPARISONS[comparison]
    models, subjects = side(model_rdms, "model_rdms"), side(subject_rdms, "subject_rdms")
    ids = joined([models, subjects], by_position)
    n_stimuli = next(iter(subjects.sizes.values()))
    check_subjects(len(subjects.pairs), 1)
    constant_too = comparison in OF_CONSTANTS
    rows = laid_out(models, ids, constant_too)
    of_subjects = laid_out(subjects, ids, constant_too)
    estimates = COMPARISONS[comparison](rows, of_subjects).mean(axis=1)
    null = permuted(rows, of_subjects, comparison, n_permutations, seed)
    return pd.DataFrame(
        {
            "model": list(models.names),
            "comparison": comparison,
            "estimate": estimates,
            "p": p_of(estimates, null),
            "p_fwe": p_of(estimates, null.max(axis=1, keepdims=True)),
            "n_stimuli": n_stimuli,
            "n_subjects": len(of_subjects),
            "seed": seed,
        }
    )


def p_of(estimates: Array, null: Array) -> Array:
    """Count how often the null, shape (n_permutations, n_models), is at least as good."""
    rounding = 1e-10 * np.maximum(1, np.abs(estimates))  # a permutation may change nothing
    return np.asarray((1 + (null >= estimates - rounding).sum(axis=0)) / (1 + len(null)))


def permuted(
    models: Array, subjects: Array, comparison: str, n_permutations: int, seed: int
) -> Array:
    """Compare models with subjects under permuted labels, shape (n_permutations, n_models)."""
    check_count(n_permutations, "n_permutations", 1)
    rng = generator(seed)
    n_stimuli = stimuli_of_pairs(models.shape[1]) or 0
    orders = rng.permuted(np.tile(np.arange(n_stimuli), (n_permutations, 1)), axis=1)
    embed = _EMBEDDINGS.get(comparison)
    first, second = np.triu_indices(n_stimuli, 1)
    if embed is None:
        compare = COMPARISONS[comparison]
        squares = [squared(row) for row in subjects]
        null = np.empty((n_permutations, len(models)))
        for number, order in enumerate(orders):
            moved = np.stack([square[order[first], order[second]] for square in squares])
            null[number] = compare(models, moved).mean(axis=1)
        return null
    # The mean of inner products is the inner product with the mean, which is one row to permute.
    of_models, target = embed(models), embed(subjects).mean(axis=0)
    n_pairs = len(first)
    square, diagonal = squared(target[:n_pairs]), target[n_pairs:]
    blocks = []
    for start in range(0, n_permutations, BLOCK):
        part = orders[start : start + BLOCK]
        moved = square[part[:, first], part[:, second]]
        if len(diagonal):
            moved = np.concatenate([moved, diagonal[part]], axis=1)
        blocks.append(moved @ of_models.T)
    return np.concatenate(blocks)


def _rho_a(rows: Array) -> Array:
    n_pairs = rows.shape[1]
    ranks = ranked(rows) - (n_pairs + 1) / 2
    return np.asarray(ranks * np.sqrt(12 / (float(n_pairs) ** 3 - n_pairs)))


# Rows, or rows of pairs and diagonal, whose inner products are the comparison.
_EMBEDDINGS: dict[str, Callable[[Array], Array]] = {
    "pearson": standardised,
    "spearman": lambda rows: standardised(ranked(rows)),
    "rho_a": _rho_a,
    "cosine": unit,
    "whitened_cosine": lambda rows: unit(whitened(rows)),
    "whitened_correlation": lambda rows: unit(whitened(rows - rows.mean(axis=1, keepdims=True))),
}
