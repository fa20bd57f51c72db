"""Random projections: the same for any batch, and as exact as they say."""

import numpy as np
import pytest
import torch
from scipy.spatial.distance import pdist
from sklearn.random_projection import SparseRandomProjection

import thingsvision as tv
from thingsvision.errors import InvalidArgument, StoreError
from thingsvision.projection import Projection
from thingsvision.testing import toy_network


@pytest.fixture
def batch():
    return np.random.default_rng(0).normal(size=(40, 3, 30, 30)).astype(np.float32)


def test_it_is_scikit_learns(batch):
    flat = batch.reshape(40, -1).astype(np.float64)
    truth = SparseRandomProjection(64, random_state=7, dense_output=True).fit_transform(flat)
    projection = Projection(2700, 64, 7)
    np.testing.assert_allclose(projection(batch), truth, rtol=1e-4, atol=1e-4)
    found = projection(torch.from_numpy(batch)).numpy()
    np.testing.assert_allclose(found, truth, rtol=1e-4, atol=1e-4)
    assert found.dtype == np.float32


@pytest.mark.parametrize("convert", [np.asarray, torch.from_numpy])
@pytest.mark.parametrize("size", [1, 2, 7, 39])
def test_rows_do_not_depend_on_the_batch(batch, convert, size):
    projection = Projection(2700, 64, 0)
    whole = np.asarray(projection(convert(batch)))
    parts = [projection(convert(batch[i : i + size])) for i in range(0, 40, size)]
    assert np.array_equal(np.concatenate([np.asarray(part) for part in parts]), whole)


def test_distances_err_as_much_as_stated(batch):
    true = pdist(batch.reshape(40, -1))
    for components in (32, 256):
        errors = [pdist(Projection(2700, components, seed)(batch)) / true - 1 for seed in range(8)]
        spread = float(np.std(errors))
        assert spread == pytest.approx(Projection(2700, components, 0).distance_error, rel=0.15)


def test_seeds_and_sizes_decide(batch):
    first, again = (Projection(2700, 64, 3)(batch) for _ in range(2))
    assert np.array_equal(first, again)
    assert not np.array_equal(first, Projection(2700, 64, 4)(batch))


def test_projected_features(tmp_path):
    images = np.random.default_rng(0).integers(0, 255, (5, 16, 12, 3), np.uint8)
    network = toy_network()
    plain = tv.extract_features(network, images, ["thin", "fc"])
    features = tv.extract_features(
        network, images, ["thin", "fc"], project=20, seed=2, out=tmp_path, batch_size=2
    )
    projection = Projection(8 * 6 * 3, 20, 2)
    assert np.array_equal(features["thin"], projection(np.asarray(plain["thin"])))
    assert np.array_equal(features["fc"], plain["fc"])  # five features, fewer than 20
    assert features["thin"].axes == features["fc"].axes == ("stimulus", "feature")
    stated = features.provenance["projections"]
    assert stated == {
        "thin": {"features": 144, "components": 20, "seed": 2,
                 "relative error of distances (s.d.)": pytest.approx(1 / np.sqrt(40), abs=1e-6)}
    }  # fmt: skip
    with pytest.raises(StoreError, match="projections"):
        tv.extract_features(
            network, images, ["thin", "fc"], project=21, seed=2, out=tmp_path, batch_size=2
        )


def test_a_projection_follows_a_reduction():
    images = np.random.default_rng(0).integers(0, 255, (3, 16, 12, 3), np.uint8)
    options = {"reduction": {"thin": "mean"}, "project": {"thin": 2, "double": 7}}
    features = tv.extract_features(toy_network(), images, ["thin", "double", "fc"], **options)
    assert features["thin"].shape == (3, 2) and features["double"].shape == (3, 7)
    assert features["fc"].shape == (3, 5)


def test_what_is_no_number_of_features_is_refused():
    images = np.zeros((1, 8, 6, 3), np.uint8)
    for count in (0, -3, 2.5, True):
        with pytest.raises(InvalidArgument, match="at least 1"):
            tv.extract_features(toy_network(), images, "thin", project=count)
    with pytest.raises(InvalidArgument, match="project names 'nope'"):
        tv.extract_features(toy_network(), images, "thin", project={"nope": 3})
