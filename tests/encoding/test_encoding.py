"""Encoding models against scikit-learn, closed forms and simulated responses."""

from __future__ import annotations

import tracemalloc

import numpy as np
import pandas as pd
import pytest
from scipy.stats import pearsonr
from sklearn.decomposition import PCA
from sklearn.linear_model import Ridge
from sklearn.metrics import r2_score as sklearn_r2
from sklearn.model_selection import (
    GridSearchCV,
    GroupKFold,
    KFold,
    LeaveOneOut,
    PredefinedSplit,
    ShuffleSplit,
)

import thingsvision as tv
from thingsvision.commonality import commonalities, subsets
from thingsvision.encoding import (
    normalised_pearson,
    normalised_r2,
    pearson_score,
    r2_score,
)
from thingsvision.encoding.preparation import Preparation
from thingsvision.encoding.ridge import candidate_shares
from thingsvision.errors import InvalidArgument, MismatchError, ThingsvisionWarning, UnknownName
from thingsvision.folds import split

pytest.importorskip("himalaya", reason="the extra 'encoding' is absent")

CV = KFold(4, shuffle=True, random_state=3)


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(0)


def simulated(rng, n_features: int, n_stimuli: int = 80, n_targets: int = 5, noise: float = 2.0):
    features = rng.normal(size=(n_stimuli, n_features)) + 3
    weights = rng.normal(size=(n_features, n_targets)) / np.sqrt(n_features)
    return features, features @ weights + noise * rng.normal(size=(n_stimuli, n_targets)) + 7


def ids(count: int) -> tuple[str, ...]:
    return tuple(f"{number}.jpg" for number in range(count))


# --- against scikit-learn ---------------------------------------------------------------


@pytest.mark.parametrize("n_features", [10, 300])
def test_one_penalty_gives_what_scikit_learn_gives(rng, n_features):
    x, y = simulated(rng, n_features)
    result = tv.fit_encoding(x, y, alphas=[30.0], cv=CV)
    for fold, (train, test) in enumerate(CV.split(x)):
        predicted = Ridge(30.0).fit(x[train], y[train]).predict(x[test])
        r = [pearsonr(y[test, t], predicted[:, t])[0] for t in range(5)]
        r2 = sklearn_r2(y[test], predicted, multioutput="raw_values")
        np.testing.assert_allclose(result.fold_scores["pearson"][0, fold], r, atol=1e-10)
        np.testing.assert_allclose(result.fold_scores["r2"][0, fold], r2, atol=1e-10)
    np.testing.assert_allclose(
        result.score("r2"), result.fold_scores["r2"][0].mean(axis=0), atol=1e-14
    )


@pytest.mark.parametrize("n_features", [10, 300])
def test_each_target_has_the_penalty_of_a_grid_search(rng, n_features):
    x, y = simulated(rng, n_features)
    alphas = np.logspace(-2, 4, 9)
    inner = KFold(3, shuffle=True, random_state=5)
    result = tv.fit_encoding(x, y, alphas=alphas, cv=CV, inner_cv=inner)
    for fold, (train, test) in enumerate(CV.split(x)):
        for target in range(5):
            search = GridSearchCV(
                Ridge(), {"alpha": alphas}, cv=inner, scoring="neg_mean_squared_error"
            ).fit(x[train], y[train, target])
            assert result.alphas[0, fold, target] == pytest.approx(search.best_params_["alpha"])
            r2 = search.score(x[test], y[test, target])
            r2 = sklearn_r2(y[test, target], search.predict(x[test]))
            assert result.fold_scores["r2"][0, fold, target] == pytest.approx(r2, abs=1e-9)
    assert len(np.unique(result.alphas)) > 1


def test_default_penalties_do_not_depend_on_the_scale_of_features(rng):
    x, y = simulated(rng, 30)
    one, other = tv.fit_encoding(x, y), tv.fit_encoding(x * 1e4, y)
    np.testing.assert_allclose(one.score("r2"), other.score("r2"), atol=1e-6)
    np.testing.assert_allclose(one.alphas * 1e8, other.alphas, rtol=1e-6)


def test_components_are_those_of_the_training_rows(rng):
    x, y = simulated(rng, 200)
    result = tv.fit_encoding(x, y, alphas=[5.0], cv=CV, reduction="pca", n_components=6)
    for fold, (train, test) in enumerate(CV.split(x)):
        pca = PCA(6, svd_solver="full").fit(x[train])
        model = Ridge(5.0).fit(pca.transform(x[train]), y[train])
        r2 = sklearn_r2(y[test], model.predict(pca.transform(x[test])), multioutput="raw_values")
        np.testing.assert_allclose(result.fold_scores["r2"][0, fold], r2, atol=1e-8)


def test_banded_ridge_is_ridge_on_scaled_bands(rng, monkeypatch):
    from thingsvision.encoding import model

    a, y = simulated(rng, 8)
    b = rng.normal(size=(80, 200)) * 5
    for bands in ((a, a[:, :3] ** 2), (a, b)):  # fewer and more features than rows
        shares = np.array([[0.8, 0.2]])
        monkeypatch.setattr(model, "candidate_shares", lambda *_, s=shares: s)
        result = tv.fit_encoding(
            dict(zip("ab", bands, strict=True)), y, several="bands", alphas=[0.7], cv=CV
        )
        np.testing.assert_allclose(result.shares[:, 0], 0.8)
        for fold, (train, test) in enumerate(CV.split(y)):
            parts = []
            for band, share in zip(bands, shares[0], strict=True):
                centred = band - band[train].mean(axis=0)
                size = np.square(centred[train]).sum() / len(train)
                parts.append(centred * np.sqrt(share / size))
            x = np.concatenate(parts, axis=1)
            predicted = Ridge(0.7).fit(x[train], y[train]).predict(x[test])
            r2 = sklearn_r2(y[test], predicted, multioutput="raw_values")
            np.testing.assert_allclose(result.fold_scores["r2"][0, fold], r2, atol=1e-9)


def test_bands_that_matter_get_the_weight(rng):
    a, b = rng.normal(size=(120, 10)), rng.normal(size=(120, 300))
    y = a @ rng.normal(size=(10, 4)) + rng.normal(size=(120, 4))
    result = tv.fit_encoding({"a": a, "b": b}, y, several="bands", n_shares=10)
    assert result.bands == ("a", "b") and result.modules == ("a + b",)
    np.testing.assert_allclose(result.shares.sum(axis=1), 1, atol=1e-9)
    assert (result.shares[:, 0] > 0.7).all()
    together = tv.fit_encoding(np.hstack([a, b]), y).score("r2")
    assert (result.score("r2") > together).all()


def test_candidate_shares_hold_each_band_alone():
    shares = candidate_shares(3, 20, seed=1)
    assert shares.shape == (24, 3) and (shares > 0).all()
    np.testing.assert_allclose(shares.sum(axis=1), 1)
    np.testing.assert_allclose(shares[0], 1 / 3)
    np.testing.assert_allclose(shares[1:4], np.eye(3), atol=1e-5)
    np.testing.assert_array_equal(shares, candidate_shares(3, 20, seed=1))


def test_torch_computes_the_same(rng):
    pytest.importorskip("torch")
    from himalaya.backend import get_backend

    x, y = simulated(rng, 300)
    one, other = (tv.fit_encoding(x, y, cv=CV, backend=name) for name in ("numpy", "torch"))
    np.testing.assert_allclose(one.score("r2"), other.score("r2"), atol=1e-6)
    assert get_backend().name == "numpy"
    with pytest.raises(UnknownName, match="backend of himalaya"):
        tv.fit_encoding(x, y, backend="jax")
    assert get_backend().name == "numpy"


# --- scores -----------------------------------------------------------------------------


def test_scores_of_single_targets(rng):
    y, p = rng.normal(size=(2, 30, 4)) + 1e3
    np.testing.assert_allclose(
        pearson_score(y, p), [pearsonr(y[:, t], p[:, t])[0] for t in range(4)], atol=1e-9
    )
    np.testing.assert_allclose(
        r2_score(y, p), sklearn_r2(y, p, multioutput="raw_values"), rtol=1e-9
    )
    flat = np.full((30, 4), 0.1)
    assert np.isnan(pearson_score(flat, p)).all() and np.isnan(r2_score(flat, p)).all()
    np.testing.assert_array_equal(pearson_score(y, flat), 0)


def test_a_perfect_model_of_noisy_responses_reaches_the_ceiling(rng):
    """The model knows the signal exactly: normalised scores are 1, whatever the noise."""
    signal = rng.normal(size=(3000, 12))
    noise = rng.normal(size=(3000, 4, 12)) * np.linspace(0.5, 4, 12)
    responses = tv.load_responses(
        signal[:, None] + noise, ids(3000), axes=("stimulus", "repeat", "target")
    )
    features = tv.Features(signal, ids(3000), "model")
    result = tv.fit_encoding(features, responses, alphas=[1e-3])
    assert result.score("pearson").min() < 0.6
    np.testing.assert_allclose(result.score("pearson_normalised"), 1, atol=0.06)
    np.testing.assert_allclose(result.score("r2_normalised"), 1, atol=0.1)
    assert tv.linear_predictivity(features, responses, alphas=[1e-3]) == pytest.approx(1, abs=0.03)
    true = 1 / (1 + np.linspace(0.5, 4, 12) ** 2 / 4)
    np.testing.assert_allclose(result.score("r2"), true, atol=0.04)


def test_normalisation_by_given_reliabilities(rng):
    x, y = simulated(rng, 10)
    reliability = np.array([0.81, 0.25, 0, -0.3, 1])
    with_given = tv.fit_encoding(x, y, reliability=reliability)
    r, r2 = with_given.score("pearson"), with_given.score("r2")
    expected = r / np.array([0.9, 0.5, np.nan, np.nan, 1])
    known = [0, 1, 4]
    np.testing.assert_allclose(with_given.score("pearson_normalised"), expected)
    np.testing.assert_allclose(
        with_given.score("r2_normalised")[known], r2[known] / reliability[known]
    )
    table = with_given.table.set_index("score")
    assert table.loc["pearson_normalised", "n_undefined"] == 2
    assert table.loc["pearson_normalised", "n_targets"] == 3
    for wrong in (np.full(5, 1.2), np.ones(3)):
        with pytest.raises(InvalidArgument, match="one number per target"):
            tv.fit_encoding(x, y, reliability=wrong)
    with pytest.raises(UnknownName, match="no score 'pearson_normalised'.*reliability"):
        tv.fit_encoding(x, y).score("pearson_normalised")
    assert np.isnan(normalised_pearson(np.array([0.1]), np.array([-1.0]))).all()
    assert normalised_r2(np.array([0.1]), np.array([0.2]))[0] == pytest.approx(0.5)


def test_pooled_scores_are_those_of_all_held_out_predictions(rng):
    x, y = simulated(rng, 10, n_stimuli=40)
    result = tv.fit_encoding(x, y, alphas=[2.0], cv=LeaveOneOut(), average="pooled")
    predicted = np.empty_like(y)
    for train, test in LeaveOneOut().split(x):
        predicted[test] = Ridge(2.0).fit(x[train], y[train]).predict(x[test])
    r = [pearsonr(y[:, t], predicted[:, t])[0] for t in range(5)]
    np.testing.assert_allclose(result.score("pearson"), r, atol=1e-10)
    np.testing.assert_allclose(
        result.score("r2"), sklearn_r2(y, predicted, multioutput="raw_values"), atol=1e-10
    )
    with pytest.raises(InvalidArgument, match='1 test stimulus, too few.*average="pooled"'):
        tv.fit_encoding(x, y, cv=LeaveOneOut())
    with pytest.raises(InvalidArgument, match="2 test stimuli, too few"):
        tv.fit_encoding(x[:10], y[:10], cv=5)


# --- no leakage -------------------------------------------------------------------------


@pytest.mark.parametrize("options", [
    {}, {"standardise": True}, {"reduction": "pca", "n_components": 20},
    {"reduction": "projection", "n_components": 20},
    {"reduction": "pca", "n_components": 20, "standardise": True},
])  # fmt: skip
def test_pure_noise_is_not_predicted(rng, options):
    """Many features, few stimuli: whatever leaks of the test rows would be found at once."""
    x, y = rng.normal(size=(60, 600)), rng.normal(size=(60, 200))
    result = tv.fit_encoding(x, y, **options)
    assert abs(result.score("pearson").mean()) < 0.03
    assert result.score("r2").mean() < 0.01


@pytest.mark.parametrize("options", [
    {"standardise": True}, {"reduction": "pca"}, {"reduction": "projection"},
    {"reduction": "pca", "standardise": True},
])  # fmt: skip
def test_test_rows_do_not_touch_what_is_learnt(rng, options):
    x = rng.normal(size=(30, 400))
    prepare = Preparation(n_components=10, **options)
    train, test = np.arange(20), np.arange(20, 30)
    fitted, applied = prepare(x, train, test)
    changed = x.copy()
    changed[21:] = 1e3 * rng.normal(size=(9, 400))
    again, moved = prepare(changed, train, test)
    np.testing.assert_array_equal(fitted, again)
    np.testing.assert_allclose(applied[0], moved[0], rtol=1e-12)
    np.testing.assert_allclose(fitted.mean(axis=0), 0, atol=1e-6)


@pytest.mark.parametrize("n_features", [10, 300])
@pytest.mark.parametrize("several", ["each", "choose", "bands"])
def test_test_responses_do_not_touch_the_model(rng, n_features, several):
    x, y = simulated(rng, n_features)
    modules = {"a": x, "b": rng.normal(size=(80, 6))}
    folds = [(np.arange(60), np.arange(60, 80))]
    changed = y.copy()
    changed[60:] = rng.normal(size=(20, 5)) * 50
    changed_x = {"a": x.copy(), "b": modules["b"].copy()}
    changed_x["a"][60:] = 100 * rng.normal(size=(20, n_features))
    options = {"cv": folds, "several": several, "n_shares": 5}
    one = tv.fit_encoding(modules, y, **options)
    for other in (
        tv.fit_encoding(modules, changed, **options),
        tv.fit_encoding(changed_x, y, **options),
    ):
        np.testing.assert_allclose(one.alphas, other.alphas, rtol=1e-9)
        if several == "bands":
            np.testing.assert_allclose(one.shares, other.shares, rtol=1e-9)
        if several == "choose":
            np.testing.assert_array_equal(one.chosen, other.chosen)


def test_the_choice_of_a_module_among_noise_is_not_rewarded(rng):
    """The best of many useless modules, chosen on training rows, still predicts nothing."""
    modules = {f"m{number}": rng.normal(size=(40, 5)) for number in range(12)}
    y = rng.normal(size=(40, 100))
    result = tv.fit_encoding(modules, y, several="choose per target")
    assert result.modules[-1] == "(chosen)" and result.chosen.shape == (5, 100)
    assert len(np.unique(result.chosen)) > 3
    assert abs(result.score("pearson", "(chosen)").mean()) < 0.06
    best = np.max([result.score("pearson", name) for name in modules], axis=0)
    assert best.mean() > 0.15  # what choosing afterwards would have claimed


def test_the_right_module_is_chosen(rng):
    good, y = simulated(rng, 10, noise=0.5)
    other, z = simulated(rng, 10, noise=0.5)
    modules = {"bad": rng.normal(size=(80, 20)), "good": good, "other": other}
    shared = tv.fit_encoding(modules, y, several="choose")
    assert (shared.chosen == "good").all()
    np.testing.assert_array_equal(shared.score("r2", "(chosen)"), shared.score("r2", "good"))
    split_up = tv.fit_encoding(modules, np.hstack([y, z]), several="choose per target")
    assert (split_up.chosen[:, :5] == "good").all() and (split_up.chosen[:, 5:] == "other").all()


def test_groups_stay_together(rng):
    x, y = simulated(rng, 10, n_stimuli=40)
    groups = np.repeat(np.arange(8), 5)
    names = ids(40)
    features = tv.Features(x, names, "fc")
    result = tv.fit_encoding(features, tv.Responses(y, names), cv=4, inner_cv=3, alphas=[1.0],
                             groups=dict(zip(names, groups, strict=True)))  # fmt: skip
    expected = list(GroupKFold(4).split(x, groups=groups))
    for fold, (train, test) in enumerate(expected):
        predicted = Ridge(1.0).fit(x[train], y[train]).predict(x[test])
        r2 = sklearn_r2(y[test], predicted, multioutput="raw_values")
        np.testing.assert_allclose(result.fold_scores["r2"][0, fold], r2, atol=1e-10)
    folds = split(40, 4, 3, groups, 0)
    for (train, _), inner in zip(folds.outer, folds.inner, strict=True):
        for fitted, tested in inner:
            assert not set(groups[train[fitted]]) & set(groups[train[tested]])
    with pytest.raises(MismatchError, match="groups lack 1 stimuli: 0.jpg"):
        tv.fit_encoding(features, tv.Responses(y, names), groups=dict.fromkeys(names[1:], 1))


# --- joining ----------------------------------------------------------------------------


def test_stimuli_are_joined_by_id(rng):
    x, y = simulated(rng, 10)
    names, order = ids(80), rng.permutation(80)
    features = tv.Features(x[order], tuple(names[n] for n in order), "fc")
    joined = tv.fit_encoding(features, tv.Responses(y, names, "IT"), alphas=[1.0])
    plain = tv.fit_encoding(x, y, alphas=[1.0])
    np.testing.assert_allclose(joined.score("r2"), plain.score("r2"), atol=1e-12)
    assert joined.provenance["joined_by"] == "id" and joined.provenance["ids"] == names
    assert plain.provenance["joined_by"] == "position" and plain.provenance["ids"] is None
    assert joined.table["reference"].unique().tolist() == ["IT"]


def test_other_ids_are_refused_by_name(rng):
    x, y = simulated(rng, 10, n_stimuli=20)
    features = tv.Features(x, ids(20), "fc")
    responses = tv.Responses(y[1:], (*ids(20)[1:19], "new.jpg"))
    with pytest.raises(
        MismatchError,
        match=r"1 are missing from features of 'fc': new\.jpg\. "
        r"2 are missing from the responses: 0\.jpg, 19\.jpg",
    ):
        tv.fit_encoding(features, responses)
    with pytest.raises(MismatchError, match="cannot be joined by id"):
        tv.fit_encoding(features, y)
    with pytest.raises(MismatchError, match="cannot be joined by id"):
        tv.fit_encoding(x, tv.Responses(y, ids(20)))
    with pytest.raises(MismatchError, match="have 20 rows and the responses 19"):
        tv.fit_encoding(x, y[1:])
    for a, b in ((features, y), (x, tv.Responses(y, ids(20)))):
        said = tv.fit_encoding(a, b, by_position=True, alphas=[1.0])
        assert said.provenance["joined_by"] == "position" and said.provenance["ids"] == ids(20)
    doubled = tv.Features(x, ("0.jpg", *ids(20)[:19]), "fc")
    with pytest.raises(InvalidArgument, match="stand for several rows: 0.jpg"):
        tv.fit_encoding(doubled, tv.Responses(y, ids(20)))
    turned = {"a": features, "b": features.select(ids(20)[::-1])}
    with pytest.raises(MismatchError, match="different orders"):
        tv.fit_encoding(turned, y, by_position=True)


# --- targets ----------------------------------------------------------------------------


def test_blocks_of_targets_change_nothing_but_memory(rng):
    x, y = simulated(rng, 30, n_targets=11)
    y[:, 4] = np.nan
    with pytest.warns(ThingsvisionWarning, match="1 of 11 targets have no score"):
        whole = tv.fit_encoding(x, y, missing="skip")
    with pytest.warns(ThingsvisionWarning):
        parts = tv.fit_encoding(x, y, missing="skip", block=3)
    np.testing.assert_allclose(whole.score("r2"), parts.score("r2"), atol=1e-10)
    np.testing.assert_allclose(whole.alphas, parts.alphas)
    assert np.isnan(whole.score("r2")[4]) and np.isfinite(np.delete(whole.score("r2"), 4)).all()


def test_memory_does_not_grow_with_targets(rng, tmp_path):
    """Beyond its results, some 60 numbers a target here: block and features, no more."""
    x = rng.normal(size=(100, 5))
    peaks = []
    for n_targets in (2_000, 12_000):
        path = tmp_path / f"{n_targets}.npy"
        np.save(path, rng.normal(size=(100, n_targets)).astype(np.float32))
        mapped = tv.Responses(np.load(path, mmap_mode="r"), ids(100))
        features = tv.Features(x, ids(100), "fc")
        tracemalloc.start()
        tv.fit_encoding(features, mapped, alphas=[1.0, 10.0], cv=2, inner_cv=2, block=500)
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert (peaks[1] - peaks[0]) / 10_000 < 400  # bytes a target; its responses alone take 800


def test_nan_targets_are_refused_by_name(rng):
    x, y = simulated(rng, 10)
    y[3, 1] = np.nan
    y[5, 4] = np.inf
    with pytest.raises(InvalidArgument, match=r'2 targets .*: 1, 4\. .*missing="skip"'):
        tv.fit_encoding(x, y)
    named = tv.Responses(y, ids(80), target_names=tuple("vwxyz"))
    with pytest.raises(InvalidArgument, match="w, z"):
        tv.fit_encoding(tv.Features(x, ids(80)), named)


def test_constant_targets_have_no_score(rng):
    x, y = simulated(rng, 10)
    y[:, 2] = 0.1
    for several in ("each", "choose", "choose per target", "bands"):
        modules = {"a": x, "b": x[:, :3]}
        with pytest.warns(
            ThingsvisionWarning, match="1 of 5 targets have no score: 2 are constant over the test"
        ):
            result = tv.fit_encoding(modules, y, several=several, n_shares=2)
        for scores in result.scores.values():
            assert np.isnan(scores[:, 2]).all()
            assert np.isfinite(np.delete(scores, 2, axis=1)).all()
    assert (result.table["n_undefined"] == 1).all()


def test_constant_features_predict_the_mean(rng):
    _, y = simulated(rng, 10)
    for options in ({}, {"standardise": True}, {"reduction": "pca"}):
        with pytest.warns(ThingsvisionWarning, match="features are the same for all .*set to 0"):
            result = tv.fit_encoding(np.full((80, 4), 3.0), y, **options)
        np.testing.assert_array_equal(result.score("pearson"), 0)
        assert (result.score("r2") <= 0).all()


def test_broken_features_are_refused_by_id(rng):
    x, y = simulated(rng, 10)
    x[2, 3] = np.nan
    with pytest.raises(
        InvalidArgument,
        match=r"features of 'fc' hold NaN.* 1 stimuli: 2\.jpg".replace("features", "[Ff]eatures"),
    ):
        tv.fit_encoding(tv.Features(x, ids(80), "fc"), tv.Responses(y, ids(80)))


# --- folds ------------------------------------------------------------------------------


def test_one_fold_is_a_split_into_training_and_test(rng):
    x, y = simulated(rng, 10)
    splitter = ShuffleSplit(1, test_size=0.25, random_state=0)
    result = tv.fit_encoding(x, y, cv=splitter, alphas=[1.0])
    train, test = next(splitter.split(x))
    predicted = Ridge(1.0).fit(x[train], y[train]).predict(x[test])
    np.testing.assert_allclose(
        result.score("r2"), sklearn_r2(y[test], predicted, multioutput="raw_values"), atol=1e-10
    )
    same = tv.fit_encoding(x, y, cv=[(train, test)], alphas=[1.0])
    np.testing.assert_array_equal(same.score("r2"), result.score("r2"))
    fixed = np.full(80, -1)
    fixed[test] = 0
    given = tv.fit_encoding(x, y, cv=PredefinedSplit(fixed), alphas=[1.0])
    np.testing.assert_allclose(given.score("r2"), result.score("r2"), atol=1e-10)
    with pytest.raises(InvalidArgument, match="two folds are the least.*ShuffleSplit"):
        tv.fit_encoding(x, y, cv=1)


@pytest.mark.parametrize(
    ("cv", "reason"),
    [
        (KFold(4, shuffle=True), "other folds each time"),
        (ShuffleSplit(3), "other folds each time"),
        (100, "cannot split 20 rows"),
        ("five", "no number of folds"),
        (3.5, "no number of folds"),
        ([(np.arange(12), np.arange(10, 20))], "2 rows in both parts"),
        ([(np.arange(12), np.arange(12, 25))], "goes beyond 20 rows"),
        ([(np.arange(12), np.arange(0))], "0 test rows"),
        ([], "no fold"),
    ],
)
def test_folds_that_are_none(rng, cv, reason):
    x, y = simulated(rng, 5, n_stimuli=20)
    with pytest.raises(InvalidArgument, match=reason):
        tv.fit_encoding(x, y, cv=cv)


def test_the_same_seed_gives_the_same_numbers(rng):
    x, y = simulated(rng, 300)
    options = {"reduction": "projection", "n_components": 30, "several": "bands", "n_shares": 3}
    modules = {"a": x, "b": x[:, :9]}
    first, again, other = (tv.fit_encoding(modules, y, seed=s, **options) for s in (1, 1, 2))
    np.testing.assert_array_equal(first.score("r2"), again.score("r2"))
    assert (first.score("r2") != other.score("r2")).any()
    assert first.provenance["seed"] == 1
    assert first.provenance["cv"] == "KFold(n_splits=5, random_state=1, shuffle=True)"
    assert first.provenance["reduction"] == "projection"


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({"several": "best"}, "no value of several 'best'"),
        ({"average": "mean"}, "no value of average"),
        ({"missing": "drop"}, "no value of missing"),
        ({"reduction": "ica"}, "no reduction 'ica'"),
        ({"n_components": 0}, "n_components is 0"),
        ({"alphas": [0.0]}, "numbers above zero"),
        ({"alphas": []}, "numbers above zero"),
        ({"block": 0}, "at least one target"),
    ],
)
def test_arguments_that_are_not_allowed(rng, options, reason):
    x, y = simulated(rng, 5, n_stimuli=20)
    with pytest.raises(InvalidArgument, match=reason):
        tv.fit_encoding(x, y, **options)


# --- results ----------------------------------------------------------------------------


def test_tables_are_tidy(rng):
    x, y = simulated(rng, 10)
    provenance = {"model": {"name": "toy/net"}}
    modules = tv.FeatureSet({
        name: tv.Features(x[:, :k], ids(80), name, provenance=provenance)
        for name, k in (("conv", 4), ("fc", 10))
    })  # fmt: skip
    responses = tv.Responses(y, ids(80), "V4", target_names=tuple("vwxyz"))
    result = tv.fit_encoding(modules, responses)
    table = result.table
    assert table.columns.tolist() == [
        "model", "module", "reference", "score", "mean", "median", "n_targets", "n_undefined",
        "n_stimuli", "n_features", "n_folds", "seed",
    ]  # fmt: skip
    assert table["module"].tolist() == ["conv", "conv", "fc", "fc"]
    assert set(table["model"]) == {"toy/net"} and table["n_features"].tolist() == [4, 4, 10, 10]
    assert table.loc[3, "mean"] == pytest.approx(result.score("r2", "fc").mean())
    each = result.per_target()
    assert isinstance(each, pd.DataFrame) and len(each) == 10
    assert each["target"].tolist() == [*"vwxyz", *"vwxyz"]
    np.testing.assert_array_equal(each["pearson"][5:], result.score("pearson", "fc"))
    with pytest.raises(UnknownName, match="no module 'x'"):
        result.score("r2", "x")
    with pytest.raises(UnknownName, match="conv, fc|fc, conv"):
        result.score("r2")


def test_linear_predictivity_is_the_median(rng):
    x, y = simulated(rng, 10)
    value = tv.linear_predictivity(x, y, alphas=[1.0])
    assert value == pytest.approx(np.median(tv.fit_encoding(x, y, alphas=[1.0]).score("pearson")))
    rotated = x @ np.linalg.qr(rng.normal(size=(10, 10)))[0] * 3 - 5
    assert tv.linear_predictivity(rotated, y) == pytest.approx(
        tv.linear_predictivity(x, y), abs=1e-6
    )
    with pytest.raises(InvalidArgument, match="2 were given: a, b"):
        tv.linear_predictivity({"a": x, "b": x}, y)


def test_other_packages_are_asked_for(monkeypatch, rng):
    from thingsvision import optional
    from thingsvision.errors import MissingPackage

    monkeypatch.setattr(optional, "is_installed", lambda package: package != "himalaya")
    x, y = simulated(rng, 5, n_stimuli=20)
    with pytest.raises(MissingPackage, match=r'pip install "\.\[encoding\]"'):
        tv.fit_encoding(x, y)


def test_ratings_of_objects_from_dimensions_of_judgements(shared):
    """THINGS: 66 dimensions predict people's ratings of the same objects, joined by name."""
    folder = shared / "things"
    rows = set()
    for span in (folder / "ambiguous_rows_0based.txt").read_text().split():
        first, _, last = span.partition("-")
        rows |= set(range(int(first), int(last or first) + 1))
    names = (folder / "image_names_1854.txt").read_text().split()
    keep = [row for row in range(1854) if row not in rows]
    array = np.load(folder / "spose66_rescaled_1854x66.npy")[keep]
    features = tv.Features(array, tuple(names[row].rpartition("_")[0] for row in keep), "spose66")
    ratings = tv.load_responses(folder / "animacy.csv").select(features.ids)
    means = [name.endswith("_mean") for name in ratings.target_names]
    ratings = ratings.select_targets(means)
    shuffled = features.select(np.random.default_rng(0).permutation(features.ids).tolist())
    for given in (features, shuffled):  # the order does not matter, the ids do
        result = tv.fit_encoding(given, ratings, cv=3, alphas=[1e3, 1e4])
        found = dict(zip(ratings.target_names, result.score("pearson"), strict=True))
        assert min(found[f"{name}_mean"] for name in ("manmade", "lives", "natural")) > 0.88
        assert all(value > 0.6 for value in found.values())
    mismatched = tv.Features(np.asarray(shuffled), features.ids)
    result = tv.fit_encoding(mismatched, ratings, cv=3, alphas=[1e3, 1e4])
    assert np.abs(result.score("pearson")).max() < 0.15


# --- partition --------------------------------------------------------------------------


def test_commonalities_of_three_sets_drawn_as_circles():
    """Each model explains a set of unit pieces of variance; sizes of unions follow."""
    pieces = {"a": {1, 2, 3, 4}, "b": {3, 4, 5}, "c": {4, 5, 6, 7, 8}}
    explained = {
        chosen: float(len(set().union(*(pieces[name] for name in chosen))))
        for chosen in subsets(list(pieces))
    }
    parts = commonalities(explained)
    assert parts == {
        ("a",): 2, ("b",): 0, ("c",): 3, ("a", "b"): 1, ("a", "c"): 0, ("b", "c"): 1,
        ("a", "b", "c"): 1,
    }  # fmt: skip


@pytest.mark.parametrize("count", [2, 3, 4])
def test_commonalities_sum_up(rng, count):
    sets = subsets(list("abcd")[:count])
    explained = {chosen: rng.random(3) for chosen in sets}
    parts = commonalities(explained)
    assert list(parts) == sets and len(sets) == 2**count - 1
    np.testing.assert_allclose(sum(parts.values()), explained[sets[-1]], atol=1e-12)
    for chosen in sets:  # what a set explains is all parts that touch it
        touched = sum(part for key, part in parts.items() if set(key) & set(chosen))
        np.testing.assert_allclose(touched, explained[chosen], atol=1e-12)


def test_parts_of_simulated_responses(rng):
    a, b, shared = rng.normal(size=(3, 3000, 3))
    y = np.stack([
        a[:, 0] + shared[:, 0], b[:, 1] * 2 + shared[:, 1], rng.normal(size=3000),
    ], axis=1)  # fmt: skip
    table = tv.partition_variance(
        {"A": np.hstack([a, shared]), "B": np.hstack([b, shared])}, y, n_shares=2, cv=3,
        inner_cv=2, alphas=[1e-4, 1e-2, 1.0],
    )  # fmt: skip
    parts = table.pivot(index="target", columns="models", values="part")
    np.testing.assert_allclose(parts["A"], [0.5, 0, 0], atol=0.03)
    np.testing.assert_allclose(parts["B"], [0, 0.8, 0], atol=0.03)
    np.testing.assert_allclose(parts["A & B"], [0.5, 0.2, 0], atol=0.03)
    whole = table[table["models"] == "A & B"].set_index("target")["explained"]
    np.testing.assert_allclose(parts.sum(axis=1), whole, atol=1e-9)
    assert table.attrs["seed"] == 0
    with pytest.raises(InvalidArgument, match="two to four models; 1 were"):
        tv.partition_variance({"A": a}, y)
    with pytest.raises(InvalidArgument, match="no `several`"):
        tv.partition_variance({"A": a, "B": b}, y, several="each")
