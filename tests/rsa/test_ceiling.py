"""Noise ceilings against their definition, rsatoolbox, and on recordings."""

from __future__ import annotations

import warnings
from pathlib import Path

import numpy as np
import pytest
from scipy.io import loadmat
from scipy.stats import kendalltau, rankdata, spearmanr, zscore

import thingsvision as tv
from thingsvision.errors import MismatchError
from thingsvision.rsa import COMPARISONS, RDM

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


@pytest.fixture
def subjects(rng: np.random.Generator) -> np.ndarray:
    return np.round(rng.random(66) + rng.random((6, 66)), 1)


def rsatoolbox_ceiling(rows: np.ndarray, name: str) -> tuple[float, float]:
    toolbox = pytest.importorskip("rsatoolbox")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return toolbox.inference.boot_noise_ceiling(toolbox.rdm.RDMs(rows), RSATOOLBOX[name])


@pytest.mark.parametrize("name", RSATOOLBOX)
def test_it_agrees_with_rsatoolbox(subjects, name):
    np.testing.assert_allclose(
        tv.noise_ceiling(subjects, name), rsatoolbox_ceiling(subjects, name), atol=1e-10
    )


def test_it_is_the_definition(subjects):
    """Nili et al. (2014), doi:10.1371/journal.pcbi.1003553."""
    scaled = {
        "pearson": (zscore(subjects, axis=1), lambda a, b: np.corrcoef(a, b)[0, 1]),
        "spearman": (rankdata(subjects, axis=1), lambda a, b: spearmanr(a, b)[0]),
        "kendall_tau_b": (rankdata(subjects, axis=1), lambda a, b: kendalltau(a, b)[0]),
    }
    for name, (rows, compare) in scaled.items():
        lower = [compare(np.delete(rows, n, 0).mean(axis=0), subjects[n]) for n in range(6)]
        upper = [compare(rows.mean(axis=0), subjects[n]) for n in range(6)]
        found = tv.noise_ceiling(subjects, comparison=name)
        np.testing.assert_allclose(found, (np.mean(lower), np.mean(upper)), atol=1e-12)
        assert found.lower < found.upper


@pytest.mark.parametrize("name", COMPARISONS)
def test_no_model_passes_the_upper_bound(subjects, name, rng):
    """Exactly for the first four; for the others within what is said."""
    upper = tv.noise_ceiling(subjects, name).upper
    models = [subjects.mean(axis=0) + 0.1 * rng.normal(size=66) for _ in range(50)]
    best = tv.compare_rdms(np.abs(models), subjects, name).to_numpy().mean(axis=1).max()
    exact = name in ("pearson", "spearman", "rho_a", "cosine")
    assert best <= upper + (1e-12 if exact else 0.01)


@pytest.mark.parametrize("name", COMPARISONS)
def test_equal_subjects_leave_no_room(subjects, name):
    found = tv.noise_ceiling(np.stack([subjects[0]] * 3), name)
    best = tv.compare_rdms(subjects[0], subjects[0], name)
    np.testing.assert_allclose(found, (best, best), rtol=1e-9)


def test_subjects_are_joined_by_id(subjects, rng):
    ids = tuple(f"{n}.jpg" for n in range(12))
    moved = [RDM(row, ids).select([ids[n] for n in rng.permutation(12)]) for row in subjects]
    np.testing.assert_allclose(tv.noise_ceiling(moved), tv.noise_ceiling(subjects), rtol=1e-12)
    with pytest.raises(MismatchError, match=r"missing from subject_rdms\[1\]"):
        tv.noise_ceiling([moved[0], RDM(subjects[1], tuple(f"{n}.png" for n in range(12)))])


@pytest.mark.parametrize(
    ("name", "true"),
    [
        ("pearson", (0.57179, 0.63458)),
        ("spearman", (0.47701, 0.57669)),
        ("cosine", (0.95277, 0.95859)),
        ("whitened_correlation", (0.61774, 0.67196)),
    ],
)
def test_behaviour_of_16_people(kriegeskorte92: Path, name, true):
    records = loadmat(kriegeskorte92 / "92_behavRDMs.mat")["rdms_behav_92"]
    people = np.stack([record["RDM"] for record in records.ravel()]).astype(float)
    found = tv.noise_ceiling(people, name)
    np.testing.assert_allclose(found, true, atol=1e-5)
    rows = np.stack([RDM.from_matrix(square).dissimilarities for square in people])
    np.testing.assert_allclose(found, rsatoolbox_ceiling(rows, name), atol=1e-10)


def test_fmri_of_4_people(kriegeskorte92: Path):
    records = loadmat(kriegeskorte92 / "92_brainRDMs.mat")["RDMs"]
    sessions = np.stack([record["RDM"] for record in records.ravel()]).reshape(4, 2, 92, 92)
    found = tv.noise_ceiling(sessions.mean(axis=1), "spearman")
    np.testing.assert_allclose(found, (0.37231, 0.66572), atol=1e-5)


@pytest.mark.parametrize(("area", "true"), [("EVC", (0.018, 0.26093)), ("IT", (0.00641, 0.25608))])
def test_fmri_of_15_people(fmri78: Path, area, true):
    stack = np.load(fmri78 / f"fmri_{area}_RDMs.npz")["arr_0"].astype(float)
    found = tv.noise_ceiling(stack, "spearman")
    np.testing.assert_allclose(found, true, atol=1e-5)
    rows = np.stack([RDM.from_matrix(square).dissimilarities for square in stack])
    np.testing.assert_allclose(found, rsatoolbox_ceiling(rows, "spearman"), atol=1e-10)
