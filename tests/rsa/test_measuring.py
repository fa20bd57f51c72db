"""What compute_rdm does around a dissimilarity: features chosen, rows dropped, options checked."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.spatial.distance import pdist

from thingsvision.errors import InvalidArgument, ThingsvisionWarning
from thingsvision.features import Features
from thingsvision.rsa import DISSIMILARITIES, compute_rdm, load_rdm

IDS = ("a.jpg", "b.jpg", "c.jpg", "d.jpg", "e.jpg")


@pytest.fixture
def features(rng: np.random.Generator) -> np.ndarray:
    return rng.normal(size=(5, 2, 6))


@pytest.mark.parametrize("select", [[0, 3, 11, 7], np.arange(12) % 3 == 1, np.array([5, 6, 7])])
def test_selection_is_of_flattened_features(features, select):
    flat = features.reshape(5, -1)[:, select]
    found = compute_rdm(features, "euclidean", select=select)
    np.testing.assert_allclose(found.dissimilarities, pdist(flat), rtol=1e-12)


def test_weights_multiply_features(rng, features):
    weights, flat = rng.uniform(size=12), features.reshape(5, -1)
    weights[3] = 0
    for name, true in (
        ("squared_euclidean", pdist(flat, "sqeuclidean", w=weights**2)),
        ("correlation", pdist(flat * weights, "correlation")),
    ):
        found = compute_rdm(features, name, weights=weights)
        np.testing.assert_allclose(found.dissimilarities, true, rtol=1e-10)
    narrow = compute_rdm(features.astype(np.float32), weights=weights)
    assert narrow.dissimilarities.dtype == np.float32
    some = np.arange(12) % 2 == 0
    for given in (weights, weights[some]):
        found = compute_rdm(features, "euclidean", select=some, weights=given)
        np.testing.assert_allclose(found.dissimilarities, pdist((flat * weights)[:, some]))
    counts = (10 * flat).astype(int)
    found = compute_rdm(counts, "euclidean", weights=weights)
    np.testing.assert_allclose(found.dissimilarities, pdist(counts * weights))


@pytest.mark.parametrize(
    ("select", "message"),
    [
        ([0, 12, -1], r"features 12, -1, which there are not: the 12 features .* 0 to 11"),
        ([1, 4, 1], "several times for features 1"),
        ([], "leaves no feature"),
        (np.zeros(12, bool), "leaves no feature"),
        (np.ones(11, bool), "mask select=… is of 11 features, but there are 12"),
        ([0.5, 1.0], "selects no features"),
        ("conv", "selects no features"),
    ],
)
def test_selections_that_do_not_fit_are_refused(features, select, message):
    with pytest.raises(InvalidArgument, match=message):
        compute_rdm(features, select=select)


@pytest.mark.parametrize(
    ("weights", "message"),
    [
        (np.ones(11), "11 weights for 12 features"),
        ([1.0] * 11 + [-1.0], r"not negative.*features 11 "),
        ([np.nan] + [1.0] * 11, r"finite.*features 0 "),
        (np.zeros(12), "all are zero"),
        (np.ones((2, 6)), r"shape \(2, 6\)"),
        (["1"] * 12, "no row of numbers"),
    ],
)
def test_weights_that_do_not_fit_are_refused(features, weights, message):
    with pytest.raises(InvalidArgument, match=message):
        compute_rdm(features, weights=weights)


@pytest.mark.parametrize("name", ["correlation", "euclidean", "gaussian", "mahalanobis"])
def test_nan_is_refused_by_id_or_dropped_and_told(features, name):
    features[1, 0, 0], features[4, 1, 5] = np.nan, np.inf
    records = Features(features, IDS, "fc")
    with pytest.raises(InvalidArgument, match=r"NaN .* 2 stimuli: b.jpg, e.jpg\."):
        compute_rdm(records, name)
    with pytest.warns(ThingsvisionWarning, match=r"2 of 5 stimuli .* dropped: b.jpg, e.jpg\."):
        found = compute_rdm(records, name, nan="drop")
    assert found.ids == ("a.jpg", "c.jpg", "d.jpg")
    assert found.provenance["rdm"]["dropped"] == ["b.jpg", "e.jpg"]
    expected = compute_rdm(features[[0, 2, 3]], name)
    np.testing.assert_array_equal(found.dissimilarities, expected.dissimilarities)
    with pytest.warns(ThingsvisionWarning, match=r"2 of 5 rows \(from 0\) .*: 1, 4\."):
        assert compute_rdm(features, name, nan="drop").ids is None
    # A feature that is left out breaks nothing.
    assert compute_rdm(records, "euclidean", select=[1, 2, 3]).ids == IDS


def test_dropping_keeps_labels_with_their_rows(rng):
    features = rng.normal(size=(9, 4))
    conditions, folds = [*"abcabcabc"], [0, 0, 0, 1, 1, 1, 2, 2, 2]
    expected = compute_rdm(
        features[:-3], "crossnobis", conditions=conditions[:-3], folds=folds[:-3]
    )
    features[-3:] = np.nan
    with pytest.warns(ThingsvisionWarning, match="3 of 9 rows"):
        found = compute_rdm(features, "crossnobis", conditions=conditions, folds=folds, nan="drop")
    np.testing.assert_array_equal(found.dissimilarities, expected.dissimilarities)


def test_too_few_left_are_refused(features):
    features[1:] = np.nan
    with pytest.warns(ThingsvisionWarning), pytest.raises(InvalidArgument, match="at least two"):
        compute_rdm(features, nan="drop")
    with pytest.raises(InvalidArgument, match="nan='keep' is not allowed"):
        compute_rdm(features, nan="keep")


def test_repeated_measurements_are_averaged(rng):
    features, conditions = rng.normal(size=(7, 4)), [3, 1, 3, 2, 1, 3, 2]
    means = np.stack([features[np.array(conditions) == c].mean(axis=0) for c in (3, 1, 2)])
    found = compute_rdm(features, "euclidean", conditions=conditions)
    assert found.ids == ("3", "1", "2")
    np.testing.assert_allclose(found.dissimilarities, pdist(means), rtol=1e-12)
    with pytest.raises(InvalidArgument, match="does not fit 7 rows"):
        compute_rdm(features, conditions=conditions[:5])
    constant = np.concatenate([features, np.ones((1, 4))])
    with pytest.raises(InvalidArgument, match=r"all equal.* 1 stimuli: flat\."):
        compute_rdm(constant, conditions=[*map(str, conditions), "flat"])


def test_gaussian_with_a_bandwidth(features):
    squared = pdist(features.reshape(5, -1), "sqeuclidean")
    for width in (0.3, 2.0, 1e3):
        found = compute_rdm(features, "gaussian", bandwidth=width).dissimilarities
        np.testing.assert_allclose(found, -np.expm1(-squared / (2 * width**2)), rtol=1e-10)
    usual = np.sqrt(2 * squared.sum() / 25 / 2)
    expected = compute_rdm(features, "gaussian").dissimilarities
    found = compute_rdm(features, "gaussian", bandwidth=usual).dissimilarities
    np.testing.assert_allclose(found, expected, rtol=1e-10)
    narrow = compute_rdm(features.astype(np.float32), "gaussian", bandwidth=1e-30)
    assert (narrow.dissimilarities == 1).all()
    assert compute_rdm(np.ones((2, 3)), "gaussian", bandwidth=1).dissimilarities == [0]
    for wrong in (0, -1.0, np.nan, np.inf):
        with pytest.raises(InvalidArgument, match="is no bandwidth"):
            compute_rdm(features, "gaussian", bandwidth=wrong)


def test_options_of_other_dissimilarities_are_refused(features):
    with pytest.raises(InvalidArgument, match="cosine has no option bandwidth. It has no options"):
        compute_rdm(features, "cosine", bandwidth=2.0)
    with pytest.raises(InvalidArgument, match="gaussian has no option folds.*: bandwidth"):
        compute_rdm(features, "gaussian", folds=[1, 2, 1, 2, 1])


def test_the_provenance_says_what_was_done_and_can_be_saved(features, tmp_path):
    records = Features(features, IDS, "fc", provenance={"model": "toy"})
    assert "rdm" not in compute_rdm(records).provenance
    found = compute_rdm(records, "gaussian", bandwidth=np.float32(2), select=[0, 1])
    assert found.provenance["rdm"] == {"select": "array of shape (2,)", "bandwidth": 2.0}
    assert load_rdm(found.save(tmp_path / "toy.npz")).provenance == found.provenance


def test_other_packages_may_give_pairs_or_squares(features, monkeypatch):
    def manhattan(rows, *, power=1.0):
        return np.abs(rows[:, None] - rows).sum(axis=2) ** power

    monkeypatch.setitem(DISSIMILARITIES._builtins, "manhattan", "x:y")
    monkeypatch.setitem(DISSIMILARITIES._loaded, "manhattan", manhattan)
    true = pdist(features.reshape(5, -1), "cityblock")
    np.testing.assert_allclose(compute_rdm(features, "manhattan").dissimilarities, true)
    found = compute_rdm(features, "manhattan", power=2.0).dissimilarities
    np.testing.assert_allclose(found, true**2)
    wrong = lambda rows: rows[:, :5]  # noqa: E731
    monkeypatch.setitem(DISSIMILARITIES._loaded, "manhattan", wrong)
    with pytest.raises(InvalidArgument, match="The result of manhattan"):
        compute_rdm(features, "manhattan")
