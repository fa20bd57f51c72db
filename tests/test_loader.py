from __future__ import annotations

import numpy as np
import pytest
import torch

from thingsvision.errors import InvalidArgument, ModuleError
from thingsvision.loader import Loader, extract_batch, extract_loaded
from thingsvision.preprocessing import Preprocessing
from thingsvision.stimuli import load_stimuli
from thingsvision.testing import toy_network
from thingsvision.zoo import wrap_model

IMAGES = np.random.default_rng(0).integers(0, 255, (5, 12, 10, 3), np.uint8)


def network() -> object:
    torch.manual_seed(0)
    model = torch.nn.Sequential(torch.nn.Conv2d(3, 4, 3), torch.nn.ReLU(inplace=True))
    return wrap_model(model, Preprocessing())


def test_batches_are_what_the_network_sees() -> None:
    loader = Loader(load_stimuli(IMAGES), Preprocessing(), 2, "pt")
    pixels = torch.cat([images for images, _ in loader])
    expected = torch.from_numpy(IMAGES).permute(0, 3, 1, 2) / 255
    torch.testing.assert_close(pixels, expected)
    for_keras = np.concatenate(
        [i for i, _ in Loader(load_stimuli(IMAGES), Preprocessing(), 3, "tf")]
    )
    np.testing.assert_allclose(for_keras, IMAGES / np.float32(255), rtol=1e-6)


@pytest.mark.parametrize("backend", ["pt", "tf"])
def test_a_transform_of_ones_own(backend: str) -> None:
    def transform(image: object) -> np.ndarray:
        array = np.asarray(image).astype("f4") / 100
        return array.transpose(2, 0, 1) if backend == "pt" else array

    loader = Loader(load_stimuli(IMAGES), transform, 2, backend)
    found = np.concatenate([np.asarray(images) for images, _ in loader])
    expected = IMAGES.astype("f4") / 100
    np.testing.assert_array_equal(
        found, expected.transpose(0, 3, 1, 2) if backend == "pt" else expected
    )


def test_three_ways_give_the_same_features() -> None:
    loader = Loader(load_stimuli(IMAGES, ids=list("edcba")), Preprocessing(), 2, "pt")
    core, targets = extract_loaded(network(), loader, ["0", "1"])
    pairs, own = extract_loaded(network(), list(loader), ["0", "1"])
    alone, numbers = extract_loaded(network(), (images for images, _ in loader), ["0", "1"])
    for name in ("0", "1"):
        np.testing.assert_allclose(core[name], pairs[name], atol=1e-6)
        np.testing.assert_array_equal(pairs[name], alone[name])
    assert targets.tolist() == own.tolist() == numbers.tolist() == [0, 1, 2, 3, 4]
    assert (core["0"] < 0).any() and (core["1"] >= 0).all()


def test_reductions_of_one_batch() -> None:
    batch = torch.from_numpy(IMAGES).permute(0, 3, 1, 2).float()
    whole = extract_batch(network(), batch, "0")["0"]
    assert whole.shape == (5, 4, 10, 8)
    np.testing.assert_array_equal(
        extract_batch(network(), batch, "0", reduction="flatten")["0"], whole.reshape(5, -1)
    )
    np.testing.assert_allclose(
        extract_batch(network(), batch, "0", reduction="mean")["0"], whole.mean((2, 3)), rtol=1e-4
    )


def test_targets_of_any_shape_are_kept() -> None:
    images = np.zeros((2, 8, 6, 3), np.float32)
    _, targets = extract_loaded(toy_network(), [(images, torch.tensor([[7], [3]]))], "fc")
    assert targets.tolist() == [7, 3]


def test_mistakes() -> None:
    with pytest.raises(InvalidArgument, match="batch_size is 0"):
        Loader(load_stimuli(IMAGES), Preprocessing(), 0, "pt")
    with pytest.raises(InvalidArgument, match="get_transformations"):
        Loader(load_stimuli(IMAGES), None, 2, "pt")
    with pytest.raises(InvalidArgument, match=r"shape \(2, 8, 6, 3\).*\(n, 3, height, width\)"):
        extract_batch(network(), np.zeros((2, 8, 6, 3), np.float32), "0")
    with pytest.raises(ModuleError, match="nope"):
        extract_batch(network(), np.zeros((2, 3, 8, 6), np.float32), "nope")
    with pytest.raises(InvalidArgument, match="NoneType"):
        extract_loaded(network(), None, "0")  # type: ignore[arg-type]
    with pytest.raises(InvalidArgument, match="gave no batch"):
        extract_loaded(network(), [], "0")
