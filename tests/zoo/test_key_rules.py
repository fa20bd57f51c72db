"""Rules that turn a checkpoint's keys into those of an architecture."""

import pytest
import torch

from thingsvision.errors import WeightsError
from thingsvision.zoo.key_rules import KeyRule

EXPECTED = {"a.weight": torch.zeros(2, 3), "b.weight": torch.zeros(4)}


RULES = {
    "same": ({}, lambda s: s),
    "prefix": ({"prefix": "module."}, lambda s: {f"module.{k}": v for k, v in s.items()}),
    "prefix and others": (
        {"prefix": "module.q."},
        lambda s: (
            {f"module.q.{k}": v for k, v in s.items()} | {f"module.k.{k}": -v for k, v in s.items()}
        ),
    ),
    "drop": ({"drop": ["head."]}, lambda s: {**s, "head.weight": torch.ones(9)}),
    "drop behind the prefix": (
        {"prefix": "m.", "drop": ["head."]},
        lambda s: {f"m.{k}": v for k, v in s.items()} | {"m.head.x": torch.ones(1)},
    ),
    "rename": (
        {"rename": [["^first", "a"], [r"\.w$", ".weight"]]},
        lambda s: {"first.w": s["a.weight"], "b.w": s["b.weight"]},
    ),
    "by order": ({"by_order": True}, lambda s: {str(n): v for n, v in enumerate(s.values())}),
}


@pytest.mark.parametrize(("entry", "disguise"), RULES.values(), ids=RULES)
def test_keys_become_those_of_the_architecture(entry, disguise):
    state = {key: torch.randn(value.shape) for key, value in EXPECTED.items()}
    rule = KeyRule.read(entry)
    for given in (disguise(state), state):  # saved again by the user, it has the right keys
        found = rule.apply("x", given, EXPECTED)
        assert found.keys() == state.keys()
        assert all(found[key] is state[key] for key in state)


def test_what_a_rule_does_not_name_stays_to_be_refused():
    rule = KeyRule.read({"drop": ["head."]})
    state = {**EXPECTED, "extra": torch.ones(1), "head.x": torch.ones(1)}
    assert rule.apply("x", state, EXPECTED).keys() == {*EXPECTED, "extra"}


@pytest.mark.parametrize(
    "state",
    [{"x": torch.zeros(4), "y": torch.zeros(2, 3)}, {"x": torch.zeros(2, 3)}],
    ids=["other shapes", "fewer"],
)
def test_by_order_needs_equal_numbers_and_shapes(state):
    with pytest.raises(WeightsError, match="cannot be fitted by order"):
        KeyRule(by_order=True).apply("x", state, EXPECTED)
