"""CORnet Z, R, RT and S: models of the ventral stream, with areas V1, V2, V4 and IT."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any
from warnings import warn

from torch import nn

from ..backends.torch import TorchBackend
from ..errors import ThingsvisionWarning, unknown
from ..preprocessing import Preprocessing
from . import cornet_areas as areas
from .card import ModelCard
from .network import Network
from .source import Choice
from .weights import download, fitted, loaded, read_weights

WEIGHTS = "imagenet"
PREPRINT = "Kubilius et al. 2018, CORnet, doi:10.1101/408385"
PAPER = f"{PREPRINT}; Kubilius et al. 2019, Brain-Like Object Recognition, NeurIPS 32"


@dataclass(frozen=True)
class _Variant:
    build: Callable[[], nn.Module]
    parameters: int
    address: str  # as published by the authors; its name holds the start of the SHA-256
    citation: str = PREPRINT


SERVER = "https://s3.amazonaws.com/cornet-models"
VARIANTS = {
    "cornet_z": _Variant(areas.cornet_z, 2_071_656, f"{SERVER}/cornet_z-5c427c9c.pth"),
    "cornet_r": _Variant(areas.cornet_r, 5_208_936, f"{SERVER}/cornet_r-5930a990.pth"),
    "cornet_rt": _Variant(areas.cornet_rt, 5_208_936, f"{SERVER}/cornet_rt-933c001c.pth"),
    "cornet_s": _Variant(areas.cornet_s, 53_416_616, f"{SERVER}/cornet_s-1d3f7974.pth", PAPER),
}

PREPROCESSING = Preprocessing(
    resize=256,
    crop=224,
    mean=(0.485, 0.456, 0.406),
    std=(0.229, 0.224, 0.225),
    origin="the usual one of ImageNet, which CORnet was trained with",
)


class Cornet:
    """The four networks of the family, seen as a source.

    Random weights are PyTorch's own initialisation of each layer: uniform within
    ``±1 / sqrt(fan_in)`` for convolutions and the classifier, ones and zeros for norms.
    """

    def names(self) -> list[str]:
        """List the four networks."""
        return list(VARIANTS)

    def card(self, name: str, weights: str | None = None) -> ModelCard:
        """Describe a network."""
        if name not in VARIANTS:
            raise unknown("CORnet", name, VARIANTS)
        if weights not in (None, WEIGHTS):
            raise unknown(f"set of weights for {name}", str(weights), [WEIGHTS])
        variant = VARIANTS[name]
        return ModelCard(
            f"cornet/{name}",
            task="classification",
            weights=WEIGHTS,
            all_weights=(WEIGHTS,),
            preprocessing=PREPROCESSING,
            parameters=variant.parameters,
            classes=_classes(),
            training_data="ImageNet-1k",
            licence="weights: published with code under GPL-3.0, no licence of their own stated; "
            "the network here is written anew and under the licence of thingsvision",
            citation=variant.citation,
            url="https://github.com/dicarlolab/CORnet",
        )

    def load(self, name: str, choice: Choice) -> Network:
        """Build a network with the wanted weights."""
        card = self.card(name, choice.weights)
        variant = VARIANTS[name]

        def pretrained() -> tuple[nn.Module, dict[str, Any]]:
            model = fitted(variant.build, read_weights(download(variant.address)), card.name)
            return model, {"weights": WEIGHTS, "url": variant.address}

        model, record = loaded(variant.build, choice, pretrained, "the usual one of ImageNet")
        if record["kind"] == "pretrained":
            record["checked"] = False
            warn(
                f"The published weights of {card.name} could not be tried before release; compare "
                "a few of its classes or figures with published ones before you rely on them.",
                ThingsvisionWarning,
                stacklevel=4,
            )
        backend = TorchBackend(choice.device)
        if choice.device != "meta":
            model.to(backend.device)
        return Network(card.name, model, backend, PREPROCESSING, card, record)


SOURCE = Cornet()


def _classes() -> tuple[str, ...]:
    from torchvision.models import AlexNet_Weights

    return tuple(AlexNet_Weights.DEFAULT.meta["categories"])
