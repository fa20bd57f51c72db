"""Divergences of Poisson rates against rsatoolbox and their closed form."""

from __future__ import annotations

import numpy as np
import pytest

from thingsvision.errors import InvalidArgument
from thingsvision.rsa import compute_rdm
from thingsvision.rsa.poisson import poisson, poisson_cv


@pytest.mark.parametrize("prior", [{}, {"prior_lambda": 3.0, "prior_weight": 0.5}])
def test_poisson_as_in_rsatoolbox(rng, prior):
    data = pytest.importorskip("rsatoolbox.data")
    rdm = pytest.importorskip("rsatoolbox.rdm")
    counts = rng.poisson(4, size=(12, 20)).astype(float)
    theirs = rdm.calc_rdm(data.Dataset(counts), method="poisson", **prior)
    np.testing.assert_allclose(poisson(counts, **prior), theirs.dissimilarities[0], rtol=1e-10)


def test_repetitions_are_averaged_first_as_in_rsatoolbox(rng):
    data = pytest.importorskip("rsatoolbox.data")
    rdm = pytest.importorskip("rsatoolbox.rdm")
    counts, conditions = rng.poisson(4, size=(12, 20)).astype(float), [*"abcd"] * 3
    dataset = data.Dataset(counts, obs_descriptors={"condition": conditions})
    theirs = rdm.calc_rdm(dataset, "poisson", descriptor="condition")
    ours = compute_rdm(counts, "poisson", conditions=conditions)
    np.testing.assert_allclose(ours.dissimilarities, theirs.dissimilarities[0], rtol=1e-10)


def test_cross_validated_is_the_mean_of_what_rsatoolbox_gives_for_each_fold(rng):
    """rsatoolbox 0.3.2 returns its last fold's, so each fold in turn is made the last."""
    data = pytest.importorskip("rsatoolbox.data")
    rdm = pytest.importorskip("rsatoolbox.rdm")
    counts, conditions = rng.poisson(4, size=(15, 8)).astype(float), [*"abcde"] * 3
    folds = np.repeat([0, 1, 2], 5)
    each = []
    for last in range(3):
        described = {"condition": conditions, "run": ((folds - last - 1) % 3).tolist()}
        dataset = data.Dataset(counts, obs_descriptors=described)
        found = rdm.calc_rdm(dataset, "poisson_cv", descriptor="condition", cv_descriptor="run")
        each.append(found.dissimilarities[0])
    ours = poisson_cv(counts, conditions=conditions, folds=folds)
    np.testing.assert_allclose(ours, np.mean(each, axis=0), rtol=1e-10, atol=1e-12)


def test_it_is_the_divergence(rng):
    x, y = rng.uniform(1, 5, size=(2, 6))
    forth, back = (np.sum(a * np.log(a / b) - a + b) for a, b in ((x, y), (y, x)))
    found = poisson(np.stack([x, y]), prior_weight=0.0)
    np.testing.assert_allclose(found, (forth + back) / 6, rtol=1e-12)


def test_near_identical_rows_keep_their_digits(rng):
    x = rng.uniform(1, 5, size=50)
    y = x * (1 + 1e-7 * rng.normal(size=50))
    rows = np.stack([x, y, rng.uniform(1, 500, size=50)])
    true = np.mean((x - y).astype(np.longdouble) * np.log1p((x - y) / y)) / 1
    assert poisson(rows, prior_weight=0.0)[0] == pytest.approx(float(true), rel=1e-6)
    assert poisson(np.stack([x, x, y]))[0] == 0


def test_types_and_refusals(rng):
    counts = rng.poisson(3, size=(4, 9))
    assert poisson(counts).dtype == np.float64
    narrow = poisson(counts.astype(np.float32))
    assert narrow.dtype == np.float32
    np.testing.assert_allclose(narrow, poisson(counts), rtol=1e-6)
    counts[2, 3] = -1
    with pytest.raises(InvalidArgument, match=r"Rates are not negative.* 1 rows .*: 2\."):
        poisson(counts)
    with pytest.raises(InvalidArgument, match=r"infinite. Zeros are in 1 rows .*: 0\."):
        poisson(np.array([[0.0, 1.0], [2.0, 3.0]]), prior_weight=0.0)
    with pytest.raises(InvalidArgument, match="prior_lambda=-1"):
        poisson(np.ones((2, 2)), prior_lambda=-1)
