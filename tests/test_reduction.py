"""Reductions: the same on arrays and tensors, every row by itself."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from thingsvision.errors import InvalidArgument, UnknownName
from thingsvision.reduction import (
    REDUCTIONS,
    Activation,
    TokenLayout,
    bind_reductions,
    flatten,
    reductions_for,
)


@given(st.lists(st.integers(0, 4), min_size=0, max_size=4), st.integers(0, 3))
def test_flatten_lays_each_row_out_in_c_order(shape, count):
    array = np.arange(count * int(np.prod(shape, dtype=int)), dtype=np.float32)
    array = array.reshape(count, *shape)
    flat = flatten(array)
    assert flat.shape == (count, int(np.prod(shape, dtype=int)))
    for row, whole in zip(flat, array, strict=True):
        assert list(row) == [whole[index] for index in np.ndindex(*shape)]
    assert np.array_equal(flatten(torch.from_numpy(array)).numpy(), flat)


MAP = Activation(("stimulus", "channel", "height", "width"), (3, 4, 2))
LAST = Activation(("stimulus", "height", "width", "channel"), (4, 2, 3))
CLIP = Activation(("stimulus", "channel", "time", "height", "width"), (3, 2, 4, 5))
LAYOUT = TokenLayout(("cls", "register", "register"), 4)
TOKENS = Activation(("stimulus", "token", "channel"), (7, 5), LAYOUT)
SIDEWAYS = Activation(("stimulus", "channel", "token"), (5, 7), LAYOUT)
PATCHES = Activation(("stimulus", "token", "channel"), (4, 5), LAYOUT)

# activation, reduction -> the same in NumPy's words
TRUTHS = [
    (MAP, "flatten", lambda x: x.reshape(len(x), -1)),
    (MAP, "mean", lambda x: x.mean((2, 3))),
    (MAP, "max", lambda x: x.max((2, 3))),
    (LAST, "mean", lambda x: x.mean((1, 2))),
    (LAST, "max", lambda x: x.max((1, 2))),
    (CLIP, "mean", lambda x: x.mean((3, 4))),  # time is no space
    (TOKENS, "cls", lambda x: x[:, 0]),
    (TOKENS, "mean-of-patches", lambda x: x[:, 3:].mean(1)),
    (TOKENS, "cls+mean", lambda x: np.hstack([x[:, 0], x[:, 3:].mean(1)])),
    (SIDEWAYS, "cls", lambda x: x[:, :, 0]),
    (SIDEWAYS, "cls+mean", lambda x: np.hstack([x[:, :, 0], x[:, :, 3:].mean(2)])),
    (PATCHES, "mean-of-patches", lambda x: x.mean(1)),
]


def bound(activation, name):
    return bind_reductions({"m": activation}, {"m": name})["m"]


@pytest.mark.parametrize(("activation", "name", "truth"), TRUTHS)
@pytest.mark.parametrize("kind", ["numpy", "torch", "tensorflow"])
def test_reductions_are_what_numpy_says(activation, name, truth, kind):
    convert = np.asarray
    if kind == "torch":
        convert = torch.from_numpy
    elif kind == "tensorflow":
        convert = pytest.importorskip("tensorflow").convert_to_tensor
    batch = np.random.default_rng(0).normal(size=(5, *activation.shape)).astype(np.float32)
    reduction = bound(activation, name)
    reduced = np.asarray(reduction.apply(convert(batch)))
    np.testing.assert_allclose(reduced, truth(batch), rtol=1e-6, atol=1e-6)
    assert reduced.shape == (5, *reduction.shape)
    assert reduction.axes[0] == "stimulus" and len(reduction.axes) == reduced.ndim
    for row in range(5):
        alone = np.asarray(reduction.apply(convert(batch[row : row + 1])))
        np.testing.assert_allclose(alone[0], reduced[row], rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("name", REDUCTIONS)
def test_every_reduction_has_a_truth(name):
    assert name in {truth[1] for truth in TRUTHS} and REDUCTIONS[name].does


def test_whole_numbers_have_means_too():
    whole = np.arange(24).reshape(1, 3, 4, 2)
    assert np.array_equal(bound(MAP, "mean").apply(whole), whole.mean((2, 3)))
    assert bound(MAP, "mean").apply(torch.from_numpy(whole)).dtype == torch.float32
    truths = whole > 7
    assert np.array_equal(bound(MAP, "max").apply(torch.from_numpy(truths)), truths.max((2, 3)))
    tensorflow = pytest.importorskip("tensorflow")
    found = bound(MAP, "mean").apply(tensorflow.constant(whole))
    assert np.array_equal(found, whole.mean((2, 3)))


@pytest.mark.parametrize(
    ("activation", "name", "reason"),
    [
        (MAP, "cls", "no sequence of tokens"),  # its first row of pixels was once taken for one
        (TOKENS, "mean", "no height and width. For tokens: mean-of-patches"),
        (Activation(("stimulus", "feature"), (9,)), "max", "no height and width"),
        (Activation(("stimulus", "axis1", "axis2"), (7, 7), LAYOUT), "cls", "no sequence"),
        (PATCHES, "cls", "patches alone"),
        (Activation(TOKENS.axes, (7, 5)), "cls", "is not known"),
        (Activation(TOKENS.axes, (7, 5)), "mean-of-patches", "is not known"),
        (Activation(TOKENS.axes, (3, 5), LAYOUT), "mean-of-patches", "3 tokens, where the image"),
        (Activation(TOKENS.axes, (4, 5), TokenLayout((), 4)), "cls", "without a CLS token"),
        (Activation(TOKENS.axes, (6, 5), TokenLayout(("register",) * 2, 4)), "cls", "no CLS"),
    ],
)
def test_what_has_no_such_axis_is_refused(activation, name, reason):
    with pytest.raises(InvalidArgument, match=reason):
        bound(activation, name)


def test_all_refusals_are_named_together():
    activations = {"conv": MAP, "block": TOKENS, "patches": PATCHES}
    with pytest.raises(InvalidArgument) as error:
        bind_reductions(activations, dict.fromkeys(activations, "cls"))
    assert "conv (3×4×2: channel, height, width)" in str(error.value)
    assert "patches" in str(error.value) and "block" not in str(error.value)


@pytest.mark.parametrize(
    ("module", "reduction", "expected"),
    [
        ("features.3", None, None),
        ("features.3", "flatten", "flatten"),
        ("features.3", {"features.*": "flatten"}, "flatten"),
        ("classifier", {"features.*": "flatten"}, None),
        ("features.3", {"features.3": None, "*": "flatten"}, None),
        ("features.1", {"features.3": None, "*": "flatten"}, "flatten"),
        ("attention[0]", {"attention[0]": "flatten"}, "flatten"),
        ("attention0", {"attention[0]": "flatten"}, None),
    ],
)
def test_the_first_pattern_that_matches_decides(module, reduction, expected):
    modules = [module, "features.3", "attention[0]"]  # so that every pattern matches one
    assert reductions_for(modules, reduction)[module] == expected


def test_a_pattern_that_matches_no_module_is_refused():
    with pytest.raises(InvalidArgument, match="'nope.*', which matches none of the modules: fc"):
        reductions_for(["fc"], {"nope.*": "flatten"})


def test_unknown_reductions_are_refused():
    with pytest.raises(UnknownName, match="Nearest: flatten"):
        reductions_for(["fc"], "flaten")
    with pytest.raises(UnknownName, match="flaten"):
        reductions_for(["fc"], {"*": "flaten"})
    with pytest.raises(InvalidArgument, match="reduction is 3"):
        reductions_for(["fc"], 3)
