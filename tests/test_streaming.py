from __future__ import annotations

import numpy as np
import pytest

from thingsvision.extraction import extract_features
from thingsvision.rsa import compute_rdm
from thingsvision.streaming import stream_rdms
from thingsvision.testing import toy_network


@pytest.fixture
def images() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 255, (40, 16, 12, 3), np.uint8)


@pytest.mark.parametrize("memory", ["1GB", "30KB"])
@pytest.mark.parametrize("name", ["correlation", "cosine", "euclidean", "squared_euclidean", "gaussian"])
def test_same_as_from_features(images, tmp_path, memory, name):
    modules = ["thin", "double", "split[0]", "fc"]
    options = {"batch_size": 7, "seed": 3}
    features = extract_features(toy_network(), images, modules, **options)
    rdms = stream_rdms(toy_network(), images, modules, dissimilarity=name, memory=memory,
                       out=tmp_path / "rdms", scratch=tmp_path / "scratch", **options)
    assert list(rdms) == list(features)
    for module in features:
        wanted, found = compute_rdm(features[module], name), rdms[module]
        assert (found.ids, found.dissimilarity, found.name) == (wanted.ids, name, wanted.name)
        assert dict(found.provenance) == dict(wanted.provenance)
        np.testing.assert_array_equal(found.dissimilarities, wanted.dissimilarities)
    assert not list((tmp_path / "scratch").iterdir())
