"""Dissimilarities against SciPy, closed forms, and what has to hold for any features."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from scipy.spatial.distance import pdist, squareform

from thingsvision.errors import InvalidArgument, UnknownName
from thingsvision.rsa import DISSIMILARITIES, blocked

NAMES = ["correlation", "cosine", "euclidean", "squared_euclidean", "gaussian"]
SCIPY = {
    "correlation": "correlation",
    "cosine": "cosine",
    "euclidean": "euclidean",
    "squared_euclidean": "sqeuclidean",
}
FLOAT32 = 1e-5  # relative error against float64


def relative(found: np.ndarray, true: np.ndarray) -> float:
    off = ~np.eye(len(true), dtype=bool)
    return float(np.max(np.abs(found.astype(np.float64) - true)[off] / true[off]))


def directly(features: np.ndarray, name: str) -> np.ndarray:
    """Each distance by subtraction, in long double."""
    rows = features.astype(np.longdouble)
    if name == "correlation":
        rows = rows - rows.mean(axis=1, keepdims=True)
    if name in ("correlation", "cosine"):
        rows = rows / np.sqrt((rows**2).sum(axis=1, keepdims=True))
    squared = np.stack([((rows - row) ** 2).sum(axis=1) for row in rows])
    if name == "gaussian":
        return -np.expm1(-squared / squared.mean())
    if name == "squared_euclidean":
        return squared
    return np.sqrt(squared) if name == "euclidean" else squared / 2


def square(name: str, features: np.ndarray, **options) -> np.ndarray:
    return squareform(DISSIMILARITIES[name](features, **options))


@pytest.fixture
def features(rng: np.random.Generator) -> np.ndarray:
    return rng.normal(size=(50, 230)) + rng.normal(size=230)


def test_the_table():
    others = ["mahalanobis", "crossnobis", "poisson", "poisson_cv"]
    assert list(DISSIMILARITIES)[:9] == NAMES + others
    with pytest.raises(UnknownName, match=r"no dissimilarity 'cosin'. Nearest: cosine"):
        DISSIMILARITIES["cosin"]


@pytest.mark.parametrize("name", SCIPY)
def test_float64_agrees_with_scipy(features, name):
    true = pdist(features, SCIPY[name])
    np.testing.assert_allclose(DISSIMILARITIES[name](features), true, rtol=1e-10, atol=0)


@pytest.mark.parametrize("name", SCIPY)
@pytest.mark.parametrize("n_features", [2, 3, 230, 60_000])
def test_float32_agrees_with_scipy_in_float64(rng, name, n_features):
    features = rng.normal(size=(40, n_features)).astype(np.float32)
    found = square(name, features)
    true = squareform(pdist(features.astype(np.float64), SCIPY[name]))
    assert found.dtype == np.float32
    # two features only have correlations of -1 and 1
    np.testing.assert_allclose(found, true, rtol=FLOAT32, atol=1e-15 if n_features == 2 else 0)


def test_gaussian_has_its_closed_form(features):
    squared = squareform(pdist(features, "sqeuclidean"))
    true = 1 - np.exp(-squared / squared.mean())
    np.testing.assert_allclose(square("gaussian", features), true, rtol=1e-10)
    two = DISSIMILARITIES["gaussian"](np.array([[0.0, 0.0], [3.0, 4.0]]))
    assert two[0] == pytest.approx(1 - np.exp(-2), rel=1e-14)  # D² = 25, mean D² = 12.5


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("noise", [1e-1, 1e-3, 1e-5])
def test_near_identical_rows_keep_their_digits(rng, name, dtype, noise):
    prototypes = rng.normal(size=(4, 150)).repeat(10, axis=0)
    near = (prototypes + noise * rng.normal(size=(40, 150)) + 3).astype(dtype)
    assert relative(square(name, near), directly(near, name)) < 1e-5


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("dense", [0.002, 1.0])  # many close pairs by products, and by subtraction
def test_distances_of_all_sizes_keep_their_digits(rng, monkeypatch, name, dense):
    monkeypatch.setattr(blocked, "DENSE", dense)
    common, sizes = 5 * np.maximum(rng.normal(size=300), 0), np.logspace(-4, 0.5, 200)[:, None]
    activations = np.maximum(common + sizes * rng.normal(size=(200, 300)), 0)
    clusters = rng.normal(size=(5, 300))[rng.integers(0, 5, 200)]
    for rows in (activations, clusters + sizes * rng.normal(size=(200, 300))):
        single = rows.astype(np.float32)
        assert relative(square(name, single), directly(single, name)) < FLOAT32


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_a_common_part_costs_no_digits(rng, name, dtype):
    shifted = (1000 + rng.normal(size=(60, 150))).astype(dtype)
    assert relative(square(name, shifted), directly(shifted, name)) < 1e-5


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("n_features", [7, 150, 151])
def test_identical_rows_are_exactly_zero_apart(rng, name, dtype, n_features):
    rows = rng.normal(size=(9, n_features)).astype(dtype)
    twice = np.concatenate([rows, rows])
    for layout in (twice, np.asfortranarray(twice)):
        matrix = square(name, layout)
        assert (matrix[:9, 9:].diagonal() == 0).all()
        assert (matrix[0, 1:9] > 0).all()


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_many_bands_give_what_one_gives(rng, monkeypatch, name, dtype):
    features = rng.normal(size=(5, 40))[rng.integers(0, 5, 300)] + 0.01 * rng.normal(size=(300, 40))
    features = features.astype(dtype)
    whole = square(name, features)
    monkeypatch.setattr(blocked, "BAND", 64)
    monkeypatch.setattr(blocked, "BLOCK", 1000)  # three rows, or 25 pairs, at a time
    tolerance = 1e-10 if dtype == np.float64 else FLOAT32
    np.testing.assert_allclose(square(name, features), whole, rtol=tolerance)
    monkeypatch.setattr(blocked, "DENSE", 1.0)  # all close pairs by subtraction
    np.testing.assert_allclose(square(name, features), whole, rtol=tolerance)
    monkeypatch.setattr(blocked, "HELD", 0)  # rows are prepared again for each band
    np.testing.assert_allclose(square(name, features), whole, rtol=tolerance)


@pytest.mark.parametrize("name", [name for name in NAMES if name != "squared_euclidean"])
@pytest.mark.parametrize("scale", [1e-30, 1e18])
def test_squares_neither_overflow_nor_underflow(rng, name, scale):
    features = rng.normal(size=(8, 20)).astype(np.float32)
    scaled = (features * np.float32(scale)).astype(np.float32)
    true = directly(scaled, name)
    assert relative(square(name, scaled), true) < FLOAT32


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        (np.float16, np.float32),
        (np.float32, np.float32),
        (np.float64, np.float64),
        (np.uint8, np.float64),
        (np.int64, np.float64),
        (bool, np.float64),
    ],
)
@pytest.mark.parametrize("name", NAMES)
def test_types(rng, name, given, kept):
    features = (rng.random((6, 30)) > 0.5).astype(given)
    matrix = square(name, features)
    assert matrix.dtype == kept
    np.testing.assert_allclose(matrix, directly(features, name), rtol=1e-5, atol=1e-12)


matrices = hnp.arrays(
    np.float64,
    st.tuples(st.integers(2, 9), st.integers(3, 12)),
    elements=st.integers(-1000, 1000).map(lambda n: n / 8),
).filter(lambda array: (np.ptp(array, axis=1) > 0).all() and np.ptp(array, axis=0).any())


@pytest.mark.parametrize("name", NAMES)
@settings(max_examples=40, deadline=None)
@given(features=matrices, single=st.booleans(), data=st.data())
def test_properties(name, features, single, data):
    features = features.astype(np.float32) if single else features
    matrix = square(name, features)
    assert matrix.shape == (len(features),) * 2
    assert matrix.dtype == features.dtype
    assert (matrix == matrix.T).all()
    assert (matrix.diagonal() == 0).all()
    assert (matrix >= 0).all()
    if "euclidean" not in name:
        assert matrix.max() <= (1 if name == "gaussian" else 2)
    order = data.draw(st.permutations(range(len(features))))
    tolerance = {"rtol": 1e-5 if single else 1e-9, "atol": 1e-12}
    np.testing.assert_allclose(
        square(name, features[order]), matrix[np.ix_(order, order)], **tolerance
    )
    if name in ("correlation", "cosine"):
        scales = np.array([4.0, 0.5, 1024.0, 1.0])[np.arange(len(features)) % 4, None]
        scaled = (features * scales).astype(features.dtype)
        np.testing.assert_allclose(square(name, scaled), matrix, **tolerance)
    if name == "correlation":
        shifted = (features + 16.0).astype(features.dtype)
        np.testing.assert_allclose(square(name, shifted), matrix, rtol=1e-5, atol=1e-12)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_what_is_not_finite_is_refused(features, name, bad):
    features[3, 7] = features[20, 0] = bad
    with pytest.raises(InvalidArgument, match=r"NaN or infinity is found in 2 rows .*: 3, 20\."):
        square(name, features)


def test_undefined_rows_are_refused(features):
    features[4] = 2.5
    with pytest.raises(InvalidArgument, match=r"Correlation is undefined .* 1 rows .*: 4\."):
        DISSIMILARITIES["correlation"](features)
    DISSIMILARITIES["cosine"](features)
    features[[4, 6]] = 0
    with pytest.raises(InvalidArgument, match=r"cosine is undefined .* 2 rows .*: 4, 6\."):
        DISSIMILARITIES["cosine"](features)
    DISSIMILARITIES["euclidean"](features)
    with pytest.raises(InvalidArgument, match="all 3 stimuli have the same features"):
        DISSIMILARITIES["gaussian"](np.ones((3, 4)))


@pytest.mark.parametrize("name", NAMES)
def test_too_few_stimuli_are_refused(name):
    with pytest.raises(InvalidArgument, match="at least two stimuli"):
        DISSIMILARITIES[name](np.ones((1, 4)))


def test_complex_numbers_are_refused():
    with pytest.raises(InvalidArgument, match="complex128 are not real numbers"):
        DISSIMILARITIES["cosine"](np.ones((3, 4), complex))
