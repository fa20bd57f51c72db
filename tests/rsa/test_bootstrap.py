"""The bootstrap against rsatoolbox, and against RDMs made of the drawn stimuli."""

from __future__ import annotations

import warnings
from functools import partial
from types import SimpleNamespace

import numpy as np
import pytest
from scipy.spatial.distance import pdist

import thingsvision as tv
from thingsvision.errors import InvalidArgument
from thingsvision.rsa import COMPARISONS
from thingsvision.rsa.ceiling import ceiling_of
from thingsvision.rsa.resampling import expanded, resampled

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


def make(n_stimuli: int, n_models: int = 3, n_subjects: int = 4) -> tuple[np.ndarray, np.ndarray]:
    """Make models, the first with many ties, and subjects that share something."""
    rng = np.random.default_rng(n_stimuli)
    shared = rng.normal(size=(n_stimuli, 5))
    rows = [
        pdist(shared + noise * rng.normal(size=shared.shape)) ** 2
        for noise in [1.0] * n_models + [0.5] * n_subjects
    ]
    models, subjects = np.stack(rows[:n_models]), np.stack(rows[n_models:])
    models[0] = np.round(models[0] / 8)
    return models, subjects


@pytest.fixture
def evaluate(monkeypatch: pytest.MonkeyPatch) -> SimpleNamespace:
    """Let rsatoolbox evaluate, quietly, and keep what it draws."""
    pytest.importorskip("rsatoolbox")
    from rsatoolbox.inference import evaluate as module
    from rsatoolbox.model import ModelFixed
    from rsatoolbox.rdm import RDMs

    drawn: dict[str, list[np.ndarray]] = {"subjects": [], "stimuli": []}

    def record(true, kept, *args, **kwargs):
        found = true(*args, **kwargs)
        for what, rows in zip(kept, found[1:], strict=False):
            drawn[what].append(rows)
        return found

    monkeypatch.setattr(module.tqdm, "trange", range)
    for name, kept in {
        "bootstrap_sample": ("subjects", "stimuli"),
        "bootstrap_sample_pattern": ("stimuli",),
        "bootstrap_sample_rdm": ("subjects",),
    }.items():
        spy = partial(record, getattr(module, name), kept)
        monkeypatch.setattr(module, name, spy)

    def run(function: str, models: np.ndarray, subjects: np.ndarray, method: str, **kwargs):
        np.random.seed(0)  # noqa: NPY002 - what rsatoolbox draws from
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            fixed = [ModelFixed(str(n), row) for n, row in enumerate(models)]
            return getattr(module, function)(fixed, RDMs(subjects), method=method, **kwargs)

    return SimpleNamespace(run=run, drawn=drawn)


@pytest.mark.parametrize("n_stimuli", [5, 20])
@pytest.mark.parametrize("name", RSATOOLBOX)
def test_same_samples_same_numbers_as_rsatoolbox(evaluate, name, n_stimuli):
    models, subjects = make(n_stimuli)
    true = evaluate.run("eval_bootstrap", models, subjects, RSATOOLBOX[name], N=12)
    found = tv.bootstrap(models, subjects, name, draws=evaluate.drawn, ceilings=True)
    good = np.isfinite(true.evaluations).all(axis=1)
    assert good.sum() > 5
    np.testing.assert_allclose(found.samples["both"][good], true.evaluations[good], atol=1e-8)
    alone = np.array([len(set(rows)) < 2 for rows in evaluate.drawn["subjects"]])
    bounds = true.noise_ceiling.T
    np.testing.assert_allclose(
        found.ceilings["both"][good & ~alone], bounds[good & ~alone], atol=1e-8
    )
    single = tv.bootstrap(models, subjects, name, draws=evaluate.drawn, dtype="float32")
    np.testing.assert_allclose(single.samples["both"][good], true.evaluations[good], atol=1e-5)


@pytest.mark.parametrize("name", ["pearson", "cosine", "whitened_cosine", "rho_a"])
def test_the_corrected_dual_variance_is_that_of_rsatoolbox(evaluate, name):
    models, subjects = make(16)
    true = evaluate.run("eval_dual_bootstrap", models, subjects, RSATOOLBOX[name], N=40)
    found = tv.bootstrap(models, subjects, name, draws=evaluate.drawn)
    for place, factor in enumerate(("both", "subjects", "stimuli")):
        np.testing.assert_allclose(
            found.samples[factor], true.evaluations[:, :, 0, 0, place], atol=1e-8
        )
    np.testing.assert_allclose(found.variance(), true.model_var, atol=1e-10)
    contrasts = np.array([[1.0, -1, 0], [1, 0, -1], [0, 1, -1]])
    np.testing.assert_allclose(found.variance(contrasts), true.diff_var, atol=1e-10)
    assert found.dof == true.dof


@pytest.mark.parametrize(
    ("resample", "function"),
    [("stimuli", "eval_bootstrap_pattern"), ("subjects", "eval_bootstrap_rdm")],
)
def test_the_variance_over_one_factor_is_that_of_rsatoolbox(evaluate, resample, function):
    models, subjects = make(16)
    true = evaluate.run(function, models, subjects, "corr", N=30)
    found = tv.bootstrap(
        models, subjects, resample=resample, draws=evaluate.drawn, ceilings=resample == "stimuli"
    )
    np.testing.assert_allclose(found.samples[resample], true.evaluations, atol=1e-8)
    # rsatoolbox leaves out n / (n - 1) where it is not told n
    numbers = {"stimuli": 16, "subjects": 4}
    n = numbers[resample]
    plain = np.var(true.evaluations, axis=0, ddof=1)
    np.testing.assert_allclose(found.variance(), plain * n / (n - 1), atol=1e-12)
    np.testing.assert_allclose(found.variance(), true.model_var, atol=1e-10)
    assert found.dof == true.dof


@pytest.mark.parametrize("name", COMPARISONS)
@pytest.mark.parametrize("n_stimuli", [4, 6, 9])
def test_a_sample_is_the_comparison_of_rdms_of_its_stimuli(name, n_stimuli):
    models, subjects = make(n_stimuli)
    rng = np.random.default_rng(1)
    counts = rng.multinomial(n_stimuli, np.ones(n_stimuli) / n_stimuli, size=12)
    if n_stimuli == 6:
        counts[0] = [4, 1, 1, 0, 0, 0]  # a stimulus that is more than half of the sample
    pools = rng.multinomial(4, np.ones(4) / 4, size=12)
    if not name.startswith("whitened"):  # with pairs left out these are no RDMs that it can take
        values, (bounds,) = resampled(name, models, subjects, counts, [pools])
        for number, times in enumerate(counts):
            drawn = expanded(np.concatenate([models, subjects]), times, name == "bures")
            if (times > 0).sum() < 3 or (np.ptp(drawn, axis=1) == 0).any():
                assert np.isnan(values[number]).any()
                continue
            true = COMPARISONS[name](drawn[:3], drawn[3:])
            np.testing.assert_allclose(values[number], true, atol=1e-9)
            ceiling = ceiling_of(drawn[3:], name, pools[number])
            np.testing.assert_allclose(bounds[number], ceiling, atol=1e-9)
    once = np.ones((1, n_stimuli), int)
    found, (whole,) = resampled(name, models, subjects, once, [np.ones((1, 4), int)])
    np.testing.assert_allclose(found[0], COMPARISONS[name](models, subjects), atol=1e-9)
    np.testing.assert_allclose(whole[0], tv.noise_ceiling(list(subjects), name), atol=1e-9)


def test_a_whitened_sample_solves_for_what_is_there():
    """Half of the sample may be one stimulus, where the quick solution has no pivot."""
    models, subjects = make(6)
    counts = np.array([[4, 1, 1, 0, 0, 0], [2, 1, 1, 2, 0, 0]])
    values, _ = resampled("whitened_cosine", models, subjects, counts)
    for number, times in enumerate(counts):
        drawn = np.repeat(np.arange(6), times)
        first, second = np.triu_indices(len(drawn), 1)
        there = np.r_[drawn[first] != drawn[second], np.ones(6, bool)]
        design = np.zeros((len(there), 6))  # entry of the kernel: (c_i + c_j) / 2 and c_i
        design[np.arange(len(first)), first] = design[np.arange(len(first)), second] = 0.5
        design[len(first) :] = np.eye(6)
        heavy = np.sqrt(np.r_[np.full(len(first), 2.0), np.ones(6)])[there]
        design = design[there] * heavy[:, None]
        left = []
        for row in np.concatenate([models, subjects]):
            square = tv.RDM(row).square()[np.ix_(drawn, drawn)]
            entries = np.r_[square[first, second], np.zeros(6)][there] / -2 * heavy
            left.append(entries - design @ np.linalg.lstsq(design, entries)[0])
        left = np.stack(left) / np.linalg.norm(left, axis=1, keepdims=True)
        np.testing.assert_allclose(values[number], left[:3] @ left[3:].T, atol=1e-10)


def test_blocks_and_chunks_do_not_matter(monkeypatch):
    from thingsvision.rsa import resampling, weighted

    models, subjects = make(30)
    true = tv.bootstrap(models, subjects, n_resamples=70, resample="stimuli").samples["stimuli"]
    monkeypatch.setattr(weighted, "PAIRS", 40)
    monkeypatch.setattr(weighted, "BLOCK", 40 * 17)
    monkeypatch.setattr(resampling, "PRODUCTS", 1)
    found = tv.bootstrap(models, subjects, n_resamples=70, resample="stimuli").samples["stimuli"]
    np.testing.assert_allclose(found, true, atol=1e-12)


def test_samples_of_two_stimuli_are_left_out():
    models, subjects = make(4)
    draws = {"stimuli": [[0, 0, 1, 1], [0, 1, 2, 3], [0, 1, 2, 2], [3, 3, 3, 3], [0, 2, 3, 3]]}
    found = tv.bootstrap(models, subjects, resample="stimuli", draws=draws)
    used = found.samples["stimuli"]
    assert np.isnan(used[[0, 3]]).all() and np.isfinite(used[[1, 2, 4]]).all()
    np.testing.assert_allclose(found.variance(), used[[1, 2, 4]].var(axis=0, ddof=1) * 4 / 3)
    none = tv.bootstrap(models, subjects, resample="stimuli", draws={"stimuli": [[0] * 4] * 3})
    with pytest.raises(InvalidArgument, match="Of 3 samples 0 are of use"):
        none.variance()


@pytest.mark.parametrize(
    ("draws", "message"),
    [
        ({"stimuli": [[0] * 12] * 2}, "needs stimuli and subjects"),
        (
            {"stimuli": [[0] * 11] * 2, "subjects": [[0] * 4] * 2},
            r"'stimuli'\] has shape \(2, 11\)",
        ),
        ({"stimuli": [[12] * 12] * 2, "subjects": [[0] * 4] * 2}, "whole numbers from 0 to 11"),
        ({"stimuli": [[0.5] * 12] * 2, "subjects": [[0] * 4] * 2}, "type float64"),
        ({"stimuli": [[0] * 12] * 2, "subjects": [[0] * 4] * 3}, "different numbers"),
    ],
)
def test_draws_that_do_not_fit_are_refused(draws, message):
    with pytest.raises(InvalidArgument, match=message):
        tv.bootstrap(*make(12), draws=draws)


@pytest.mark.slow
def test_intervals_cover_the_truth():
    """Draw stimuli and subjects from a known population, and count how often it is covered."""
    rng = np.random.default_rng(0)
    n_people, n_pictures = 400, 300
    pictures = rng.normal(size=(n_pictures, 6))
    model = pdist(pictures + rng.normal(size=pictures.shape)) ** 2
    people = np.stack([pdist(pictures * rng.uniform(0.2, 2, 6)) ** 2 for _ in range(n_people)])
    true = tv.compare_rdms(model, people).to_numpy().mean()
    square = tv.RDM(model).square()
    squares = [tv.RDM(row).square() for row in people]
    inside = []
    for number in range(300):
        rows = rng.choice(n_pictures, 30, replace=False)
        drawn = [squares[person][np.ix_(rows, rows)] for person in rng.choice(n_people, 10, False)]
        found = tv.bootstrap(square[np.ix_(rows, rows)], drawn, n_resamples=200, seed=number)
        low, high = found.interval(0.95)[0]
        inside.append(low < true < high)
    assert 0.9 < np.mean(inside) <= 1
