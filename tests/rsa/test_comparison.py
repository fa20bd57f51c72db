"""Comparisons of RDMs against SciPy, and how stimuli are joined."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from scipy.io import loadmat
from scipy.spatial.distance import squareform
from scipy.stats import pearsonr, rankdata, spearmanr

from thingsvision.errors import InvalidArgument, MismatchError, UnknownName
from thingsvision.features import Features
from thingsvision.rsa import COMPARISONS, RDM, compare_rdms, compute_rdm
from thingsvision.rsa.ranks import average_ranks

TRUE = {"pearson": pearsonr, "spearman": spearmanr}
IDS = tuple(f"{letter}.jpg" for letter in "abcdefghijkl")


@pytest.fixture
def rows(rng: np.random.Generator) -> np.ndarray:
    """Five RDMs of twelve stimuli with many ties."""
    return rng.integers(0, 9, size=(5, 66)) / 8


@pytest.mark.parametrize("name", TRUE)
def test_it_agrees_with_scipy(rows, name):
    table = compare_rdms(rows[:3], rows[3:], comparison=name)
    assert isinstance(table, pd.DataFrame)
    true = [[TRUE[name](a, b)[0] for b in rows[3:]] for a in rows[:3]]
    np.testing.assert_allclose(table.to_numpy(), true, rtol=1e-12, atol=1e-14)


def test_ranks_are_those_of_scipy(rng):
    for values in (rng.normal(size=50), rng.integers(0, 5, 50).astype(float), np.ones(4)):
        np.testing.assert_array_equal(average_ranks(values), rankdata(values))


@given(hnp.arrays(np.float64, st.integers(1, 30), elements=st.integers(-3, 3).map(float)))
def test_ranks_with_any_ties(values):
    np.testing.assert_array_equal(average_ranks(values), rankdata(values))


def test_every_form_of_one_rdm_gives_a_number(rows):
    one, other = RDM(rows[0]), RDM(rows[1])
    for a in (one, one.square(), rows[0], rows[0].tolist(), one.square().tolist()):
        found = compare_rdms(a, other)
        assert isinstance(found, float)
        assert found == pytest.approx(pearsonr(rows[0], rows[1])[0], rel=1e-12)


def test_every_form_of_several_gives_a_table(rows):
    true = compare_rdms(rows, rows[0]).to_numpy()
    assert true.shape == (5, 1)
    stack = np.stack([squareform(row) for row in rows])
    records = [RDM(row) for row in rows]
    named = {f"s{n}": row for n, row in enumerate(rows)}
    for several in (rows, list(rows), stack, list(stack), records, named, tuple(records)):
        np.testing.assert_allclose(compare_rdms(several, rows[0]).to_numpy(), true, rtol=1e-14)
    assert compare_rdms(rows[:1], rows[0]).shape == (1, 1)


def test_names(rows):
    a = {"human": rows[0], "monkey": squareform(rows[1])}
    b = [RDM(rows[2], name="alexnet conv5"), RDM(rows[3])]
    table = compare_rdms(a, b, "spearman")
    assert list(table.index) == ["human", "monkey"]
    assert list(table.columns) == ["alexnet conv5", 1]
    assert table.attrs == {"comparison": "spearman", "joined_by": "position"}
    assert list(compare_rdms(RDM(rows[0], name="x"), rows).index) == ["x"]


@pytest.mark.parametrize("name", TRUE)
def test_the_same_ids_in_another_order_are_joined(rows, rng, name):
    a, b = RDM(rows[0], IDS), RDM(rows[1], IDS)
    shuffled = b.select([IDS[n] for n in rng.permutation(12)])
    assert compare_rdms(a, shuffled, name) == pytest.approx(compare_rdms(a, b, name), rel=1e-12)
    assert compare_rdms(shuffled, a, name) == pytest.approx(compare_rdms(a, b, name), rel=1e-12)
    table = compare_rdms({"a": a, "s": shuffled}, [shuffled, b], name)
    np.testing.assert_allclose(table.to_numpy()[:, 0], table.to_numpy()[:, 1], rtol=1e-12)
    assert table.attrs["joined_by"] == "id"


def test_different_ids_are_refused(rows):
    a = RDM(rows[0], IDS, name="model")
    b = RDM(rows[1], (*IDS[:-1], "z.jpg"))
    message = (
        r"a \(model\) and b have different stimuli. 1 of 12 ids are missing from b: l.jpg. "
        r"1 of 12 ids are missing from a \(model\): z.jpg. They share 11; .*rdm.select"
    )
    with pytest.raises(MismatchError, match=message):
        compare_rdms(a, b)
    with pytest.raises(MismatchError, match="different stimuli"):
        compare_rdms(a, b, by_position=True)
    share = [name for name in IDS if name in b.ids]
    assert -1 <= compare_rdms(a.select(share), b.select(share)) <= 1


def test_a_long_list_of_ids_is_cut():
    many = tuple(str(n) for n in range(40))
    a, b = RDM(np.arange(780.0), many), RDM(np.arange(780.0), tuple(f"x{n}" for n in many))
    with pytest.raises(MismatchError, match=r"missing from b: 0, 1, .*, 9 and 30 more"):
        compare_rdms(a, b)


def test_a_subset_names_what_is_missing(rows):
    a = RDM(rows[0], IDS)
    with pytest.raises(MismatchError, match=r"2 of 12 ids are missing from b: a.jpg, b.jpg\. They"):
        compare_rdms(a, a.select(IDS[2:]))


def test_a_bare_array_needs_by_position(rows):
    a = RDM(rows[0], IDS, name="model")
    with pytest.raises(MismatchError, match=r"a \(model\) names .* b does not.*by_position=True"):
        compare_rdms(a, rows[1])
    with pytest.raises(MismatchError, match="by_position=True"):
        compare_rdms(squareform(rows[1]), a)
    found = compare_rdms(a, rows[1], by_position=True)
    assert found == compare_rdms(rows[0], rows[1])
    table = compare_rdms([a], rows, by_position=True)
    assert table.attrs["joined_by"] == "position"
    assert table.iloc[0, 1] == pytest.approx(found, rel=1e-14)


def test_position_says_nothing_where_the_orders_differ(rows):
    a, b = RDM(rows[0], IDS), RDM(rows[1], IDS).select(IDS[::-1])
    with pytest.raises(MismatchError, match=r"says nothing about b\[1\].*different orders"):
        compare_rdms(a, [b, rows[2]], by_position=True)


def test_sizes_that_differ_are_refused(rows):
    with pytest.raises(MismatchError, match="a has 12, b has 4"):
        compare_rdms(rows[0], np.arange(6.0))


@pytest.mark.parametrize("name", TRUE)
def test_constant_rdms_are_refused_by_name(rows, name):
    flat = {"good": rows[0], "flat": np.full(66, 0.3), "one-hot": np.ones(66)}
    with pytest.raises(InvalidArgument, match=r"without variance .*: b\['flat'\], b\['one-hot'\]"):
        compare_rdms(rows[0], flat, name)
    rounding = 1 + 1e-16 * np.arange(66)
    with pytest.raises(InvalidArgument, match="constant up to rounding are: a"):
        compare_rdms(rounding, rows[0], name)


def test_one_hot_features_make_a_constant_rdm():
    with pytest.raises(InvalidArgument, match="constant up to rounding"):
        compare_rdms(compute_rdm(np.eye(20, dtype=np.float32)), np.arange(190.0))


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (np.ones(1), "There are 2 stimuli; four are the least.* no more than 1 pair"),
        (np.arange(3.0), "There are 3 stimuli; four are the least.* no more than 3 pairs"),
        (np.arange(7.0), "a has 7 values, which is no number of pairs"),
        (np.zeros((2, 3, 4)), r"a\[0\] has shape \(3, 4\)"),
        (np.eye(12), "a is not zero on its diagonal"),
        (np.arange(144.0).reshape(12, 12) * (1 - np.eye(12)), "a is not symmetric"),
        (np.full(66, np.nan), "NaN or infinity"),
        (np.zeros((1, 1, 3, 3)), r"shape \(1, 1, 3, 3\)"),
        ("human.mat", "'human.mat', which is no RDM"),
        (Features(np.eye(3), ("a", "b", "c"), "fc"), "which is no RDM. Make one with compute_rdm"),
        ({"fc": Features(np.eye(3), ("a", "b", "c"), "fc")}, r"a\['fc'\] is .* no RDM"),
        ({}, "a holds no RDM"),
        (np.array(["a", "b", "c"]), "not real numbers"),
    ],
)
def test_what_is_no_rdm_is_refused(data, message):
    with pytest.raises(InvalidArgument, match=message):
        compare_rdms(data, data if "four" in message else np.arange(66.0))


def test_the_table_of_comparisons(rows):
    assert list(COMPARISONS)[:2] == ["pearson", "spearman"]
    with pytest.raises(UnknownName, match=r"no comparison 'spearmann'. Nearest: spearman"):
        compare_rdms(rows[0], rows[1], "spearmann")


def test_negative_estimates_are_compared(rows):
    estimates = squareform(rows[0] - 0.3)
    record = RDM.from_matrix(estimates, dissimilarity="crossnobis")
    assert compare_rdms(record, rows[0]) == pytest.approx(1)
    for bare in (estimates, rows[0] - 0.3, rows - 0.3, [estimates, estimates]):
        with pytest.raises(InvalidArgument, match=r"a(\[0\])? holds negative .*'crossnobis'"):
            compare_rdms(bare, rows[0])


def test_huge_and_tiny_values(rows):
    for scale in (1e-200, 1e200):
        found = compare_rdms(rows[0] * scale, rows[1])
        assert found == pytest.approx(compare_rdms(rows[0], rows[1]), rel=1e-9)


def test_monkey_and_human_it(kriegeskorte92):
    """Kriegeskorte et al. (2008), doi:10.1016/j.neuron.2008.10.043, figure 1."""
    contents = loadmat(kriegeskorte92 / "Kriegeskorte_Neuron2008_supplementalData.mat")
    monkey, human = (record["RDM"].ravel() for record in contents["RDMs_mIT_hIT_fig1"][0])
    assert compare_rdms(monkey, human, "spearman") == pytest.approx(0.439, abs=5e-4)
    brains = loadmat(kriegeskorte92 / "92_brainRDMs.mat")["RDMs"]
    subjects = np.stack([record["RDM"] for record in brains.ravel()])
    assert compare_rdms(subjects.mean(axis=0), human, "spearman") == pytest.approx(1, abs=1e-6)
    assert compare_rdms({"human": human, "monkey": monkey}, subjects).shape == (2, 8)
