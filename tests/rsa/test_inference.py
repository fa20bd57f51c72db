"""The table of models: its columns, what it draws on, and what it refuses."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pandas as pd
import pytest
from scipy.stats import false_discovery_control, t

import thingsvision as tv
from thingsvision.errors import InvalidArgument, MismatchError, UnknownName
from thingsvision.rsa import COMPARISONS, RDM, compute_rdm
from thingsvision.rsa.multiple import benjamini_hochberg, holm

COLUMNS = [
    "model", "module", "reference", "comparison", "estimate", "ci_low", "ci_high", "p",
    "ceiling_low", "ceiling_high", "n_stimuli", "n_subjects", "seed",
]  # fmt: skip
IDS = tuple(f"{number}.jpg" for number in range(12))


@pytest.fixture
def subjects(rng: np.random.Generator) -> np.ndarray:
    return rng.random(66) + 0.5 * rng.random((5, 66))


@pytest.fixture
def models(subjects: np.ndarray, rng: np.random.Generator) -> dict[str, np.ndarray]:
    return {"good": subjects.mean(axis=0) + 0.1 * rng.random(66), "poor": rng.random(66)}


@pytest.mark.parametrize("comparison", COMPARISONS)
def test_the_table(models, subjects, comparison):
    table = tv.compare_models(
        models, {"human": subjects, "one": subjects[0]}, comparison, n_resamples=20, seed=3
    )
    assert list(table.columns) == COLUMNS
    assert table["model"].tolist() == ["good", "poor"] * 2
    assert table["reference"].tolist() == ["human", "human", "one", "one"]
    assert set(table["comparison"]) == {comparison}
    assert table["n_subjects"].tolist() == [5, 5, 1, 1]
    assert set(table["n_stimuli"]) == {12} and set(table["seed"]) == {3}
    true = tv.compare_rdms(models, subjects, comparison).mean(axis=1)
    np.testing.assert_allclose(table["estimate"][:2], true, rtol=1e-12)
    assert ((table["ci_low"] < table["estimate"]) & (table["estimate"] < table["ci_high"])).all()
    assert table["p"].between(0, 1).all()
    ceiling = tv.noise_ceiling(subjects, comparison)
    assert (table["ceiling_low"][0], table["ceiling_high"][0]) == tuple(ceiling)
    assert table[["ceiling_low", "ceiling_high"]][2:].isna().all(axis=None)
    assert table["estimate"][0] > table["estimate"][1]


def test_what_it_records(models, subjects):
    table = tv.compare_models(models, subjects, n_resamples=15, level=0.9, test="permutation")
    assert table.attrs == {
        "test": "permutation",
        "level": 0.9,
        "resample": "both",
        "n_resamples": 15,
        "joined_by": "position",
    }
    assert set(table["reference"]) == {"reference"}


def test_intervals_and_p_are_those_of_student(models, subjects):
    found = tv.bootstrap(models, subjects, n_resamples=50, seed=1)
    table = tv.compare_models(models, subjects, n_resamples=50, seed=1, level=0.9)
    error = np.sqrt(found.variance())
    assert found.dof == 4
    np.testing.assert_allclose(table["p"], t.sf(found.estimates / error, 4), rtol=1e-9)
    low, high = t.interval(0.9, 4, loc=found.estimates, scale=error)
    np.testing.assert_allclose(table[["ci_low", "ci_high"]].to_numpy().T, (low, high), rtol=1e-9)
    assert tv.bootstrap(models, subjects, resample="stimuli", n_resamples=5).dof == 11


def test_the_same_seed_gives_the_same_numbers(models, subjects):
    one, again, other = (
        tv.compare_models(models, subjects, n_resamples=30, test="permutation", seed=seed)
        for seed in (5, 5, 6)
    )
    pd.testing.assert_frame_equal(one, again)
    assert (one["ci_low"] != other["ci_low"]).all()


def test_stimuli_are_joined_by_id(models, subjects, rng):
    named = {name: RDM(row, IDS) for name, row in models.items()}
    shuffled = [
        RDM(row, IDS).select([IDS[place] for place in rng.permutation(12)]) for row in subjects
    ]
    true = tv.compare_models(models, subjects, "spearman", n_resamples=20)
    found = tv.compare_models(named, shuffled, "spearman", n_resamples=20)
    pd.testing.assert_frame_equal(true, found, rtol=1e-9)
    assert found.attrs["joined_by"] == "id"
    with pytest.raises(MismatchError, match="by_position=True"):
        tv.compare_models(named, subjects, n_resamples=20)
    by_position = tv.compare_models(
        named, subjects, "spearman", n_resamples=20, by_position=True, test="permutation"
    )
    assert by_position.attrs["joined_by"] == "position"
    with pytest.raises(MismatchError, match=r"missing from subject_rdms\[0\]: 0.jpg"):
        tv.compare_models(named, [RDM(subjects[0], ("x", *IDS[1:])), RDM(subjects[1], IDS)])


def test_names_of_models_and_modules(models, subjects):
    one, other = models.values()
    made = RDM(one, provenance={"model": {"name": "alexnet"}, "module": "fc"}, name="alexnet fc")
    plain = RDM(other, name="words")
    rows = {
        "list": [made, plain],
        "by module": {"fc": made, "words": plain},
        "nested": {"alexnet": {"fc": made, "conv": plain}, "words": plain},
        "bare": [one, other],
    }
    names = {
        what: tv.compare_models(data, subjects, n_resamples=5)[["model", "module"]].values.tolist()
        for what, data in rows.items()
    }
    assert names["list"] == names["by module"] == [["alexnet", "fc"], ["words", ""]]
    assert names["nested"] == [["alexnet", "fc"], ["alexnet", "conv"], ["words", ""]]
    assert names["bare"] == [["0", ""], ["1", ""]]


def test_pairs_of_models(models, subjects, rng):
    models = {**models, "poorer": rng.random(66)}
    table = tv.compare_models_pairwise(models, {"a": subjects, "b": subjects[:3]}, n_resamples=60)
    assert table["model_a"].tolist() == ["good", "good", "poor"] * 2
    assert table["model_b"].tolist() == ["poor", "poorer", "poorer"] * 2
    found = tv.bootstrap(models, subjects, n_resamples=60)
    difference = found.estimates[0] - found.estimates[1]
    error = np.sqrt(found.variance(np.array([[1.0, -1.0, 0.0]]))[0])
    assert table["difference"][0] == pytest.approx(difference)
    assert table["p"][0] == pytest.approx(2 * t.sf(abs(difference) / error, 4))
    for group in (table[:3], table[3:]):
        p = group["p"].to_numpy()
        np.testing.assert_allclose(group["p_fdr"], false_discovery_control(p))
        np.testing.assert_allclose(group["p_fwe"], holm(p))
    with pytest.raises(InvalidArgument, match="give two or more"):
        tv.compare_models_pairwise({"good": models["good"]}, subjects)


def test_equal_models_do_not_differ(subjects):
    table = tv.compare_models_pairwise([subjects[0], subjects[0]], subjects, n_resamples=20)
    assert table["difference"][0] == 0 and table["p"][0] == 1


def test_corrections_for_many_tests(rng):
    for p in (rng.random(20) ** 3, np.array([0.01]), np.array([0.02, 0.02, 1.0])):
        np.testing.assert_allclose(benjamini_hochberg(p), false_discovery_control(p))
        order = np.argsort(p)
        true = [
            max((len(p) - k) * p[order[k]] for k in range(place + 1)) for place in range(len(p))
        ]
        np.testing.assert_allclose(holm(p)[order], np.minimum(true, 1))


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        (
            {"n_resamples": 1},
            InvalidArgument,
            "n_resamples=1 is not allowed: a whole number from 2",
        ),
        ({"n_resamples": 99.5}, InvalidArgument, "n_resamples=99.5 is not allowed"),
        ({"n_resamples": True}, InvalidArgument, "n_resamples=True is not allowed"),
        ({"seed": -1}, InvalidArgument, "seed=-1 is not allowed: a whole number from 0"),
        ({"seed": None}, InvalidArgument, "seed=None is not allowed"),
        ({"level": 95}, InvalidArgument, "level=95 is no level of confidence: between 0 and 1"),
        ({"test": "bootstraps"}, UnknownName, "no test 'bootstraps'. Nearest: bootstrap"),
        ({"resample": "stimulus"}, UnknownName, "no factor to resample 'stimulus'. Nearest: stim"),
        ({"comparison": "peerson"}, UnknownName, "no comparison 'peerson'. Nearest: pearson"),
        ({"dtype": "float16"}, UnknownName, "compute in 'float16'. Nearest: float64, float32"),
        (
            {"test": "permutation", "n_permutations": 0},
            InvalidArgument,
            "n_permutations=0 is not allowed: a whole number from 1",
        ),
        ({"subject_rdms": {}}, InvalidArgument, "holds no reference"),
        ({"subject_rdms": np.ones((3, 66))}, InvalidArgument, "without variance"),
        ({"subject_rdms": np.full((3, 66), np.nan)}, InvalidArgument, "NaN or infinity"),
        ({"subject_rdms": np.arange(30.0).reshape(2, 15)}, MismatchError, "different numbers"),
    ],
)
def test_bad_input_is_refused(models, subjects, arguments, error, message):
    with pytest.raises(error, match=message):
        tv.compare_models(models, **{"subject_rdms": subjects, "n_resamples": 9, **arguments})


def test_too_few_subjects_or_stimuli(subjects):
    with pytest.raises(InvalidArgument, match="There is 1 subject, and 2 are needed"):
        tv.noise_ceiling(subjects[:1])
    for resample in ("both", "subjects"):
        with pytest.raises(InvalidArgument, match="There is 1 subject, and 2 are needed"):
            tv.compare_models(subjects[0], subjects[:1], resample=resample)
    three = np.array([[1.0, 2.0, 3.0], [1.0, 3.0, 2.0]])
    refusals = [
        lambda: tv.noise_ceiling(list(three)),
        lambda: tv.compare_models(three[0], list(three)),
        lambda: tv.permutation_test(three[0], list(three)),
    ]
    for call in refusals:
        with pytest.raises(InvalidArgument, match="There are 3 stimuli; four are the least"):
            call()


def test_features_to_table(rng):
    """From features to the table, all by id."""
    ids = tuple(f"{number}.png" for number in range(20))
    hidden = rng.normal(size=(20, 8))
    network = tv.Features(
        hidden + 0.3 * rng.normal(size=(20, 8)), ids, "fc", provenance={"model": "toy"}
    )
    human = [
        compute_rdm(tv.Features(hidden + rng.normal(size=(20, 8)), ids, f"s{n}")) for n in range(4)
    ]
    table = tv.compare_models(compute_rdm(network), {"human": human}, n_resamples=100)
    row = table.iloc[0]
    assert (row["model"], row["module"]) == ("toy", "fc")
    assert row["ceiling_low"] < row["ceiling_high"]
    assert row["p"] < 0.05


def test_no_framework_is_imported():
    code = """
import numpy as np, sys, thingsvision as tv
tv.compare_models(np.arange(45.0), np.random.default_rng(0).random((3, 45)), n_resamples=5)
print([name for name in ("torch", "tensorflow", "keras", "matplotlib") if name in sys.modules])
"""
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=120, check=True
    )
    assert done.stdout.strip() == "[]"
