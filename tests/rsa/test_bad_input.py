"""Every public function of RSA and encoding against every kind of bad input: refused in words."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import pytest
from scipy.spatial.distance import pdist, squareform

import thingsvision as tv
from thingsvision.encoding import normalised_pearson, pearson_score, r2_score
from thingsvision.errors import InvalidArgument, MismatchError, ThingsvisionError
from thingsvision.features import Features
from thingsvision.rsa import RDM, cca, cka, compare_rdms, compute_rdm, procrustes, rv
from thingsvision.rsa.clustering import cluster_stimuli
from thingsvision.rsa.matrix import check_matrix

N = 24
IDS = tuple(f"{number}.jpg" for number in range(N))


def row(seed: int = 0, count: int = N) -> np.ndarray:
    return pdist(np.random.default_rng(seed).random((count, 5)))


def changed(places: Any, value: float) -> np.ndarray:
    square = squareform(row())
    square[places] = value
    return square


GOOD = [RDM(row(seed), IDS, name=f"m{seed}") for seed in range(4)]
FEATURES = Features(np.random.default_rng(9).random((N, 6)), IDS)
ANY = Callable[[Any], Any]
# What takes RDMs, as models (m) and as subjects or references (s).
TAKES_RDMS: dict[str, ANY] = {
    "compare_rdms a": lambda x: compare_rdms(x, GOOD[0], by_position=True),
    "compare_rdms b": lambda x: compare_rdms(GOOD[0], x, "spearman", by_position=True),
    "noise_ceiling": lambda x: tv.noise_ceiling([GOOD[0], x], by_position=True),
    "bootstrap m": lambda x: tv.bootstrap(x, GOOD, n_resamples=5, by_position=True),
    "bootstrap s": lambda x: tv.bootstrap(GOOD[0], [GOOD[1], x], n_resamples=5, by_position=True),
    "permutation m": lambda x: tv.permutation_test(x, GOOD, n_permutations=5, by_position=True),
    "permutation s": lambda x: tv.permutation_test(
        GOOD, [GOOD[0], x], n_permutations=5, by_position=True
    ),
    "compare_models m": lambda x: tv.compare_models(
        {"a": x}, GOOD, n_resamples=5, by_position=True
    ),
    "compare_models s": lambda x: tv.compare_models(
        GOOD[0], {"human": [GOOD[1], x]}, n_resamples=5, by_position=True
    ),
    "pairwise m": lambda x: tv.compare_models_pairwise(
        {"a": x, "b": GOOD[0]}, GOOD, n_resamples=5, by_position=True
    ),
    "pairwise s": lambda x: tv.compare_models_pairwise(
        GOOD[:2], [GOOD[2], x], n_resamples=5, by_position=True
    ),
    "choose_module m": lambda x: tv.choose_module([GOOD[0], x], GOOD, by_position=True),
    "choose_module s": lambda x: tv.choose_module(GOOD[:2], [GOOD[2], x], by_position=True),
    "reweighted m": lambda x: tv.compare_reweighted(
        [GOOD[0], x], GOOD[1], alphas=[1], by_position=True
    ),
    "reweighted s": lambda x: tv.compare_reweighted(FEATURES, x, alphas=[1], by_position=True),
    "partition m": lambda x: tv.partition_rdms({"a": GOOD[0], "b": x}, GOOD[1], by_position=True),
    "partition s": lambda x: tv.partition_rdms({"a": GOOD[0], "b": GOOD[1]}, x, by_position=True),
    "cluster_stimuli": lambda x: cluster_stimuli([GOOD[0], x]),
}
BAD_RDMS: dict[str, tuple[Any, str]] = {
    "another size": (row(count=20), "different numbers of stimuli .* 20"),
    "other ids": (
        RDM(row(), ("z.jpg", *IDS[1:])),
        r"different stimuli.*(0\.jpg.*z|z\.jpg.*0)\.jpg",
    ),
    "no pairs": (np.ones(7), "7 values, which is no number of pairs"),
    "not symmetric": (changed((0, 1), 9), "not symmetric: the two halves differ"),
    "diagonal": (changed((2, 2), 1), "not zero on its diagonal.*similarity"),
    "negative": (changed(([0, 3], [3, 0]), -1), r"negative values \(down to -1\) between 0 – 3"),
    "negative pairs": (row() - 1, r"negative values .*between 0 – \d.*'crossnobis'"),
    "NaN": (changed(([1, 3], [3, 1]), np.nan), "NaN or infinity between 1 – 3"),
    "texts": (row().astype(str), "holds <U32, not real numbers"),
    "objects": (np.array([None] * 276), "holds object, not real numbers"),
    "complex": (row() + 1j, "holds complex128, not real numbers"),
    "masked": (np.ma.masked_array(row(), mask=[True] * 2 + [False] * 274), "2 masked values"),
    "ragged": ([[1.0, 2.0], [3.0]], "its parts differ in shape"),
    "a path": ("human.mat", "'human.mat', which is no RDM"),
    "nothing": (None, "None, which is no RDM"),
    "features": (FEATURES, r"Features\('', 24 × 6, float64\), which is no RDM"),
}
NEED_VARIANCE = [name for name in TAKES_RDMS if name != "cluster_stimuli"]


@pytest.mark.parametrize("kind", BAD_RDMS)
@pytest.mark.parametrize("function", TAKES_RDMS)
def test_what_is_no_rdm_is_refused_everywhere(function: str, kind: str) -> None:
    value, words = BAD_RDMS[kind]
    with pytest.raises(ThingsvisionError, match=words):
        TAKES_RDMS[function](value)


@pytest.mark.parametrize("function", NEED_VARIANCE)
def test_constant_rdms_are_refused_everywhere(function: str) -> None:
    with pytest.raises(InvalidArgument, match="without variance .*: "):
        TAKES_RDMS[function](np.ones(276))


@pytest.mark.parametrize("function", NEED_VARIANCE)
def test_an_array_is_not_joined_to_ids_in_silence(function: str) -> None:
    calls: dict[str, ANY] = {
        "m": lambda x: compare_rdms([x, GOOD[0]], GOOD[1]),
        "s": lambda x: tv.compare_models(GOOD[0], [GOOD[1], x], n_resamples=5),
    }
    for call in calls.values():
        with pytest.raises(MismatchError, match="names its stimuli and .* by_position=True"):
            call(row())
    assert TAKES_RDMS[function](row()) is not None


FEW = {
    "compare_rdms": lambda x: compare_rdms(x, x),
    "noise_ceiling": lambda x: tv.noise_ceiling([x, x]),
    "bootstrap": lambda x: tv.bootstrap(x, [x, x]),
    "permutation_test": lambda x: tv.permutation_test(x, [x, x]),
    "compare_models": lambda x: tv.compare_models(x, [x, x]),
    "compare_models_pairwise": lambda x: tv.compare_models_pairwise([x, x], [x, x]),
    "choose_module": lambda x: tv.choose_module([x, x], [x, x]),
    "compare_reweighted": lambda x: tv.compare_reweighted({"a": x, "b": x}, x),
    "partition_rdms": lambda x: tv.partition_rdms({"a": x, "b": x}, x),
}


@pytest.mark.parametrize("function", FEW)
def test_fewer_than_four_stimuli_are_refused(function: str) -> None:
    words = r"(There are 3 stimuli; four are the least|of 3 stimuli would mean nothing.*at least)"
    with pytest.raises(InvalidArgument, match=words):
        FEW[function](np.array([1.0, 2.0, 4.0]))


@pytest.mark.parametrize(
    "call",
    [
        lambda: tv.noise_ceiling(GOOD[0]),
        lambda: tv.noise_ceiling([GOOD[0]]),
        lambda: tv.bootstrap(GOOD[1], GOOD[0]),
        lambda: tv.compare_models(GOOD[1], GOOD[0], resample="both"),
        lambda: tv.compare_models_pairwise(GOOD[:2], GOOD[0], resample="subjects"),
        lambda: tv.choose_module(GOOD[1:], GOOD[0]),
    ],
)
def test_one_subject_where_two_are_needed(call: Callable[[], Any]) -> None:
    with pytest.raises(InvalidArgument, match="There is 1 subject, and 2 are needed.*as a list"):
        call()


def test_one_model_where_several_are_needed() -> None:
    with pytest.raises(InvalidArgument, match="One model has nothing to be compared with"):
        tv.compare_models_pairwise(GOOD[0], GOOD)
    with pytest.raises(InvalidArgument, match="One module leaves nothing to choose"):
        tv.choose_module(GOOD[0], GOOD)
    with pytest.raises(InvalidArgument, match="among two to four models; 1 were given"):
        tv.partition_rdms({"a": GOOD[0]}, GOOD[1])
    for empty in ([], {}, np.zeros((0, 276))):
        with pytest.raises(InvalidArgument, match="holds no RDM; give at least one"):
            compare_rdms(empty, GOOD[0])


def test_subjects_on_the_last_axis_are_pointed_out() -> None:
    rows = np.stack([row(seed) for seed in range(6)])
    squares = np.stack([squareform(one) for one in rows])
    with pytest.raises(InvalidArgument, match=r"\(24, 24, 6\).*np.moveaxis\(subject_rdms, 2, 0\)"):
        tv.noise_ceiling(np.moveaxis(squares, 0, -1))
    # Six values are the pairs of four stimuli: read as rows, this was a ceiling of 276 subjects.
    with pytest.raises(InvalidArgument, match=r"\(276, 6\), .*one RDM a column.*subject_rdms.T"):
        tv.noise_ceiling(rows.T)
    assert tv.noise_ceiling(rows) == tv.noise_ceiling(squares)
    many = list(np.random.default_rng(0).random((276, 6)))  # said so, they are taken
    assert np.isfinite(tv.noise_ceiling(many)).all()


def test_tensors_lists_and_arrays_of_all_kinds_are_taken() -> None:
    torch = pytest.importorskip("torch")
    values, other = row(), row(1)
    fixed = values.copy()
    fixed.setflags(write=False)
    expected = compare_rdms(values, other)
    for given in (
        torch.tensor(values), torch.tensor(squareform(values), requires_grad=True),
        values.tolist(), squareform(values).tolist(), fixed, pd.Series(values),
        np.ma.masked_array(values), values.astype(">f8"), squareform(values, "tomatrix").T,
    ):  # fmt: skip
        assert compare_rdms(given, other) == pytest.approx(expected, abs=1e-12)
    half = torch.tensor(values).to(torch.bfloat16)
    assert compare_rdms(half, other) == pytest.approx(expected, abs=0.02)
    counts = np.round(values * 100).astype(int)
    assert compare_rdms(counts, other) == pytest.approx(expected, abs=0.01)
    x = torch.tensor(np.asarray(FEATURES), requires_grad=True)
    np.testing.assert_allclose(np.asarray(compute_rdm(x)), np.asarray(compute_rdm(FEATURES)))


def test_tables_are_joined_by_the_names_of_their_rows() -> None:
    square, order = squareform(row()), np.random.default_rng(0).permutation(N)
    names = [IDS[k] for k in order]
    table = pd.DataFrame(square, IDS, IDS)
    shuffled = table.loc[names, names]
    expected = compare_rdms(GOOD[1], GOOD[0])
    for given in (shuffled, RDM.from_matrix(shuffled)):
        assert compare_rdms(GOOD[1], given) == pytest.approx(expected, abs=1e-12)
    assert compare_rdms(table, shuffled) == pytest.approx(1)
    assert tv.noise_ceiling([table, shuffled, table]).lower == pytest.approx(1)
    with pytest.raises(InvalidArgument, match="columns otherwise than its rows.*table.loc"):
        compare_rdms(table.loc[names], GOOD[0])
    with pytest.raises(InvalidArgument, match="names its stimuli itself"):
        RDM.from_matrix(shuffled, IDS)
    assert RDM.from_matrix(pd.DataFrame(square)).ids is None
    assert RDM.from_matrix(pd.DataFrame(square), IDS).ids == IDS


def test_tables_of_features_and_responses_are_joined_by_the_names_of_their_rows() -> None:
    table = pd.DataFrame(np.asarray(FEATURES), IDS)
    shuffled = table.sample(frac=1, random_state=0)
    assert compute_rdm(shuffled).ids == tuple(shuffled.index)
    other = Features(np.random.default_rng(1).random((N, 4)) + np.asarray(FEATURES)[:, :4], IDS)
    for measure in (cka, cca):
        assert measure(shuffled, other) == pytest.approx(measure(FEATURES, other), rel=1e-9)
    scores = [tv.fit_encoding(one, other, alphas=[1]).table for one in (table, shuffled)]
    pd.testing.assert_frame_equal(*scores)
    assert tv.load_responses(shuffled).ids == tuple(shuffled.index)
    with pytest.raises(InvalidArgument, match="names its stimuli itself"):
        tv.load_responses(shuffled, IDS)
    columns = tv.load_responses(table.T, IDS, axes=("target", "stimulus"))
    np.testing.assert_array_equal(columns.array, np.asarray(FEATURES))
    with pytest.raises(InvalidArgument, match="hold no numbers: kind"):
        compute_rdm(table.assign(kind="animal"))
    assert compute_rdm(table.reset_index(drop=True)).ids is None


def test_doubled_ids_are_not_joined() -> None:
    values = np.asarray(FEATURES)
    one = Features(values, ("1.jpg", *IDS[1:]))
    other = Features(values, (*IDS[1:], "1.jpg"))
    with pytest.raises(InvalidArgument, match="x has ids that stand for several stimuli: 1.jpg"):
        cka(one, other)
    with pytest.raises(InvalidArgument, match="stand for several rows: 1.jpg"):
        tv.fit_encoding(one, FEATURES)
    for doubled in (one, other):
        with pytest.raises(InvalidArgument, match="stand for several stimuli: 1.jpg"):
            compute_rdm(doubled)
    with pytest.raises(InvalidArgument, match=r"ids that are no texts: 0, 1, .*str\(id\)"):
        RDM(row(), tuple(range(N)))  # type: ignore[arg-type]


TAKES_FEATURES: dict[str, ANY] = {
    "compute_rdm": compute_rdm,
    "cka": lambda x: cka(x, FEATURES, by_position=True),
    "cka rbf": lambda x: cka(FEATURES, x, "rbf", by_position=True),
    "cca": lambda x: cca(x, FEATURES, by_position=True),
    "rv": lambda x: rv(x, FEATURES, by_position=True),
    "procrustes": lambda x: procrustes(FEATURES, x, by_position=True),
    "fit_encoding": lambda x: tv.fit_encoding(x, FEATURES, by_position=True),
    "fit_encoding responses": lambda x: tv.fit_encoding(FEATURES, x, by_position=True),
    "linear_predictivity": lambda x: tv.linear_predictivity(x, FEATURES, by_position=True),
    "partition_variance": lambda x: tv.partition_variance(
        {"a": x, "b": FEATURES}, FEATURES, by_position=True
    ),
}
TAKES_FEATURES = {
    **TAKES_FEATURES,
    "compare_reweighted": lambda x: tv.compare_reweighted(x, GOOD[0], by_position=True),
}
VALUES = np.asarray(FEATURES)
BROKEN = np.where(np.arange(N)[:, None] == 5, np.nan, VALUES)
BAD_FEATURES: dict[str, tuple[Any, str]] = {
    "NaN": (BROKEN, r"NaN or infinity.* (5|0, 1, 2, 3, 4, 5)\b"),
    "infinity": (np.where(np.isnan(BROKEN), np.inf, VALUES), "NaN or infinity"),
    "texts": (VALUES.astype(str), "<U32"),
    "objects": (VALUES.astype(object), "object"),
    "complex": (VALUES + 1j, "complex128"),
    "masked": (np.ma.masked_array(VALUES, mask=VALUES > 0.9), r"\d+ masked values"),
    "ragged": ([[1.0, 2.0], [3.0]], "its parts differ in shape"),
    "a path": ("features.npy", r"(shape \(\)|'features.npy')"),
    "nothing": (None, r"(shape \(\)|None)"),
    "empty": (np.zeros((0, 6)), r"(\(0, 6\)|have 0 rows)"),
}


@pytest.mark.parametrize("kind", BAD_FEATURES)
@pytest.mark.parametrize("function", TAKES_FEATURES)
def test_what_are_no_features_is_refused_everywhere(function: str, kind: str) -> None:
    value, words = BAD_FEATURES[kind]
    with pytest.raises(ThingsvisionError, match=words):
        TAKES_FEATURES[function](value)


@pytest.mark.parametrize("function", [name for name in TAKES_FEATURES if "reweig" not in name])
def test_rdms_are_no_features(function: str) -> None:
    with pytest.raises(InvalidArgument, match="(holds dissimilarities|is an RDM already)"):
        TAKES_FEATURES[function](GOOD[0])
    with pytest.raises(InvalidArgument, match="2 RDMs already, not features"):
        compute_rdm(GOOD[:2])


def test_constant_features_are_named() -> None:
    values = VALUES.copy()
    values[[3, 7]] = 1.5
    with pytest.raises(InvalidArgument, match=r"undefined .* 2 stimuli: 3\.jpg, 7\.jpg"):
        compute_rdm(Features(values, IDS))
    with pytest.raises(InvalidArgument, match="same for all stimuli"):
        cka(np.ones((N, 3)), VALUES)


@pytest.mark.parametrize("scale", [1e-200, 1e200])
def test_the_scale_of_activations_does_not_matter(scale: float) -> None:
    """Squares out of range made NaN, infinity and 0 of these."""
    other = np.random.default_rng(1).random((N, 4))
    for measure in (cka, rv, procrustes, cca, lambda x, y: cka(x, y, "rbf")):
        assert measure(VALUES * scale, other) == pytest.approx(measure(VALUES, other), rel=1e-9)


def test_scores_refuse_what_does_not_fit() -> None:
    y = VALUES[:, :2]
    for score in (r2_score, pearson_score):
        np.testing.assert_allclose(score(y.tolist(), y.tolist()), 1)
        for other in (y[:9], y[:, :1], y[:, 0], y[:1]):
            with pytest.raises(InvalidArgument, match="of the same stimuli, two or more"):
                score(y[: len(other)] if len(other) == 1 else y, other)
        with pytest.raises(InvalidArgument, match="predicted of shape .* holds <U32"):
            score(y, y.astype(str))
        broken = y.copy()
        broken[3, 1] = np.nan
        for pair in ((y, broken), (broken, y)):
            np.testing.assert_array_equal(np.isnan(score(*pair)), [False, True])
    with pytest.raises(InvalidArgument, match="reliability of shape .* holds <U1"):
        normalised_pearson([0.5], ["a"])


def test_matrices_of_more_than_one_tile_are_seen_whole() -> None:
    square = squareform(np.random.default_rng(0).random(1030 * 1029 // 2))
    check_matrix(square, "it")
    square[1029, 1] += 3
    with pytest.raises(InvalidArgument, match="it is not symmetric: .* by up to 3"):
        check_matrix(square, "it")
