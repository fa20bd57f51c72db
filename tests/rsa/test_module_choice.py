"""The choice of a module, judged on held-out data."""

from __future__ import annotations

import numpy as np
import pytest

import thingsvision as tv
from thingsvision.errors import InvalidArgument, UnknownName
from thingsvision.rsa import RDM


@pytest.fixture
def subjects(rng: np.random.Generator) -> np.ndarray:
    return rng.random(300) + rng.random((6, 300))


def test_the_best_is_chosen_and_judged_on_the_rest(subjects, rng):
    modules = {"early": rng.random(300), "late": subjects.mean(axis=0), "noise": rng.random(300)}
    choice = tv.choose_module(modules, subjects, "spearman", n_folds=4, seed=2)
    assert choice.module == "late"
    assert choice.folds["module"].unique().tolist() == ["late"]
    assert len(choice.folds) == 4 * 4
    assert choice.estimate == pytest.approx(choice.folds["estimate"].mean())
    again = tv.choose_module(modules, subjects, "spearman", n_folds=4, seed=2)
    assert again.estimate == choice.estimate
    other = tv.choose_module(modules, subjects, "spearman", n_folds=4, seed=3)
    assert other.estimate != choice.estimate


def test_a_fold_is_what_it_says(subjects, rng):
    """Leaving one subject out, by hand."""
    modules = rng.random((5, 300)) + 0.3 * subjects.mean(axis=0)
    choice = tv.choose_module(list(modules), subjects, over="subjects", n_folds=6)
    table = tv.compare_rdms(list(modules), list(subjects)).to_numpy()
    true = set()
    for left_out in range(6):
        best = np.delete(table, left_out, axis=1).mean(axis=1).argmax()
        true.add((int(best), round(float(table[best, left_out]), 9)))
    rows = choice.folds[["module", "estimate"]].values
    assert {(int(module), round(float(value), 9)) for module, value in rows} == true
    assert choice.module == table.mean(axis=1).argmax()


def test_held_out_stimuli_are_not_those_that_chose(subjects, rng):
    modules = [RDM(row) for row in rng.random((3, 300))]
    choice = tv.choose_module(modules, subjects[:1], over="stimuli", n_folds=5)
    assert choice.folds["n_stimuli"].tolist() == [5] * 5
    assert choice.folds["n_subjects"].tolist() == [1] * 5


def test_chance_is_not_mistaken_for_likeness(rng):
    """Of fifty modules of noise the best looks good, and the held-out estimate does not."""
    best, held_out = [], []
    for _ in range(20):
        modules, subjects = rng.random((50, 190)), rng.random(190) + rng.random((4, 190))
        best.append(tv.compare_rdms(modules, subjects).mean(axis=1).max())
        held_out.append(tv.choose_module(modules, subjects, over="stimuli").estimate)
    assert min(best) > 0.05
    assert abs(np.mean(held_out)) < 4 * np.std(held_out) / np.sqrt(20)


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"over": "people"}, UnknownName, "no factor to hold out 'people'"),
        ({"n_folds": 1}, InvalidArgument, "n_folds=1 is not allowed: a whole number from 2"),
        (
            {"n_folds": 7},
            InvalidArgument,
            "25 stimuli do not fill 7 folds of 4 or more. Take n_fol",
        ),
        ({"module_rdms": np.arange(300.0)}, InvalidArgument, "leaves nothing to choose"),
        ({"seed": 0.5}, InvalidArgument, "seed=0.5"),
    ],
)
def test_bad_input_is_refused(subjects, arguments, error, message):
    with pytest.raises(error, match=message):
        tv.choose_module(
            **{"module_rdms": subjects[:2], "subject_rdms": subjects, "seed": 0, **arguments}
        )


def test_an_rdm_constant_over_a_fold_is_named(subjects):
    category = np.zeros(300)
    category[:24] = 1  # the first stimulus differs from all others
    with pytest.raises(InvalidArgument, match=r"without variance: module_rdms\[0\]"):
        tv.choose_module([category, subjects[0]], subjects, over="stimuli")
