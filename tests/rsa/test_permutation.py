"""Permutation of stimulus labels against all permutations there are."""

from __future__ import annotations

from itertools import permutations

import numpy as np
import pytest
from scipy.spatial.distance import pdist
from scipy.stats import kstest

import thingsvision as tv
from thingsvision.rsa import COMPARISONS
from thingsvision.rsa import permutation as module


@pytest.fixture
def rows(rng: np.random.Generator) -> np.ndarray:
    shared = rng.normal(size=(5, 4))
    return np.stack([pdist(shared + rng.normal(size=(5, 4))) for _ in range(5)])


@pytest.mark.parametrize("name", ["pearson", "rho_a", "whitened_correlation", "bures"])
def test_p_is_near_that_of_all_permutations(rows, name):
    models, subjects = rows[:2], rows[2:]
    every = []
    for order in permutations(range(5)):
        moved = [tv.RDM(row).square()[np.ix_(order, order)] for row in subjects]
        every.append(tv.compare_rdms(models, moved, name).to_numpy().mean(axis=1))
    true = (np.array(every) >= every[0] - 1e-10).mean(axis=0)
    table = tv.permutation_test(models, subjects, name, n_permutations=4000)
    np.testing.assert_allclose(table["p"], true, atol=0.03)
    best = np.max(every, axis=1)[:, None]
    np.testing.assert_allclose(
        table["p_fwe"], (best >= np.array(every[0]) - 1e-10).mean(axis=0), atol=0.03
    )
    assert table.columns.tolist() == [
        "model", "comparison", "estimate", "p", "p_fwe", "n_stimuli", "n_subjects", "seed",
    ]  # fmt: skip


@pytest.mark.parametrize("name", COMPARISONS)
def test_the_quick_way_is_the_long_way(rows, name, monkeypatch):
    quick = module.permuted(rows[:2], rows[2:], name, 70, seed=1)
    monkeypatch.setattr(module, "_EMBEDDINGS", {})
    np.testing.assert_allclose(
        quick, module.permuted(rows[:2], rows[2:], name, 70, seed=1), atol=1e-9
    )


def test_p_is_uniform_where_there_is_nothing(rng):
    found = [
        tv.permutation_test(rng.random(45), rng.random((3, 45)), n_permutations=199)["p"][0]
        for _ in range(200)
    ]
    assert kstest(found, "uniform").pvalue > 0.01
    assert min(found) >= 1 / 200
