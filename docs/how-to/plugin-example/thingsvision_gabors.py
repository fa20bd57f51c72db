"""Gabor filters, a model of simple and complex cells, as a source of thingsvision."""

from functools import partial
from math import pi

import torch
from torch import nn

from thingsvision import Preprocessing
from thingsvision.backends.torch import TorchBackend
from thingsvision.errors import unknown
from thingsvision.zoo import Choice, ModelCard, Network
from thingsvision.zoo.weights import loaded

SIDE, WAVELENGTH, WIDTH = 15, 6.0, 3.0  # of a filter, in pixels
FILTERS = {"gabors_16": 16, "gabors_64": 64}
REGULAR = "regular"  # the only weights: angles at even distances
PREPROCESSING = Preprocessing(
    resize=64, crop=64, mean=(0.5, 0.5, 0.5), std=(0.5, 0.5, 0.5), origin="thingsvision-gabors"
)


class Gabors(nn.Module):
    """Simple cells, rectified, and their mean over a neighbourhood."""

    def __init__(self, count: int, is_regular: bool = False) -> None:
        super().__init__()
        steps = torch.arange(count)
        angles = steps * pi / count if is_regular else torch.rand(count) * pi
        phases = steps % 2 * pi / 2 if is_regular else torch.rand(count) * 2 * pi
        self.simple = nn.Conv2d(3, count, SIDE, stride=2, bias=False)
        self.simple.weight = nn.Parameter(filters(angles, phases))
        self.rectify = nn.ReLU()
        self.complex = nn.AvgPool2d(5)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return self.complex(self.rectify(self.simple(images)))


def filters(angles: torch.Tensor, phases: torch.Tensor) -> torch.Tensor:
    """Compute Gabor filters, shape ``(n_filters, 3, SIDE, SIDE)``, the same in each channel."""
    y, x = torch.meshgrid(*2 * [torch.arange(SIDE) - SIDE // 2], indexing="ij")
    along = x * angles.cos()[:, None, None] + y * angles.sin()[:, None, None]
    waves = torch.cos(2 * pi * along / WAVELENGTH + phases[:, None, None])
    found = waves * torch.exp(-(x**2 + y**2) / (2 * WIDTH**2))
    found = found - found.mean((1, 2), keepdim=True)
    return found[:, None].repeat(1, 3, 1, 1) / 3


class Source:
    """What thingsvision asks: which models there are, what is known of one, and one itself."""

    def names(self) -> list[str]:
        return list(FILTERS)

    def card(self, name: str, weights: str | None = None) -> ModelCard:
        if name not in FILTERS:
            raise unknown("bank of filters", name, FILTERS)
        if weights not in (None, REGULAR):
            raise unknown(f"set of weights for {name}", weights, [REGULAR])
        return ModelCard(
            f"gabors/{name}",
            task="filtering",
            weights=REGULAR,
            all_weights=(REGULAR,),  # the default first
            preprocessing=PREPROCESSING,
            parameters=FILTERS[name] * 3 * SIDE * SIDE,
            licence="MIT",
            citation="Gabor 1946, doi:10.1049/ji-3-2.1946.0074",
        )

    def load(self, name: str, choice: Choice) -> Network:
        card = self.card(name, choice.weights)
        build = partial(Gabors, FILTERS[name])

        def pretrained() -> tuple[nn.Module, dict[str, str]]:
            return build(is_regular=True), {"weights": REGULAR}

        # Random weights, a file of the user's and the outline without weights are seen to there.
        model, record = loaded(build, choice, pretrained, assumed=f"that of {card.name}")
        backend = TorchBackend(choice.device)
        if choice.device != "meta":
            model.to(backend.device)
        return Network(card.name, model, backend, PREPROCESSING, card, record)


SOURCE = Source()
