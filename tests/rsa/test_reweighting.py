"""Reweighted RSA and the partition of variance among RDMs, against SciPy and closed forms."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from scipy.optimize import nnls
from scipy.spatial.distance import pdist, squareform
from scipy.stats import pearsonr, spearmanr
from sklearn.decomposition import PCA
from sklearn.linear_model import LinearRegression
from sklearn.model_selection import KFold

import thingsvision as tv
from thingsvision.errors import InvalidArgument, MismatchError, UnknownName
from thingsvision.rsa.reweighting import nonnegative_weights

IDS = tuple(f"{number}.jpg" for number in range(30))
CV = KFold(3, shuffle=True, random_state=1)


def per_feature(features: np.ndarray) -> np.ndarray:
    """Squared differences of each feature, (n_pairs, n_features)."""
    return np.stack([pdist(column[:, None], "sqeuclidean") for column in features.T], axis=1)


def weighted(features: np.ndarray, weights) -> np.ndarray:
    return squareform(per_feature(features) @ np.asarray(weights, float))


@pytest.fixture
def features(rng) -> np.ndarray:
    return rng.normal(size=(30, 6)) * [1, 2, 0.1, 1, 5, 1]


def test_without_a_penalty_it_is_nonnegative_least_squares(rng, features):
    """The offset is free: SciPy's solver gets it as two columns of opposite sign."""
    reference = weighted(features, [1, 0, 50, 0.3, 0, 2]) + np.abs(squareform(rng.normal(size=435)))
    result = tv.compare_reweighted(features, reference, alphas=[0], cv=CV)
    for fold, (train, test) in enumerate(CV.split(features)):
        design = per_feature(features[train])
        ones = np.ones((len(design), 1))
        truth = squareform(reference[np.ix_(train, train)])
        weights = nnls(np.hstack([design, ones, -ones]), truth)[0][:-2]
        np.testing.assert_allclose(result.weights[fold, 0], weights, rtol=1e-5, atol=1e-8)
        shown = squareform(reference[np.ix_(test, test)])
        row = result.folds.iloc[fold]
        held_out = per_feature(features[test])
        assert row["estimate"] == pytest.approx(pearsonr(held_out @ weights, shown)[0], abs=1e-6)
        assert row["equal_weights"] == pytest.approx(
            pearsonr(pdist(features[test], "sqeuclidean"), shown)[0], abs=1e-9
        )
        assert row["n_pairs"] == 45 and row["n_weights"] == (weights > 1e-9).sum()


@pytest.mark.parametrize("shrink", ["equal", "zero"])
def test_a_penalty_adds_rows_to_least_squares(rng, shrink):
    design, aim = rng.random((40, 5)) * [1, 10, 0.1, 1, 0], rng.random(40)
    aim += design @ [1, 1, 1, 0.2, 0]
    centred, target = design - design.mean(0), aim - aim.mean()
    lengths = np.linalg.norm(centred, axis=0)
    size = np.sqrt(0.3 * np.mean(lengths[:4] ** 2))
    whole = centred.sum(axis=1)
    centre = whole @ target / (whole @ whole) if shrink == "equal" else 0
    tall = np.vstack([centred[:, :4], size * np.eye(4)])
    expected = nnls(tall, np.append(target, size * centre * np.ones(4)))[0]
    products, mixed = centred.T @ centred, centred.T @ target
    found = nonnegative_weights(products, mixed, lengths, 0.3, shrink)
    np.testing.assert_allclose(found[:4], expected, rtol=1e-6, atol=1e-10)
    assert found[4] == 0
    far = nonnegative_weights(products, mixed, lengths, 1e9, shrink)[:4]
    np.testing.assert_allclose(far, centre, rtol=1e-6, atol=1e-7)


def test_known_weights_are_recovered_on_held_out_stimuli(features):
    true = [3, 0, 20, 0, 0, 1]
    result = tv.compare_reweighted(features, weighted(features, true), alphas=[0])
    np.testing.assert_allclose(result.weights.mean(axis=(0, 1)), true, atol=1e-4)
    assert result.table.loc[0, "estimate"] == pytest.approx(1, abs=1e-6)
    assert result.table.loc[0, "equal_weights"] < 0.5


def test_the_common_scale_of_features_does_not_matter(rng, features):
    reference = weighted(features, [1, 0, 50, 0.3, 0, 2]) + squareform(rng.random(435) * 5)
    one, other = (tv.compare_reweighted(x, reference) for x in (features, features * 100 - 4))
    np.testing.assert_allclose(one.folds["estimate"], other.folds["estimate"], atol=1e-6)


def test_noise_gains_nothing_on_held_out_stimuli(rng):
    """Many features and a random RDM: reweighting on all pairs would fit it, these folds do not."""
    features = rng.normal(size=(40, 60))
    references = [squareform(rng.random(780)) for _ in range(12)]
    result = tv.compare_reweighted(features, references, cv=4, inner_cv=3)
    assert abs(result.table["estimate"].mean()) < 0.06
    assert (result.folds["n_weights"] > 0).any()
    design, truth = per_feature(features), squareform(references[0])
    fitted = nnls(design - design.mean(0), truth - truth.mean())[0]
    assert pearsonr(design @ fitted, truth)[0] > 0.1  # what fitting and testing alike would claim


def test_test_stimuli_do_not_touch_the_weights(rng, features):
    reference = squareform(rng.random(435))
    folds = [(np.arange(20), np.arange(20, 30))]
    changed, other = reference.copy(), features.copy()
    changed[20:, :] = changed[:, 20:] = 3
    np.fill_diagonal(changed, 0)
    changed[:20, :20] = reference[:20, :20]
    changed[21, 20] = changed[20, 21] = 4  # so that it is no constant
    other[20:] *= 50
    for components in (None, 3):
        options = {"cv": folds, "n_components": components}
        one = tv.compare_reweighted(features, reference, **options)
        for again in (
            tv.compare_reweighted(features, changed, **options),
            tv.compare_reweighted(other, reference, **options),
        ):
            np.testing.assert_allclose(one.weights, again.weights, rtol=1e-9)
            np.testing.assert_array_equal(one.folds["alpha"], again.folds["alpha"])


def test_principal_components_are_those_of_the_training_stimuli(rng):
    features = rng.normal(size=(30, 100))
    reference = squareform(pdist(features[:, :3]) + rng.random(435))
    result = tv.compare_reweighted(features, reference, n_components=5, alphas=[0], cv=CV)
    train, _ = next(CV.split(features))
    pca = PCA(5, svd_solver="full").fit(features[train])
    design = per_feature(pca.transform(features[train]))
    ones = np.ones((len(design), 1))
    truth = squareform(reference[np.ix_(train, train)])
    weights = nnls(np.hstack([design, ones, -ones]), truth)[0][:-2]
    np.testing.assert_allclose(result.weights[0, 0], weights, rtol=1e-5, atol=1e-8)
    assert result.components == ("0", "1", "2", "3", "4")
    every = tv.compare_reweighted(features, reference, n_components=100, cv=CV)
    assert every.weights.shape == (3, 1, 19)  # no more than training stimuli but one


def test_rdms_are_weighted_too(rng):
    a, b, c = rng.random((3, 435))
    models = {"a": tv.RDM(a, IDS), "b": tv.RDM(b, IDS), "c": tv.RDM(c, IDS)}
    order = rng.permutation(30)
    reference = tv.RDM.from_matrix(squareform(2 * a + 0.5 * c), IDS, name="human")
    shuffled = reference.select([IDS[n] for n in order])
    for target in (reference, shuffled):
        result = tv.compare_reweighted(models, target, alphas=[0], cv=3)
        assert result.components == ("a", "b", "c")
        np.testing.assert_allclose(result.weights[:, 0], [[2, 0, 0.5]] * 3, atol=1e-6)
        assert result.table.loc[0, "reference"] == "human"
        assert result.table.loc[0, "model"] == "a + b + c"
    as_list = tv.compare_reweighted(list(models.values()), reference, alphas=[0], cv=3)
    np.testing.assert_allclose(as_list.weights, result.weights, atol=1e-6)


def test_subjects_are_fitted_one_by_one(rng, features):
    subjects = [weighted(features, rng.random(6)) + squareform(rng.random(435)) for _ in range(3)]
    many = tv.compare_reweighted(features, subjects, comparison="spearman", cv=CV)
    assert len(many.table) == 3 and len(many.folds) == 9
    for number, subject in enumerate(subjects):
        alone = tv.compare_reweighted(features, subject, comparison="spearman", cv=CV)
        assert many.table.loc[number, "estimate"] == pytest.approx(alone.table.loc[0, "estimate"])
    row = alone.folds.iloc[0]
    _, test = next(CV.split(features))
    expected = spearmanr(
        per_feature(features[test]) @ alone.weights[0, 0],
        squareform(subjects[-1][np.ix_(test, test)]),
    )
    assert row["estimate"] == pytest.approx(expected[0], abs=1e-9)


def test_joining_and_bad_input(rng, features):
    reference = tv.RDM(rng.random(435), IDS)
    named = tv.Features(features, IDS, "fc", provenance={"model": {"name": "net"}})
    result = tv.compare_reweighted(named, reference)
    assert result.provenance["joined_by"] == "id"
    assert result.table.loc[0, ["model", "module"]].tolist() == ["net", "fc"]
    turned = tv.compare_reweighted(named, reference.select(IDS[::-1]))
    np.testing.assert_allclose(turned.weights, result.weights)
    with pytest.raises(MismatchError, match="cannot be joined by id"):
        tv.compare_reweighted(features, reference)
    assert tv.compare_reweighted(features, reference, by_position=True).provenance["ids"] is None
    other = tv.RDM(rng.random(435), (*IDS[:29], "new.jpg"))
    told = r"missing from reference: 29\.jpg.*the features: new\.jpg"
    with pytest.raises(MismatchError, match=told):
        tv.compare_reweighted(named, other)
    with pytest.raises(MismatchError, match="different numbers"):
        tv.compare_reweighted(features[:20], squareform(rng.random(435)))
    broken = features.copy()
    broken[4, 1] = np.nan
    with pytest.raises(InvalidArgument, match=r"NaN or infinity for: 4\.jpg"):
        tv.compare_reweighted(tv.Features(broken, IDS), reference)
    with pytest.raises(InvalidArgument, match="part of 2 stimuli"):
        tv.compare_reweighted(features[:8], squareform(rng.random(28)), cv=4)
    with pytest.raises(InvalidArgument, match="at least 6"):
        tv.compare_reweighted(features[:5], squareform(rng.random(10)))
    with pytest.raises(InvalidArgument, match="numbers from 0"):
        tv.compare_reweighted(named, reference, alphas=[-1])
    with pytest.raises(UnknownName, match="no value of shrink 'one'"):
        tv.compare_reweighted(named, reference, shrink="one")
    with pytest.raises(UnknownName, match="no comparison"):
        tv.compare_reweighted(named, reference, comparison="parson")


def test_human_judgements_of_48_objects(things):
    """With fewer stimuli than dimensions, weights drawn to zero lose; drawn to equal ones, not."""
    table = pd.read_csv(things / "spose_embedding66d_rescaled_48val_reordered.csv")
    names = (things / "names48.txt").read_text().split()
    array = table[[str(number) for number in range(66)]].to_numpy(float)
    features = tv.Features(array, tuple(table["image_name"]), "spose")
    human = tv.load_rdm(things / "RDM48_triplet_48x48.npy", ids=names)
    equal, zero = (
        tv.compare_reweighted(features, human, shrink=shrink).table.iloc[0]
        for shrink in ("equal", "zero")
    )
    assert equal["equal_weights"] == pytest.approx(0.69, abs=0.02)
    assert equal["estimate"] > equal["equal_weights"] - 0.02
    assert equal["estimate"] > zero["estimate"]


# --- variance partitioning --------------------------------------------------------------


def r2(columns: list[np.ndarray], truth: np.ndarray) -> float:
    x = np.stack(columns, axis=1)
    return LinearRegression().fit(x, truth).score(x, truth)


def test_parts_of_two_models_in_closed_form(rng):
    a, b, truth = rng.random((3, 435))
    b, truth = b + a, truth + 3 * a + b
    table = tv.partition_rdms({"a": a, "b": b}, truth, cv=None, nonnegative=False)
    both, alone_a, alone_b = r2([a, b], truth), r2([a], truth), r2([b], truth)
    np.testing.assert_allclose(
        table["part"], [both - alone_b, both - alone_a, alone_a + alone_b - both], atol=1e-10
    )
    np.testing.assert_allclose(table["explained"], [alone_a, alone_b, both], atol=1e-10)
    assert table["models"].tolist() == ["a", "b", "a & b"]
    positive = tv.partition_rdms({"a": a, "b": b}, truth, cv=None)
    np.testing.assert_allclose(positive["part"], table["part"], atol=1e-8)


@pytest.mark.parametrize("count", [2, 3, 4])
@pytest.mark.parametrize("cv", [None, 4])
def test_parts_sum_up(rng, count, cv):
    rows = rng.random((count, 435))
    models = dict(zip("abcd", rows, strict=False))
    references = {"s1": rows.sum(axis=0) + rng.random(435), "s2": rng.random(435)}
    table = tv.partition_rdms(models, references, cv=cv)
    assert len(table) == 2 * (2**count - 1)
    for _, of_one in table.groupby("reference"):
        assert of_one["part"].sum() == pytest.approx(of_one["explained"].iloc[-1], abs=1e-9)


def test_an_identical_model_has_no_part_of_its_own(rng):
    a = rng.random(435)
    table = tv.partition_rdms({"a": a, "same": a * 2 + 1}, a + 0.3 * rng.random(435))
    parts = table.set_index("models")["part"]
    np.testing.assert_allclose(parts[["a", "same"]], 0, atol=1e-9)
    assert parts["a & same"] > 0.8


def test_cross_validation_does_not_reward_noise(rng):
    """Sixty random RDMs as one model explain a random RDM, but not that of other stimuli."""
    noise = [squareform(rng.random(780)) for _ in range(60)]
    models = {"noise": noise, "one": squareform(rng.random(780))}
    truth = squareform(rng.random(780))
    fitted = tv.partition_rdms(models, truth, cv=None, nonnegative=False)
    held_out = tv.partition_rdms(models, truth, cv=4, nonnegative=False)
    assert fitted["explained"].iloc[-1] > 0.05 > held_out["explained"].iloc[-1]


def test_held_out_variance_of_one_fold(rng):
    a, b = (squareform(rng.random(435)) for _ in range(2))
    truth = a * 2 + b + squareform(rng.random(435))
    train, test = np.arange(18), np.arange(18, 30)
    table = tv.partition_rdms({"a": a, "b": b}, truth, cv=[(train, test)], nonnegative=False)

    def among(matrix, rows):
        return squareform(matrix[np.ix_(rows, rows)])

    model = LinearRegression().fit(
        np.stack([among(a, train), among(b, train)], 1), among(truth, train)
    )
    expected = model.score(np.stack([among(a, test), among(b, test)], 1), among(truth, test))
    assert table["explained"].iloc[-1] == pytest.approx(expected, abs=1e-10)


def test_what_cannot_be_partitioned(rng):
    a, b = rng.random((2, 435))
    with pytest.raises(InvalidArgument, match="two to four models; 1 were given"):
        tv.partition_rdms({"a": a}, b)
    with pytest.raises(InvalidArgument, match="two to four models; 5 were given"):
        tv.partition_rdms(dict.fromkeys("abcde", a), b)
    with pytest.raises(InvalidArgument, match="mapping from name"):
        tv.partition_rdms([a, b], b)
    with pytest.raises(InvalidArgument, match="without variance.*reference"):
        tv.partition_rdms({"a": a, "b": b}, np.ones(435))
    with pytest.raises(MismatchError, match="cannot be joined by id"):
        tv.partition_rdms({"a": tv.RDM(a, IDS), "b": tv.RDM(b, IDS)}, a)
    joined = tv.partition_rdms({"a": tv.RDM(a, IDS), "b": tv.RDM(b, IDS)}, tv.RDM(a, IDS))
    assert joined.attrs["joined_by"] == "id" and joined.attrs["cv"].startswith("KFold")
