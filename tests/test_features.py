from __future__ import annotations

import numpy as np
import pytest

from thingsvision.errors import InvalidArgument, MismatchError, UnknownName
from thingsvision.features import Features, FeatureSet, as_features


def make(module: str = "fc", count: int = 3) -> Features:
    array = np.arange(count * 4, dtype=np.float32).reshape(count, 2, 2)
    ids = tuple(f"{row}.png" for row in range(count))
    return Features(array, ids, module, ("stimulus", "row", "column"), np.arange(count))


def test_features_are_an_array_with_ids() -> None:
    features = make()
    assert features.shape == (3, 2, 2) and features.dtype == np.float32 and len(features) == 3
    assert repr(features) == "Features('fc', 3 × 2 × 2, float32)"
    assert np.shares_memory(np.asarray(features), features.array)
    assert not np.shares_memory(np.array(features, copy=True), features.array)
    assert np.asarray(features, np.float64).dtype == np.float64
    with pytest.raises(ValueError):
        features.__array__(np.float64, copy=False)
    assert features[1].tolist() == [[4, 5], [6, 7]]
    assert float(np.mean(features)) == 5.5


def test_rows_need_ids() -> None:
    with pytest.raises(InvalidArgument, match="of fc have 2 rows but 1 id[.]"):
        Features(np.eye(2), ("a",), "fc")


def test_select_joins_by_id() -> None:
    chosen = make().select(["2.png", "0.png"])
    assert chosen.ids == ("2.png", "0.png") and chosen.array[:, 0, 0].tolist() == [8, 0]
    assert chosen.targets.tolist() == [2, 0] and chosen.module == "fc"
    with pytest.raises(MismatchError, match=r"2 of 3 ids .* 3 stimuli .*: x, y\. .* 0\.png"):
        make().select(["x", "1.png", "y"])


def test_feature_set_is_a_mapping() -> None:
    features = FeatureSet({"b": make("b"), "a": make("a")})
    assert list(features) == ["b", "a"] and len(features) == 2 and "a" in features
    assert repr(features) == "FeatureSet(3 stimuli; b: 3 × 2 × 2, a: 3 × 2 × 2)"
    with pytest.raises(UnknownName, match=r"no module 'A'\. Nearest: a, b"):
        features["A"]
    assert features.get("A") is None and "A" not in features
    with pytest.raises(InvalidArgument, match="2 modules: b, a"):
        np.asarray(features)
    assert repr(FeatureSet({})) == "FeatureSet(0 stimuli; )" and FeatureSet({}).provenance == {}


def test_one_module_needs_no_name() -> None:
    features = FeatureSet({"a": make("a")})
    assert features.only.module == "a" and np.asarray(features).shape == (3, 2, 2)
    array, ids = as_features(features)
    assert ids == ("0.png", "1.png", "2.png") and array.shape == (3, 2, 2)
    assert as_features(make())[1] == ids
    assert as_features([[1.0, 2.0]])[1] is None


def test_one_text_is_no_list_of_ids() -> None:
    with pytest.raises(InvalidArgument, match=r"features\.select\(\['0\.png'\]\)"):
        make().select("0.png")
    for rows in ("0.png", ["0.png"]):
        with pytest.raises(InvalidArgument, match=r"take features\.select\(\['0\.png'\]\)"):
            make()[rows]
    assert make()[[0, 2]].shape == (2, 2, 2) and make()[[]].shape == (0, 2, 2)
