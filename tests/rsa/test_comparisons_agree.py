"""Every comparison against SciPy, rsatoolbox, and its definition written out."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest
from scipy.linalg import sqrtm
from scipy.spatial.distance import pdist, squareform
from scipy.stats import kendalltau

from thingsvision.errors import InvalidArgument, UnknownName
from thingsvision.rsa import COMPARISONS, RDM, compare_rdms

RSATOOLBOX = {
    "pearson": "corr",
    "spearman": "spearman",
    "kendall_tau_a": "tau-a",
    "kendall_tau_b": "tau-b",
    "rho_a": "rho-a",
    "cosine": "cosine",
    "whitened_correlation": "corr_cov",
    "whitened_cosine": "cosine_cov",
}
KINDS = ("squared", "tied", "negative")


def make(rng: np.random.Generator, kind: str, n_stimuli: int, count: int = 5) -> np.ndarray:
    """Make rows of squared distances; with many ties, or less so much that some are negative."""
    rows = np.stack([pdist(rng.normal(size=(n_stimuli, 4))) ** 2 for _ in range(count)])
    return {"squared": rows, "tied": np.round(rows / 2), "negative": rows - 2}[kind]


def estimates(rows: np.ndarray) -> list[RDM]:
    """Make records of them, which may be negative where they say that they are estimates."""
    return [RDM(row, dissimilarity="crossnobis") for row in rows]


@pytest.mark.parametrize("n_stimuli", [4, 15, 104])
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", RSATOOLBOX)
def test_it_agrees_with_rsatoolbox(rng, name, kind, n_stimuli):
    toolbox = pytest.importorskip("rsatoolbox")
    rows = make(rng, kind, n_stimuli)
    found = compare_rdms(estimates(rows[:2]), estimates(rows[2:]), name).to_numpy()
    records = toolbox.rdm.RDMs(rows[:2]), toolbox.rdm.RDMs(rows[2:])
    true = toolbox.rdm.compare(*records, method=RSATOOLBOX[name])
    np.testing.assert_allclose(found, true, rtol=0, atol=1e-10)


@pytest.mark.parametrize("n_stimuli", [4, 15, 104])
def test_bures_agrees_with_rsatoolbox(rng, n_stimuli):
    compare = pytest.importorskip("rsatoolbox.rdm.compare")
    rows = make(rng, "squared", n_stimuli, 4)
    found = compare_rdms(rows[:2], rows[2:], "bures").to_numpy()
    # Its public function takes roots of eigenvalues that are zero up to rounding.
    np.testing.assert_allclose(found, compare.compare(rows[:2], rows[2:], "bures"), atol=1e-6)
    kernels = [_kernel(row) for row in rows]
    true = [[compare._bures_similarity_second_way(a, b) for b in kernels[2:]] for a in kernels[:2]]
    np.testing.assert_allclose(found, true, rtol=0, atol=1e-10)


def test_bures_is_what_it_says(rng):
    one, other = (_kernel(row) for row in make(rng, "squared", 6, 2))
    one, other = one + np.eye(6), other + np.eye(6)  # of full rank, for the sake of sqrtm
    root = sqrtm(one)
    true = np.trace(sqrtm(root @ other @ root)) / np.sqrt(np.trace(one) * np.trace(other))
    from thingsvision.rsa.kernels import _roots

    (a, b), traces = _roots([one, other])
    found = np.linalg.svd(a.T @ b, compute_uv=False).sum() / np.sqrt(np.prod(traces))
    assert found == pytest.approx(true.real, rel=1e-12)


def test_bures_does_not_mind_which_is_first(rng):
    rows = make(rng, "negative", 12)  # kernels with negative eigenvalues
    table = compare_rdms(estimates(rows), estimates(rows), "bures").to_numpy()
    np.testing.assert_allclose(table, table.T, rtol=1e-10)
    np.testing.assert_allclose(table.diagonal(), 1, rtol=1e-10)
    assert table.max() <= 1 + 1e-10


def _kernel(row: np.ndarray) -> np.ndarray:
    square = squareform(row)
    centring = np.eye(len(square)) - 1 / len(square)
    return -centring @ square @ centring / 2


@pytest.mark.parametrize("kind", KINDS)
def test_tau_b_is_that_of_scipy_and_tau_a_counts(rng, kind):
    one, other = make(rng, kind, 7, 2)
    records = estimates([one, other])
    assert compare_rdms(*records, "kendall_tau_b") == pytest.approx(
        kendalltau(one, other).statistic, abs=1e-10
    )
    signs = [
        np.sign(one[i] - one[j]) * np.sign(other[i] - other[j])
        for i, j in combinations(range(len(one)), 2)
    ]
    assert compare_rdms(*records, "kendall_tau_a") == pytest.approx(np.mean(signs), abs=1e-12)


def test_rho_a_is_the_mean_over_ways_to_break_ties(rng):
    tied, other = np.array([1.0, 2, 2, 3, 3, 3]), rng.random(6)
    found = [compare_rdms(tied + 1e-6 * rng.random(6), other, "spearman") for _ in range(4000)]
    assert compare_rdms(tied, other, "rho_a") == pytest.approx(np.mean(found), abs=0.01)


@pytest.mark.parametrize("centred", [True, False])
def test_whitening_is_by_the_covariance_of_pairs(rng, centred):
    one, other = make(rng, "squared", 8, 2)
    first, second = np.triu_indices(8, 1)
    contrasts = np.zeros((len(first), 8))
    contrasts[np.arange(len(first)), first] = 1
    contrasts[np.arange(len(first)), second] = -1
    inverse = np.linalg.inv((contrasts @ contrasts.T) ** 2)
    name = "whitened_correlation" if centred else "whitened_cosine"
    found = compare_rdms(one, other, name)
    if centred:
        one, other = one - one.mean(), other - other.mean()
    lengths = (one @ inverse @ one) * (other @ inverse @ other)
    assert found == pytest.approx(one @ inverse @ other / np.sqrt(lengths), abs=1e-12)


@pytest.mark.parametrize("name", COMPARISONS)
def test_every_comparison_is_symmetric_and_best_with_itself(rng, name):
    rows = make(rng, "squared", 10)
    table = compare_rdms(rows, rows, name).to_numpy()
    np.testing.assert_allclose(table, table.T, atol=1e-10)
    np.testing.assert_allclose(table.diagonal(), 1, rtol=1e-10)
    assert (np.abs(table) <= 1 + 1e-10).all()
    assert (table[~np.eye(5, dtype=bool)] < 0.999).all()


@pytest.mark.parametrize("name", COMPARISONS)
def test_scale_does_not_matter_and_for_correlations_no_shift(rng, name):
    one, other = make(rng, "squared", 10, 2)
    found = compare_rdms(one, other, name)
    assert compare_rdms(one * 1e6, other, name) == pytest.approx(found, rel=1e-9)
    shifted = compare_rdms(one + 5, other, name)
    same = name not in ("cosine", "whitened_cosine", "bures")
    assert (shifted == pytest.approx(found, rel=1e-9)) is same


@pytest.mark.parametrize("name", ["cosine", "whitened_cosine", "bures"])
def test_cosines_take_constant_rdms_but_not_zero(rng, name):
    assert 0 < compare_rdms(np.ones(45), make(rng, "squared", 10, 1)[0], name) < 1
    with pytest.raises(InvalidArgument, match=r"all zero have no angle: b\['zero'\]"):
        compare_rdms(np.ones(45), {"one": np.ones(45), "zero": np.zeros(45)}, name)


def test_the_nearest_names_are_told(rng):
    with pytest.raises(UnknownName, match="kendall_tau_a, kendall_tau_b"):
        compare_rdms(*make(rng, "squared", 4, 2), "kendall")
