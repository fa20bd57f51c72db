"""Scores that mean nothing are told by name: constant responses, features and predictions, NaN."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import pearsonr
from sklearn.dummy import DummyRegressor
from sklearn.model_selection import KFold, LeaveOneOut, cross_val_predict

import thingsvision as tv
from thingsvision.errors import ThingsvisionWarning

pytest.importorskip("himalaya", reason="the extra 'encoding' is absent")


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(0)


def simulated(rng, n_features: int, n_stimuli: int = 80, n_targets: int = 5):
    features = rng.normal(size=(n_stimuli, n_features))
    return features, features[:, :n_targets] + rng.normal(size=(n_stimuli, n_targets))


def ids(count: int) -> tuple[str, ...]:
    return tuple(f"{number}.jpg" for number in range(count))


@pytest.mark.parametrize("several", ["each", "choose", "bands"])
@pytest.mark.parametrize("average", ["folds", "pooled"])
def test_constant_features_are_named(rng, several, average):
    """Pooled folds give them negative correlations, as scikit-learn's do: leaving a stimulus out
    moves the mean away from it."""
    x, y = simulated(rng, 10)
    modules = {"varies": x, "dead": np.full((80, 4), 0.1), "dead too": np.zeros((80, 3))}
    with pytest.warns(ThingsvisionWarning) as warned:
        result = tv.fit_encoding(modules, y, several=several, average=average, n_shares=2)
    (said,) = {str(one.message) for one in warned}
    assert "The features of 'dead', 'dead too' are the same for all stimuli" in said
    if several == "each" and average == "pooled":
        folds = KFold(5, shuffle=True, random_state=0)
        mean = cross_val_predict(DummyRegressor(), modules["dead"], y, cv=folds)
        expected = [pearsonr(a, b)[0] for a, b in zip(y.T, mean.T, strict=True)]
        np.testing.assert_allclose(result.score("pearson", "dead"), expected, atol=1e-9)
        assert (result.score("pearson", "dead") < -0.05).all()


def test_constant_predictions_in_a_fold_are_named(rng):
    """A feature of a single stimulus leaves the predictions of all folds but one constant."""
    x = np.zeros((30, 1))
    x[3] = 1
    y = tv.Responses(rng.normal(size=(30, 3)), ids(30), target_names=("V1", "V2", "V3"))
    with pytest.warns(
        ThingsvisionWarning, match="Predictions are constant .* targets V1, V2, V3 of 'fc'"
    ):
        result = tv.fit_encoding(tv.Features(x, ids(30), "fc"), y)
    assert (result.fold_scores["pearson"] == 0).any()


def test_what_has_no_score_is_named_with_its_reason(rng):
    x, y = simulated(rng, 10)
    y[:, 2], y[3, 1] = 0.1, np.nan
    named = tv.Responses(y, ids(80), target_names=tuple("vwxyz"))
    with pytest.warns(
        ThingsvisionWarning, match=r"2 of 5 targets .*: w hold NaN or infinity; x are constant"
    ):
        tv.fit_encoding(tv.Features(x, ids(80), "fc"), named, missing="skip")


def test_good_data_is_fitted_without_a_warning(rng, recwarn):
    x, y = simulated(rng, 10)
    tv.fit_encoding({"a": x, "b": x[:, :3]}, y, several="choose")
    tv.fit_encoding(x, y, cv=LeaveOneOut(), average="pooled")  # constant in folds of one
    assert not [one for one in recwarn if one.category is ThingsvisionWarning]
