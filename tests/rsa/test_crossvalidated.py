"""Crossnobis against rsatoolbox, and what cross-validation has to do."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.spatial.distance import pdist

from thingsvision.errors import InvalidArgument
from thingsvision.features import Features
from thingsvision.rsa import RDM, compute_rdm, load_rdm
from thingsvision.rsa.crossvalidated import crossnobis


def experiment(rng: np.random.Generator, repeats: int = 1):
    """Six conditions in four runs, in a random order in each."""
    conditions, folds = np.array([*"abcdef"] * 4 * repeats), np.repeat(np.arange(4), 6 * repeats)
    patterns = rng.normal(size=(6, 15))
    measurements = patterns[np.arange(24 * repeats) % 6] + rng.normal(size=(24 * repeats, 15))
    order = rng.permutation(24 * repeats)
    return measurements[order], conditions[order], folds[order]


@pytest.mark.parametrize("repeats", [1, 2])
@pytest.mark.parametrize("noise", ["identity", "residuals", "repetitions"])
def test_crossnobis_as_in_rsatoolbox(rng, repeats, noise):
    data = pytest.importorskip("rsatoolbox.data")
    rdm = pytest.importorskip("rsatoolbox.rdm")
    measurements, conditions, folds = experiment(rng, repeats)
    described = {"condition": conditions.tolist(), "run": folds.tolist()}
    dataset = data.Dataset(measurements, obs_descriptors=described)
    precision, options = None, {"covariance": "identity"}
    if noise == "residuals":
        options = {"residuals": rng.normal(size=(50, 15)), "covariance": "shrinkage_diag"}
        precision = data.noise.prec_from_residuals(options["residuals"], method="shrinkage_diag")
    if noise == "repetitions":
        options = {"covariance": "shrinkage_eye"}
        precision = data.noise.prec_from_unbalanced(dataset, "condition", method="shrinkage_eye")
    theirs = rdm.calc_rdm(
        dataset, "crossnobis", descriptor="condition", cv_descriptor="run", noise=precision
    )
    ours = compute_rdm(measurements, "crossnobis", conditions=conditions, folds=folds, **options)
    order = theirs.pattern_descriptors["condition"]
    np.testing.assert_allclose(
        ours.select(list(order)).dissimilarities, theirs.dissimilarities[0], rtol=1e-10, atol=1e-13
    )


def test_unequal_repetitions_as_in_rsatoolbox(rng):
    data = pytest.importorskip("rsatoolbox.data")
    rdm = pytest.importorskip("rsatoolbox.rdm")
    measurements, conditions, folds = experiment(rng, 2)
    keep = np.ones(48, dtype=bool)
    keep[[0, 5, 9]] = False
    measurements, conditions, folds = measurements[keep], conditions[keep], folds[keep]
    described = {"condition": conditions.tolist(), "run": folds.tolist()}
    dataset = data.Dataset(measurements, obs_descriptors=described)
    theirs = rdm.calc_rdm(dataset, "crossnobis", descriptor="condition", cv_descriptor="run")
    ours = compute_rdm(
        measurements, "crossnobis", conditions=conditions, folds=folds, covariance="identity"
    ).select([*"abcdef"])
    np.testing.assert_allclose(
        ours.dissimilarities, theirs.dissimilarities[0], rtol=1e-10, atol=1e-13
    )


def test_without_noise_it_is_the_squared_distance_per_feature(rng):
    patterns = rng.normal(size=(5, 8))
    found = crossnobis(
        np.tile(patterns, (3, 1)), conditions=[*range(5)] * 3, folds=np.repeat([1, 2, 3], 5),
        covariance="identity",
    )  # fmt: skip
    np.testing.assert_allclose(found, pdist(patterns, "sqeuclidean") / 8, rtol=1e-12)


def test_the_mean_of_pure_noise_is_zero(rng):
    conditions, folds = [*range(8)] * 2, np.repeat([0, 1], 8)
    means = [
        crossnobis(rng.normal(size=(16, 6)), conditions=conditions, folds=folds,
                   covariance="identity").mean()
        for _ in range(1000)
    ]  # fmt: skip
    assert abs(np.mean(means)) < 5 * np.std(means) / np.sqrt(1000)  # naively it would be 2
    assert np.std(means) < 0.5


def test_estimates_may_be_negative_everywhere(rng, tmp_path):
    rdm = compute_rdm(
        rng.normal(size=(16, 6)), "crossnobis", conditions=[*"abcdefgh"] * 2,
        folds=np.repeat([0, 1], 8), covariance="identity",
    )  # fmt: skip
    assert rdm.dissimilarities.min() < 0
    again = RDM.from_matrix(rdm.square(), rdm.ids, "crossnobis")
    np.testing.assert_array_equal(again.dissimilarities, rdm.dissimilarities)
    with pytest.raises(InvalidArgument, match="negative values"):
        RDM.from_matrix(rdm.square(), rdm.ids, "euclidean")
    for name in ("estimates.npz", "estimates.csv"):
        loaded = load_rdm(rdm.save(tmp_path / name))
        np.testing.assert_array_equal(loaded.dissimilarities, rdm.dissimilarities)


def test_ids_are_the_conditions_if_no_others_are_given(rng):
    features = Features(rng.normal(size=(6, 4)), ("b", "a", "c") * 2, "V1")
    rdm = compute_rdm(features, "crossnobis", folds=[1, 1, 1, 2, 2, 2], covariance="identity")
    assert rdm.ids == ("b", "a", "c")
    assert rdm.provenance["rdm"] == {"folds": "array of shape (6,)", "covariance": "identity"}


def test_float32(rng):
    measurements, conditions, folds = experiment(rng)
    options = {"conditions": conditions, "folds": folds}
    found = crossnobis(measurements.astype(np.float32), **options)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, crossnobis(measurements, **options), rtol=1e-4, atol=1e-6)


def test_what_cannot_be_is_refused(rng):
    measurements = rng.normal(size=(6, 4))
    with pytest.raises(InvalidArgument, match=r"needs folds=…"):
        compute_rdm(measurements, "crossnobis", conditions=[*"abcabc"])
    with pytest.raises(InvalidArgument, match=r"needs conditions=…"):
        compute_rdm(measurements, "crossnobis", folds=[1, 1, 1, 2, 2, 2])
    with pytest.raises(InvalidArgument, match="only one fold, 1"):
        compute_rdm(measurements, "crossnobis", conditions=[*"abcabc"], folds=[1] * 6)
    with pytest.raises(InvalidArgument, match=r"lack in a fold: d in 2, c in 1\."):
        folds = [1, 1, 1, 2, 2, 2]
        compute_rdm(measurements, "crossnobis", conditions=[*"abdabc"], folds=folds)
    with pytest.raises(InvalidArgument, match=r"folds=.*\(5,\) does not fit 6 rows"):
        compute_rdm(measurements, "crossnobis", conditions=[*"abcabc"], folds=[1] * 5)
    measurements[4, 2] = np.nan
    ids = tuple(f"run{1 + row // 3}/{name}" for row, name in enumerate("abcabc"))
    with pytest.raises(InvalidArgument, match=r"NaN .* 1 stimuli: run2/b\."):
        compute_rdm(
            Features(measurements, ids), "crossnobis", conditions=[*"abcabc"],
            folds=[1, 1, 1, 2, 2, 2],
        )  # fmt: skip
