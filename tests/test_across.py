from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from thingsvision import across
from thingsvision.errors import InvalidArgument, ModuleError
from thingsvision.features import Features
from thingsvision.stimuli import load_stimuli
from thingsvision.testing import toy_network

IMAGES = np.random.default_rng(0).integers(0, 255, (4, 8, 6, 3), np.uint8)


@pytest.fixture
def toys(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Toy networks by the name toy/SEED, and a list of those that were loaded."""
    loaded: list[str] = []

    def load(name: str, pretrained: bool) -> object:
        loaded.append(f"{name} {pretrained}")
        return toy_network(int(name.partition("/")[2]))

    monkeypatch.setattr(across, "load_model", load)
    return loaded


def test_one_network_after_the_other(toys: list[str]) -> None:
    stimuli = {"all": load_stimuli(IMAGES), "two": load_stimuli(IMAGES[:2])}
    found = across.extract_across(
        [("toy/1", ["fc", "thin"]), ("toy/2", ["fc"])], stimuli, pretrained=False
    )
    assert toys == []  # nothing is done before it is asked for
    name, model, features = next(found)
    assert (name, model, features.module, features.shape) == ("all", "toy/1", "fc", (4, 5))
    assert toys == ["toy/1 False"]
    rest = [(name, model, features.module) for name, model, features in found]
    assert rest == [("all", "toy/1", "thin"), ("two", "toy/1", "fc"), ("two", "toy/1", "thin"),
                    ("all", "toy/2", "fc"), ("two", "toy/2", "fc")]  # fmt: skip
    assert toys == ["toy/1 False", "toy/2 False"]


def test_modules_by_parts_of_their_names(toys: list[str]) -> None:
    network = toy_network()
    names = [module.name for module in network.modules().modules]
    assert across.modules_with(network, ["thin", "fc"]) == [
        name for name in names if "thin" in name or "fc" in name
    ]
    with pytest.raises(ModuleError, match="holds 'nope' or 'none'"):
        across.modules_with(network, ["nope", "none"])


def test_files(tmp_path: Path) -> None:
    features = Features(np.eye(3), ("x/a.jpg", "x/b.jpg", "y/c.jpg"), "layer1",
                        targets=np.array([0, 0, 1]))  # fmt: skip
    across.save_across(tmp_path, iter([("set", "torchvision/net", features)]), "npy")
    folder = tmp_path / "set" / "net" / "layer1" / "features"
    np.testing.assert_array_equal(np.load(folder / "features.npy"), np.eye(3))
    assert np.load(folder / "targets.npy").tolist() == [0, 0, 1]
    assert (folder / "file_names.txt").read_text() == "x/a.jpg\nx/b.jpg\ny/c.jpg\n"


def test_tables() -> None:
    random = np.random.default_rng(0)
    ids = tuple("abcdef")
    sets = {("one", "fc"): random.random((6, 9)), ("one", "conv"): random.random((6, 9)),
            ("two", "fc"): random.random((6, 9))}  # fmt: skip
    features = {key: Features(array, ids) for key, array in sets.items()}
    table = across.correlate_models(features, "correlation", "pearson")
    assert list(table.index) == ["one fc", "one conv", "two"]
    upper = np.triu_indices(6, 1)
    rows = [1 - np.corrcoef(array)[upper] for array in sets.values()]
    np.testing.assert_allclose(table.to_numpy(), np.corrcoef(rows), atol=1e-12)
    with pytest.raises(InvalidArgument, match="give several"):
        across.correlate_models({("one", "fc"): features["one", "fc"]}, "cosine", "pearson")
