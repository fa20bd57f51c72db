"""CKA, RV and Procrustes: closed forms, invariances, bias, and what they refuse."""

from __future__ import annotations

import warnings
from itertools import permutations

import numpy as np
import pytest
from scipy.spatial import procrustes as scipy_procrustes
from scipy.spatial.distance import pdist, squareform
from scipy.special import gamma
from scipy.stats import ortho_group

from thingsvision.errors import InvalidArgument, MismatchError, ThingsvisionWarning, UnknownName
from thingsvision.features import Features
from thingsvision.rsa import compare_rdms
from thingsvision.rsa.cka import cka, procrustes, rv

WAYS = [
    {"kernel": kernel, "debiased": debiased}
    for kernel in ("linear", "rbf")
    for debiased in (True, False)
]


@pytest.fixture
def pair(rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    shared = rng.normal(size=(40, 6))
    return shared + rng.normal(size=shared.shape), shared @ rng.normal(size=(6, 9)) + 3


def kernels(rows: np.ndarray, kernel: str) -> np.ndarray:
    if kernel == "linear":
        return rows @ rows.T
    distances = squareform(pdist(rows))
    return np.exp(-(distances**2) / (2 * np.median(pdist(rows)) ** 2))


def biased(k: np.ndarray, m: np.ndarray) -> float:
    centring = np.eye(len(k)) - 1 / len(k)
    return np.trace(k @ centring @ m @ centring) / (len(k) - 1) ** 2


def mean_over_quadruples(k: np.ndarray, m: np.ndarray) -> float:
    """Average what HSIC is the expectation of over all four different stimuli."""
    terms = [
        k[i, j] * m[i, j] + k[i, j] * m[q, r] - 2 * k[i, j] * m[i, q]
        for i, j, q, r in permutations(range(len(k)), 4)
    ]
    return float(np.mean(terms))


@pytest.mark.parametrize("kernel", ["linear", "rbf"])
def test_biased_is_the_trace(pair, kernel):
    k, m = (kernels(rows, kernel) for rows in pair)
    true = biased(k, m) / np.sqrt(biased(k, k) * biased(m, m))
    assert cka(*pair, kernel=kernel, debiased=False) == pytest.approx(true, rel=1e-10)


@pytest.mark.parametrize("n_features", [3, 30])
@pytest.mark.parametrize("kernel", ["linear", "rbf"])
def test_debiased_is_the_mean_over_quadruples(rng, kernel, n_features):
    x = rng.normal(size=(9, n_features)) + 2
    y = x[:, :3] + 0.3 * rng.normal(size=(9, 3))
    k, m = (kernels(rows, kernel) for rows in (x, y))
    h = mean_over_quadruples
    true = h(k, m) / np.sqrt(h(k, k) * h(m, m))
    assert cka(x, y, kernel=kernel) == pytest.approx(true, rel=1e-9)


def test_bandwidth_of_rbf(pair):
    near, wide = cka(*pair, "rbf", bandwidth=1), cka(*pair, "rbf", bandwidth=1000)
    assert abs(near - wide) > 0.01
    assert wide == pytest.approx(cka(*pair), abs=1e-4)  # a wide kernel is a linear one


@pytest.mark.parametrize("way", WAYS, ids=str)
def test_invariances(pair, way, rng):
    x, y = pair
    found = cka(x, y, **way)
    assert 0.1 < found < 0.95
    assert cka(y, x, **way) == pytest.approx(found, rel=1e-9)
    assert cka(x, x, **way) == pytest.approx(1, rel=1e-12)
    turned = -3 * x @ ortho_group.rvs(6, random_state=rng) + 100
    assert cka(turned, y, **way) == pytest.approx(found, rel=1e-7)
    order = rng.permutation(len(x))
    assert cka(x[order], y[order], **way) == pytest.approx(found, rel=1e-9)
    assert cka(x[order], y, **way) < found
    stretched = x * np.array([10, 1, 1, 1, 1, 1.0])
    assert abs(cka(stretched, y, **way) - found) > 1e-3


@pytest.mark.parametrize("kernel", ["linear", "rbf"])
@pytest.mark.parametrize("n_stimuli", [8, 20])
def test_debiased_is_unbiased_for_unrelated_activations(rng, kernel, n_stimuli):
    found = [cka(*rng.normal(size=(2, n_stimuli, 60)), kernel=kernel) for _ in range(400)]
    error = np.std(found) / np.sqrt(len(found))
    assert abs(np.mean(found)) < 4 * error
    with pytest.warns(ThingsvisionWarning, match=r"more features \(60\) than stimuli"):
        high = cka(*rng.normal(size=(2, n_stimuli, 60)), kernel=kernel, debiased=False)
    assert high > 0.5  # noise


@pytest.mark.parametrize("kernel", ["linear", "rbf"])
def test_mini_batches_agree_with_all_at_once(rng, kernel):
    x = rng.normal(size=(600, 10))
    y = x + rng.normal(size=(600, 10))
    whole = cka(x, y, kernel)
    batches = cka(x, y, kernel, batch_size=50, n_passes=5)
    assert batches == pytest.approx(whole, abs=0.005)
    assert batches != whole
    assert cka(x, y, kernel, batch_size=600) == pytest.approx(whole, rel=1e-9)
    noise = cka(x, rng.normal(size=(600, 900)), kernel, batch_size=20)
    assert abs(noise) < 0.05  # where the biased estimate of 20 stimuli would be high
    one, again = (cka(x, y, kernel, batch_size=50, seed=3) for _ in range(2))
    assert one == again != cka(x, y, kernel, batch_size=50, seed=4)


def test_rv_is_biased_linear_cka_and_whitened_cosine(pair):
    x, y = pair
    found = rv(x, y)
    assert found == pytest.approx(cka(x, y, debiased=False), rel=1e-12)
    rows = pdist(x, "sqeuclidean"), pdist(y, "sqeuclidean")
    assert found == pytest.approx(compare_rdms(*rows, "whitened_cosine"), rel=1e-10)
    one, other = x[:, :1], y[:, :1]
    assert rv(one, other) == pytest.approx(np.corrcoef(one.T, other.T)[0, 1] ** 2, rel=1e-10)


def test_procrustes_is_that_of_scipy_and_bures(pair, rng):
    x, y = pair
    found = procrustes(x, y[:, :6])
    assert 1 - found**2 == pytest.approx(scipy_procrustes(x, y[:, :6])[2], rel=1e-10)
    rows = pdist(x, "sqeuclidean"), pdist(y, "sqeuclidean")
    assert procrustes(x, y) == pytest.approx(compare_rdms(*rows, "bures"), abs=1e-7)
    turned = -3 * x @ ortho_group.rvs(6, random_state=rng) + 100
    assert procrustes(turned, y) == pytest.approx(procrustes(x, y), rel=1e-10)
    assert procrustes(x, turned) == pytest.approx(1, rel=1e-10)


def test_features_more_than_stimuli_give_the_same(rng):
    x, y = rng.normal(size=(2, 12, 200))
    x_few, y_few = (np.linalg.qr((one - one.mean(0)).T, mode="r").T for one in (x, y))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ThingsvisionWarning)
        for measure in (cka, rv, procrustes):
            assert measure(x, y) == pytest.approx(measure(x_few, y_few), rel=1e-9)


def test_who_warns_of_bias(rng):
    few, many = rng.normal(size=(20, 5)), rng.normal(size=(20, 30))
    for measure in (rv, procrustes):
        with pytest.warns(ThingsvisionWarning, match=r"more features \(30\) than stimuli \(20\)"):
            measure(few, many)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        rv(few, few), procrustes(few, few), cka(few, few, debiased=False), cka(few, many)


def test_the_bias_of_what_is_not_debiased(rng):
    """Unrelated features, one each, have a correlation r: RV is r², Procrustes similarity |r|."""
    n_stimuli = 6
    draws = rng.normal(size=(1500, 2, n_stimuli, 1))
    expected = {
        rv: 1 / (n_stimuli - 1),
        procrustes: gamma((n_stimuli - 1) / 2) / gamma(n_stimuli / 2) / np.sqrt(np.pi),
    }
    for measure, mean in expected.items():
        found = [measure(x, y) for x, y in draws]
        assert abs(np.mean(found) - mean) < 4 * np.std(found) / np.sqrt(len(found))
    # Of several, K and L are Wishart matrices with n - 1 dimensions.
    p, q, n = 12, 16, 18
    found = [cka(rng.normal(size=(n, p)), rng.normal(size=(n, q)), debiased=False)
             for _ in range(100)]  # fmt: skip
    assert np.mean(found) == pytest.approx(np.sqrt(p * q / (p + n) / (q + n)), rel=0.03)


def test_features_are_joined_by_id(pair, rng):
    x, y = pair
    ids = tuple(f"{number}.jpg" for number in range(40))
    order = rng.permutation(40)
    one = Features(x.reshape(40, 2, 3), ids, "conv")
    other = Features(y[order], tuple(ids[row] for row in order), "fc")
    assert cka(one, other) == pytest.approx(cka(x, y), rel=1e-12)
    assert cka(one, y, by_position=True) == pytest.approx(cka(x, y), rel=1e-12)
    with pytest.raises(MismatchError, match="y is an array without ids .*by_position=True"):
        cka(one, y)
    with pytest.raises(MismatchError, match=r"from y are missing 0.jpg; from x are missing z.jpg"):
        cka(one, Features(y, ("z.jpg", *ids[1:]), "fc"))


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"kernel": "rbff"}, UnknownName, "no kernel 'rbff'. Nearest: rbf, linear"),
        ({"bandwidth": 0}, InvalidArgument, "bandwidth=0 is not allowed"),
        ({"batch_size": 3}, InvalidArgument, "batch_size=3 is not allowed: a whole number from 4"),
        ({"batch_size": 41}, InvalidArgument, "batch_size=41 is more than the 40 stimuli"),
        ({"batch_size": 10, "debiased": False}, InvalidArgument, "biased CKA of mini-batches"),
        ({"batch_size": 10, "n_passes": 0}, InvalidArgument, "n_passes=0 is not allowed"),
        ({"seed": -1}, InvalidArgument, "seed=-1 is not allowed"),
        ({"y": np.ones((40, 2))}, InvalidArgument, "y is the same for all stimuli"),
        ({"y": np.ones((39, 2))}, MismatchError, r"x has shape \(40, 6\) and y \(39, 2\)"),
        ({"x": np.ones((3, 2)), "y": np.ones((3, 2))}, InvalidArgument, "x has 3 rows; 4 stimuli"),
        ({"y": np.full((40, 2), np.nan)}, InvalidArgument, r"y holds NaN or infinity in 40 rows"),
        ({"y": np.array(["a"] * 40)}, InvalidArgument, "Give real numbers"),
        ({"y": np.eye(40)[:, :1], "kernel": "rbf"}, InvalidArgument, "median distance .* is 0"),
    ],
)
def test_bad_input_is_refused(pair, arguments, error, message):
    with pytest.raises(error, match=message):
        cka(**{"x": pair[0], "y": pair[1], **arguments})
