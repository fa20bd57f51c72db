from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.linalg import eigh, subspace_angles
from scipy.stats import pearsonr

import thingsvision as tv
from thingsvision.errors import InvalidArgument, MismatchError, ThingsvisionWarning
from thingsvision.rsa import cca


def pair(seed: int, n: int = 60, p: int = 4, q: int = 3) -> tuple[np.ndarray, np.ndarray]:
    """Draw activations that share two directions."""
    rng = np.random.default_rng(seed)
    shared = rng.normal(size=(n, 2))
    x = shared @ rng.normal(size=(2, p)) + rng.normal(size=(n, p))
    return x, shared @ rng.normal(size=(2, q)) + rng.normal(size=(n, q)) + 5


def correlations(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Solve the eigenproblem of the covariances, as Hotelling wrote it."""
    p = x.shape[1]
    joint = np.cov(np.hstack([x, y]).T)
    within = joint.copy()
    within[:p, p:] = within[p:, :p] = 0
    values = eigh(joint - within, within, eigvals_only=True)
    return np.sort(values)[::-1][: min(p, y.shape[1])]


def test_it_is_that_of_the_covariances_and_of_the_angles() -> None:
    x, y = pair(0)
    assert cca(x, y) == pytest.approx(correlations(x, y).mean(), abs=1e-10)
    angles = subspace_angles(x - x.mean(axis=0), y - y.mean(axis=0))
    assert cca(x, y) == pytest.approx(np.cos(angles).mean(), abs=1e-10)


def test_of_one_feature_each_it_is_pearsons() -> None:
    x, y = pair(1, p=1, q=1)
    assert cca(x, y) == pytest.approx(abs(pearsonr(x[:, 0], y[:, 0])[0]), abs=1e-12)


@given(st.integers(0, 50))
def test_invertible_maps_and_shifts_change_nothing(seed: int) -> None:
    x, y = pair(seed)
    rng = np.random.default_rng(seed + 1)
    turned = x @ (rng.normal(size=(4, 4)) + 3 * np.eye(4)) - 7
    assert cca(turned, y) == pytest.approx(cca(x, y), abs=1e-8)
    assert cca(y, x) == pytest.approx(cca(x, y), abs=1e-10)
    assert cca(x, turned) == pytest.approx(1, abs=1e-8)
    doubled = np.hstack([x, x[:, :1] + x[:, 1:2]])  # a dimension that is none
    assert cca(doubled, y) == pytest.approx(cca(x, y), abs=1e-8)


def test_svcca_keeps_the_components_that_hold_the_variance() -> None:
    x, y = pair(2)
    x = x * np.array([100, 50, 0.01, 0.001])
    centred = x - x.mean(axis=0)
    vectors = np.linalg.svd(centred, full_matrices=False)[0]
    assert cca(x, y[:, :2], variance=0.99) == pytest.approx(
        correlations(vectors[:, :2], y[:, :2]).mean(), abs=1e-8
    )
    assert cca(x, y, variance=1) == pytest.approx(cca(x, y), abs=1e-10)


def test_pwcca_weights_variates_by_what_they_account_for() -> None:
    rng = np.random.default_rng(3)
    n = 4000
    shared = rng.normal(size=(n, 1))
    # Nearly all of x is what y has too: the other, unrelated direction hardly counts.
    x = np.hstack([50 * shared, 50 * shared + 0.1 * rng.normal(size=(n, 1))])
    y = np.hstack([shared, rng.normal(size=(n, 1))])
    assert cca(x, y) < 0.55
    assert cca(x, y, weighted=True) > 0.99
    assert cca(x, x, weighted=True) == pytest.approx(1, abs=1e-10)


def test_pwcca_is_its_definition() -> None:
    x, y = (one - one.mean(axis=0) for one in pair(7, n=200, p=6, q=4))
    # Directions from the generalised eigenproblem, instead of bases and their singular values.
    squared, directions = eigh(x.T @ y @ np.linalg.solve(y.T @ y, y.T @ x), x.T @ x)
    variates = x @ directions[:, -4:]
    variates /= np.linalg.norm(variates, axis=0)
    weights = np.abs(variates.T @ x).sum(axis=1)
    expected = weights @ np.sqrt(squared[-4:]) / weights.sum()
    assert cca(x, y, weighted=True) == pytest.approx(expected, rel=1e-10)
    assert cca(y, x, weighted=True) != pytest.approx(expected, abs=1e-4)


def test_the_bias_of_unrelated_activations_is_as_stated() -> None:
    rng = np.random.default_rng(4)
    n, p, q = 30, 5, 3
    sums = [
        np.square(correlations(rng.normal(size=(n, p)), rng.normal(size=(n, q)))).sum()
        for _ in range(300)
    ]
    assert np.mean(sums) == pytest.approx(p * q / (n - 1), rel=0.05)
    means = [cca(rng.normal(size=(n, p)), rng.normal(size=(n, q))) for _ in range(100)]
    assert np.mean(means) > 0.3  # which is why the docstring warns


def test_too_few_stimuli_are_refused_or_warned_of() -> None:
    rng = np.random.default_rng(5)
    with pytest.raises(InvalidArgument, match="all canonical correlations are 1"):
        cca(rng.normal(size=(8, 20)), rng.normal(size=(8, 2)))
    with pytest.warns(ThingsvisionWarning, match="3 canonical correlations are 1"):
        assert cca(rng.normal(size=(8, 5)), rng.normal(size=(8, 5))) > 0.6
    for variance in (2, 0, True, "0.99"):
        with pytest.raises(InvalidArgument, match=rf"variance is {variance!r}; it is above 0"):
            cca(rng.normal(size=(30, 5)), rng.normal(size=(30, 5)), variance=variance)


def test_features_are_joined_by_id() -> None:
    x, y = pair(6)
    ids = tuple(map(str, range(60)))
    order = np.random.default_rng(0).permutation(60)
    shuffled = tv.Features(y[order], tuple(ids[k] for k in order))
    assert cca(tv.Features(x, ids), shuffled) == pytest.approx(cca(x, y), abs=1e-12)
    with pytest.raises(MismatchError, match="different stimuli"):
        cca(tv.Features(x, ids), tv.Features(y, (*ids[:-1], "other")))
