"""Random projections: the same for any batch, and as exact as they say."""

import tracemalloc

import numpy as np
import pytest
import torch
from scipy.spatial.distance import pdist
from sklearn.random_projection import SparseRandomProjection

import thingsvision as tv
from thingsvision.errors import InvalidArgument, StoreError
from thingsvision.planning import plan
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


def test_no_number_of_rows_and_threads_changes_a_row_of_a_large_layer():
    rows = np.random.default_rng(0).normal(size=(33, 60_000)).astype(np.float32)
    rows[rows < 0] = 0
    projection = Projection(60_000, 100, 0)
    whole = projection(torch.from_numpy(rows)).numpy()
    truth = projection.matrix.astype(np.float64) @ rows.T.astype(np.float64)
    np.testing.assert_allclose(whole, truth.T, rtol=0, atol=1e-5 * np.abs(truth).max())
    threads = torch.get_num_threads()
    try:
        for count, size in [(1, 32), (2, 1), (2, 16), (3, 33)]:
            torch.set_num_threads(count)
            parts = [projection(torch.from_numpy(rows[i : i + size])) for i in range(0, 33, size)]
            assert np.array_equal(torch.cat(parts).numpy(), whole)
    finally:
        torch.set_num_threads(threads)


def test_accelerators_compute_the_same(batch):
    # The path that CUDA takes, on the processor: sparse products of PyTorch in float64.
    projection = Projection(2700, 64, 0)
    found = projection._on_device(torch.from_numpy(batch.reshape(40, -1)), torch)
    assert found.dtype == torch.float32
    np.testing.assert_allclose(found, projection(batch), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("n_different", [4, 100, 2500])
def test_the_error_grows_as_the_formula_says_where_few_features_differ(n_different):
    # Each row of the matrix gives an estimate of its own.
    difference = np.zeros(2500)
    difference[:n_different] = 1
    projected = [Projection(2500, 2000, seed).matrix @ difference for seed in range(10)]
    estimates = 2000 * np.concatenate(projected) ** 2 / n_different
    assert np.mean(estimates) == pytest.approx(1, rel=0.1)
    assert np.var(estimates) == pytest.approx(2 + (50 - 3) / n_different, rel=0.15)


def test_a_million_features_need_little_memory():
    tracemalloc.start()
    matrix = Projection(1_000_000, 50, 0).matrix
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert matrix.nnz == pytest.approx(50 * 1000, rel=0.05)
    assert peak < 64e6


def test_modules_of_one_size_share_a_matrix():
    images = np.zeros((1, 8, 6, 3), np.uint8)
    work = plan(toy_network(), images, ["thin", "double"], project=np.int64(7))
    assert work.projections["thin"] is work.projections["double"]
    assert work.shapes == {"thin": (1, 7), "double": (1, 7)}


def test_rows_kept_in_full_are_another_request_than_maps(tmp_path):
    images = np.zeros((2, 4, 4, 3), np.uint8)
    maps, rows = (plan(toy_network(), images, "thin", project=few) for few in (None, 20))
    assert maps.shapes == {"thin": (2, 2, 2, 3)} and rows.shapes == {"thin": (2, 12)}
    assert tv.extract_features(toy_network(), images, "thin", out=tmp_path).only.shape[1:] != (12,)
    with pytest.raises(StoreError, match="projections"):
        tv.extract_features(toy_network(), images, "thin", out=tmp_path, project=20)


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
    error = "relative error of distances (s.d.)"
    assert stated == {
        "thin": {"features": 144, "components": 20, "seed": 2, "projected": True,
                 error: pytest.approx(1 / np.sqrt(40), abs=1e-6)},
        "fc": {"features": 5, "components": 20, "seed": 2, "projected": False, error: 0},
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
    for count in (0, -3, 2.5, True, "7"):
        with pytest.raises(InvalidArgument, match="at least 1"):
            tv.extract_features(toy_network(), images, "thin", project=count)
    with pytest.raises(InvalidArgument, match="project names 'nope'"):
        tv.extract_features(toy_network(), images, "thin", project={"nope": 3})
