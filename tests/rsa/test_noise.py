"""Mahalanobis distances and noise covariances against rsatoolbox, SciPy and scikit-learn."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.spatial.distance import pdist, squareform
from sklearn.covariance import ledoit_wolf

from thingsvision.errors import InvalidArgument, UnknownName
from thingsvision.rsa.noise import COVARIANCES, mahalanobis, whitening

ESTIMATED = ["shrinkage_eye", "shrinkage_diag", "diag", "full"]


def shapes(rng: np.random.Generator, n_features: int, count: int) -> np.ndarray:
    """Rows whose features are correlated and of different scales."""
    mix = rng.normal(size=(n_features, n_features)) / np.sqrt(n_features)
    return rng.normal(size=(count, n_features)) @ (mix + np.diag(rng.uniform(1, 3, n_features)))


@pytest.mark.parametrize("covariance", ESTIMATED)
@pytest.mark.parametrize(("n_features", "count"), [(7, 60), (30, 31), (40, 25), (25, 25)])
def test_residuals_as_in_rsatoolbox(rng, covariance, n_features, count):
    data = pytest.importorskip("rsatoolbox.data")
    rdm = pytest.importorskip("rsatoolbox.rdm")
    residuals = shapes(rng, n_features, count)
    patterns = rng.normal(size=(9, n_features))
    if covariance == "full" and count <= n_features:
        with pytest.raises(InvalidArgument, match=f"features from {count - 1} degrees"):
            mahalanobis(patterns, residuals=residuals, covariance=covariance)
        return
    noise = data.noise.prec_from_residuals(residuals, method=covariance)
    theirs = rdm.calc_rdm(data.Dataset(patterns), method="mahalanobis", noise=noise)
    ours = mahalanobis(patterns, residuals=residuals, covariance=covariance)
    tolerance = 1e-10 if covariance != "full" or count > 2 * n_features else 1e-7
    np.testing.assert_allclose(ours, theirs.dissimilarities[0], rtol=tolerance)
    given = mahalanobis(patterns, precision=noise)
    np.testing.assert_allclose(given, theirs.dissimilarities[0], rtol=tolerance)


def test_repetitions_give_the_noise_as_in_rsatoolbox(rng):
    data = pytest.importorskip("rsatoolbox.data")
    rdm = pytest.importorskip("rsatoolbox.rdm")
    conditions = [*"abcde" * 4, "a", "b"]
    measurements = shapes(rng, 12, 22) + 2 * rng.normal(size=(5, 12))[[*range(5)] * 4 + [0, 1]]
    dataset = data.Dataset(measurements, obs_descriptors={"condition": conditions})
    for covariance in ESTIMATED:
        noise = data.noise.prec_from_unbalanced(dataset, "condition", method=covariance)
        theirs = rdm.calc_rdm(dataset, "mahalanobis", descriptor="condition", noise=noise)
        ours = mahalanobis(measurements, conditions=conditions, covariance=covariance)
        np.testing.assert_allclose(ours, theirs.dissimilarities[0], rtol=1e-10)


@pytest.mark.parametrize(("n_features", "count"), [(6, 40), (50, 20)])
def test_ledoit_wolf_is_that_of_scikit_learn(rng, n_features, count):
    rows = shapes(rng, n_features, count)
    estimate = ledoit_wolf(rows)[0] * count / (count - 1)
    difference = rows[:, None] - rows[None]
    true = np.einsum("ijk,kl,ijl->ij", difference, np.linalg.inv(estimate), difference)
    found = squareform(mahalanobis(rows)) * n_features
    np.testing.assert_allclose(found, true, rtol=1e-9, atol=1e-12)


def test_full_is_that_of_scipy(rng):
    rows = shapes(rng, 5, 40)
    found = np.sqrt(5 * mahalanobis(rows, covariance="full"))
    np.testing.assert_allclose(found, pdist(rows, "mahalanobis"), rtol=1e-10)


def test_identity_and_diag_have_closed_forms(rng):
    rows = shapes(rng, 6, 20)
    squared = pdist(rows, "sqeuclidean") / 6
    np.testing.assert_allclose(mahalanobis(rows, covariance="identity"), squared, rtol=1e-12)
    true = pdist(rows / rows.std(axis=0, ddof=1), "sqeuclidean") / 6
    np.testing.assert_allclose(mahalanobis(rows, covariance="diag"), true, rtol=1e-12)


@pytest.mark.parametrize("covariance", COVARIANCES)
def test_white_noise_stays_nearly_what_it_is(rng, covariance):
    noise = rng.normal(size=(4000, 5))
    white = whitening(noise[:3], residuals=noise, covariance=covariance)(noise)
    np.testing.assert_allclose(np.cov(white.T), np.eye(5), atol=0.1)


def test_an_invertible_mixture_of_features_changes_nothing(rng):
    rows, mix = shapes(rng, 5, 30), rng.normal(size=(5, 5))
    np.testing.assert_allclose(
        mahalanobis(rows @ mix, covariance="full"), mahalanobis(rows, covariance="full"), rtol=1e-8
    )


def test_float32(rng):
    rows = shapes(rng, 12, 30).astype(np.float32)
    found = mahalanobis(rows)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, mahalanobis(rows.astype(np.float64)), rtol=1e-6)


def test_what_cannot_be_is_refused(rng):
    rows = rng.normal(size=(8, 4))
    with pytest.raises(UnknownName, match=r"no estimate of the covariance 'ledoit'. Nearest"):
        mahalanobis(rows, covariance="ledoit")
    constant = np.column_stack([rows, np.ones(8)])
    for covariance in ("shrinkage_diag", "diag"):
        with pytest.raises(InvalidArgument, match=r"1 feature .* do not vary.*: 4\."):
            mahalanobis(constant, covariance=covariance)
    assert np.isfinite(mahalanobis(constant, covariance="shrinkage_eye")).all()
    with pytest.raises(InvalidArgument, match="some features follow from others"):
        mahalanobis(np.column_stack([rows, 2 * rows[:, 0]]), covariance="full")
    with pytest.raises(InvalidArgument, match="residuals have 3 features, the measurements 4"):
        mahalanobis(rows, residuals=rows[:, :3])
    with pytest.raises(InvalidArgument, match="residuals or a precision, not both"):
        mahalanobis(rows, residuals=rows, precision=np.eye(4))
    with pytest.raises(InvalidArgument, match=r"shape \(3, 3\) does not fit 4 features"):
        mahalanobis(rows, precision=np.eye(3))
    with pytest.raises(InvalidArgument, match="positive definite"):
        mahalanobis(rows, precision=np.diag([1.0, 1.0, 1.0, -1.0]))
    with pytest.raises(InvalidArgument, match="finite and symmetric"):
        mahalanobis(rows, precision=np.triu(np.ones((4, 4))))
    with pytest.raises(InvalidArgument, match="The noise is zero throughout"):
        mahalanobis(np.ones((3, 4)))
    with pytest.raises(InvalidArgument, match="1 row of noise leave no degree of freedom"):
        whitening(rows[:1])
