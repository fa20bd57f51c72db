"""Reductions: the same on arrays and tensors, every row by itself."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from thingsvision.errors import InvalidArgument, UnknownName
from thingsvision.reduction import REDUCTIONS, flatten, reductions_for


@given(st.lists(st.integers(0, 4), min_size=0, max_size=4), st.integers(0, 3))
def test_flatten_lays_each_row_out_in_c_order(shape, count):
    array = np.arange(count * int(np.prod(shape, dtype=int)), dtype=np.float32)
    array = array.reshape(count, *shape)
    flat = flatten(array)
    assert flat.shape == (count, int(np.prod(shape, dtype=int)))
    for row, whole in zip(flat, array, strict=True):
        assert list(row) == [whole[index] for index in np.ndindex(*shape)]
    assert np.array_equal(flatten(torch.from_numpy(array)).numpy(), flat)


@pytest.mark.parametrize("name", REDUCTIONS)
def test_every_reduction_treats_each_row_alone_and_names_its_axes(name):
    reduce, axes = REDUCTIONS[name]
    batch = np.random.default_rng(0).normal(size=(5, 3, 4, 2)).astype(np.float32)
    reduced = reduce(batch)
    assert axes[0] == "stimulus" and len(axes) == reduced.ndim
    for row in range(5):
        assert np.array_equal(reduce(batch[row : row + 1])[0], reduced[row])


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
