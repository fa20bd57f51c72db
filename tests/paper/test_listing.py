"""The paper's first listing runs as printed (with pretrained=False), and equals the core."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest

import thingsvision as tv
from thingsvision import vision
from thingsvision.errors import InvalidArgument, UnknownName
from thingsvision.model_class import Model

PAGE = Path(__file__).parents[2] / "docs" / "how-to" / "paper.md"


def listing() -> str:
    """The page of the docs shows the listing as the paper prints it."""
    first = re.search(r"```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    assert first is not None
    return first[1]


def test_the_listing_runs_as_printed_and_equals_the_core(images: Path) -> None:
    code = listing().replace("pretrained=True", "pretrained=False")
    assert "backend='pt'" in code and "flatten_acts=True" in code
    names: dict[str, object] = {}
    exec(compile(code, "listing", "exec"), names)

    network = tv.load_model("torchvision/alexnet", pretrained=False)
    core = tv.extract_features(network, images, "features.10", flatten=True, batch_size=64)
    written = np.load("alexnet/features.10/features/features.npy")
    assert written.shape == (len(core["features.10"]), 256 * 13 * 13)
    np.testing.assert_array_equal(written, core["features.10"].array)
    np.testing.assert_array_equal(names["targets"], core["features.10"].targets)
    order = Path("alexnet/features.10/features/file_names.txt").read_text().splitlines()
    assert tuple(order) == core["features.10"].ids


def test_a_convolution_is_not_rectified(images: Path) -> None:
    model = Model("alexnet", pretrained=False, device="cpu", backend="pt")
    loader = vision.load_dl(str(images), "out", "pt", 8, transforms=model.get_transformations())
    features, _ = model.extract_features(loader, "features.10", 8, False, "cpu")
    assert features.shape[1:] == (256, 13, 13)
    assert (features < 0).any()


@pytest.mark.parametrize(
    "args", [(8, True, "cpu"), (True,), (True, False)], ids=["paper", "later", "with clip"]
)
def test_positions_of_all_releases_are_understood(images: Path, args: tuple) -> None:
    model = Model("alexnet", pretrained=False, device="cpu")
    loader = vision.load_dl(images, "out", "pt", 8, transforms=model.get_transformations())
    features, targets = model.extract_features(loader, "classifier.6", *args)
    assert features.shape == (len(targets), 1000)


def test_probabilities_are_the_softmax_of_the_output(images: Path) -> None:
    model = Model("alexnet", pretrained=False, device="cpu")
    loader = vision.load_dl(images, "out", "pt", 8, transforms=model.get_transformations())
    logits, _, probabilities = model.extract_features(
        loader, "classifier.6", flatten_acts=False, return_probabilities=True
    )
    exponents = np.exp(logits.astype(np.float64))
    expected = exponents / exponents.sum(axis=1, keepdims=True)
    np.testing.assert_allclose(probabilities, expected, rtol=1e-5)


def test_the_loader_gives_torch_batches_with_targets(images: Path) -> None:
    model = Model("alexnet", pretrained=False, device="cpu")
    names = ["food/espresso.jpg", "animal/cat.jpg", "animal/dog.jpg"]
    loader = vision.load_dl(
        images, "out", "pt", 2, file_names=names, transforms=model.get_transformations()
    )
    batches = list(loader)
    assert len(loader) == len(batches) == 2
    assert [tuple(pixels.shape) for pixels, _ in batches] == [(2, 3, 224, 224), (1, 3, 224, 224)]
    assert np.concatenate([targets for _, targets in batches]).tolist() == [
        2,
        0,
        0,
    ]  # as in the whole folder
    assert Path("out/file_names.txt").read_text().splitlines() == names


def test_mistakes_are_named(images: Path) -> None:
    with pytest.raises(UnknownName, match="backend or source 'mxnet'"):
        Model("alexnet", pretrained=False, device="cpu", backend="mxnet")
    model = Model("alexnet", pretrained=False, device="cpu")
    loader = vision.load_dl(images, "out", "pt", 8, transforms=model.get_transformations())
    with pytest.raises(InvalidArgument, match="flatten_acts was not given"):
        model.extract_features(loader, "features.10", batch_size=8)
    with pytest.raises(InvalidArgument, match=r"A batch has the shape \(\)"):
        model.extract_features([1, 2], "features.10", flatten_acts=True)
    with pytest.raises(InvalidArgument, match="get_transformations"):
        vision.load_dl(images, "out", "pt", 8)
    with pytest.raises(UnknownName, match="format 'npz'"):
        vision.save_features(np.eye(2), "out", "npz")
