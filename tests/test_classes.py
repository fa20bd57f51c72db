from __future__ import annotations

import numpy as np
from scipy.special import softmax

from thingsvision.classes import as_probabilities, top_classes


def test_logits_become_probabilities_and_these_stay() -> None:
    logits = np.random.default_rng(0).standard_normal((4, 7)) * 3
    expected = softmax(logits, axis=1)
    np.testing.assert_allclose(as_probabilities(logits), expected)
    np.testing.assert_array_equal(as_probabilities(expected), expected)
    np.testing.assert_allclose(
        as_probabilities(np.abs(logits)), softmax(np.abs(logits), axis=1)
    )  # not negative, but no probabilities


def test_equal_probabilities_keep_the_order_of_the_classes() -> None:
    table = top_classes([[0.4, 0.2, 0.4]], ["a", "b", "c"], ["x"], 3)
    assert table["class"].tolist() == ["a", "c", "b"]
    assert table["rank"].tolist() == [1, 2, 3]
