"""CORnet's networks in PyTorch, built from the papers' description and published checkpoints.

Parameters have the names that the checkpoints use. Every area ends in an identity called
``output``, so that ``V4.output`` addresses the response of V4, at each time step.
"""

from __future__ import annotations

from collections import OrderedDict

from torch import Tensor, nn
from torch.nn.functional import conv2d

CHANNELS = {"V1": 64, "V2": 128, "V4": 256, "IT": 512}
CLASSES = 1000
STEPS = 5  # of R and RT
REPEATS = {"V2": 2, "V4": 4, "IT": 2}  # of S, whose V1 is feed-forward
GROUPS = 32
EXPANSION = 4  # of the channels inside an area of S


class AreaZ(nn.Module):
    """One area of Z: convolution, ReLU, pooling."""

    def __init__(self, before: int, channels: int) -> None:
        super().__init__()
        size, stride = (7, 2) if before == 3 else (3, 1)
        self.conv = nn.Conv2d(before, channels, size, stride, size // 2)
        self.relu = nn.ReLU(inplace=True)
        self.pool = nn.MaxPool2d(3, 2, 1)
        self.output = nn.Identity()

    def forward(self, incoming: Tensor) -> Tensor:
        """Respond once."""
        response: Tensor = self.output(self.pool(self.relu(self.conv(incoming))))
        return response


class AreaR(nn.Module):
    """One area of R and RT: what comes in, plus its own state, through a convolution."""

    def __init__(self, before: int, channels: int) -> None:
        super().__init__()
        size, stride = (7, 4) if before == 3 else (3, 2)
        self.conv_input = nn.Conv2d(before, channels, size, stride, size // 2)
        self.norm_input = nn.GroupNorm(GROUPS, channels)
        self.relu_input = nn.ReLU(inplace=True)
        self.conv1 = nn.Conv2d(channels, channels, 3, padding=1, bias=False)
        self.norm1 = nn.GroupNorm(GROUPS, channels)
        self.relu1 = nn.ReLU(inplace=True)
        self.output = nn.Identity()

    def forward(self, incoming: Tensor | None, state: Tensor) -> tuple[Tensor, Tensor]:
        """Respond at one time step; gives the response, and the state that it leaves."""
        drive = state
        if incoming is not None:
            drive = self.relu_input(self.norm_input(self.conv_input(incoming))) + state
        response = self.output(self.relu1(self.norm1(self.conv1(drive))))
        return response, response


class StridedConv(nn.Conv2d):
    """A convolution whose weights are shared by strides."""

    def forward(self, incoming: Tensor, stride: int = 1) -> Tensor:
        """Convolve in steps of some pixels."""
        return conv2d(incoming, self.weight, self.bias, stride, self.padding)


class FirstAreaS(nn.Module):
    """V1 of S: two convolutions, feed-forward."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, channels, 7, 2, 3, bias=False)
        self.norm1 = nn.BatchNorm2d(channels)
        self.relu1 = nn.ReLU(inplace=True)
        self.pool = nn.MaxPool2d(3, 2, 1)
        self.conv2 = nn.Conv2d(channels, channels, 3, padding=1, bias=False)
        self.norm2 = nn.BatchNorm2d(channels)
        self.relu2 = nn.ReLU(inplace=True)
        self.output = nn.Identity()

    def forward(self, images: Tensor) -> Tensor:
        """Respond once."""
        pooled = self.pool(self.relu1(self.norm1(self.conv1(images))))
        response: Tensor = self.output(self.relu2(self.norm2(self.conv2(pooled))))
        return response


class AreaS(nn.Module):
    """V2, V4 and IT of S: a bottleneck repeated; convolutions are shared, batch norms are not."""

    def __init__(self, before: int, channels: int, repeats: int) -> None:
        super().__init__()
        wide = EXPANSION * channels
        self.repeats = repeats
        self.conv_input = nn.Conv2d(before, channels, 1, bias=False)
        self.skip = nn.Conv2d(channels, channels, 1, 2, bias=False)
        self.norm_skip = nn.BatchNorm2d(channels)
        self.conv1 = nn.Conv2d(channels, wide, 1, bias=False)
        self.relu1 = nn.ReLU(inplace=True)
        self.conv2 = StridedConv(wide, wide, 3, padding=1, bias=False)
        self.relu2 = nn.ReLU(inplace=True)
        self.conv3 = nn.Conv2d(wide, channels, 1, bias=False)
        self.relu3 = nn.ReLU(inplace=True)
        self.output = nn.Identity()
        for repeat in range(repeats):
            for number, width in enumerate((wide, wide, channels), start=1):
                self.add_module(f"norm{number}_{repeat}", nn.BatchNorm2d(width))

    def forward(self, incoming: Tensor) -> Tensor:
        """Respond as often as the area is repeated, and give the last response."""
        response: Tensor = self.conv_input(incoming)
        for repeat in range(self.repeats):
            norm1, norm2, norm3 = (self.get_submodule(f"norm{n}_{repeat}") for n in (1, 2, 3))
            first = repeat == 0
            # The first repeat halves the map.
            skipped = self.norm_skip(self.skip(response)) if first else response
            inner = self.relu1(norm1(self.conv1(response)))
            inner = self.relu2(norm2(self.conv2(inner, stride=2 if first else 1)))
            response = self.output(self.relu3(norm3(self.conv3(inner)) + skipped))
        return response


def _decoder(ends_in_output: bool) -> nn.Sequential:
    layers: list[tuple[str, nn.Module]] = [
        ("avgpool", nn.AdaptiveAvgPool2d(1)),
        ("flatten", nn.Flatten()),
        ("linear", nn.Linear(CHANNELS["IT"], CLASSES)),
    ]
    if ends_in_output:
        layers.append(("output", nn.Identity()))
    return nn.Sequential(OrderedDict(layers))


def _before() -> dict[str, int]:
    """Give the number of channels that come into each area."""
    return dict(zip(CHANNELS, (3, *CHANNELS.values()), strict=False))


def cornet_z() -> nn.Module:
    """Build CORnet-Z: four areas, one pass."""
    areas = [(area, AreaZ(n, CHANNELS[area])) for area, n in _before().items()]
    return nn.Sequential(OrderedDict([*areas, ("decoder", _decoder(ends_in_output=True))]))


def cornet_s() -> nn.Module:
    """Build CORnet-S: areas that repeat themselves before they pass on."""
    areas: list[tuple[str, nn.Module]] = [("V1", FirstAreaS(CHANNELS["V1"]))]
    for area, repeats in REPEATS.items():
        areas.append((area, AreaS(_before()[area], CHANNELS[area], repeats)))
    return nn.Sequential(OrderedDict([*areas, ("decoder", _decoder(ends_in_output=True))]))


class CornetR(nn.Module):
    """R and RT: all areas respond at every time step.

    Parameters
    ----------
    takes_time : bool
        Whether a response needs one step to reach the next area (RT), or none (R).
    """

    def __init__(self, takes_time: bool) -> None:
        super().__init__()
        self.takes_time = takes_time
        for area, before in _before().items():
            self.add_module(area, AreaR(before, CHANNELS[area]))
        self.decoder = _decoder(ends_in_output=False)

    def forward(self, images: Tensor) -> Tensor:
        """Show the images at every step, and classify the last response of IT."""
        states = self._silence(images)
        responses: dict[str, Tensor] = {}
        for _ in range(STEPS):
            earlier = dict(responses)
            # At the first step nothing has reached the areas behind V1, in R as in RT.
            seen = earlier if self.takes_time or not earlier else responses
            incoming: Tensor | None = images
            for area in CHANNELS:
                respond = self.get_submodule(area)
                responses[area], states[area] = respond(incoming, states[area])
                incoming = seen.get(area)
        classes: Tensor = self.decoder(responses["IT"])
        return classes

    @staticmethod
    def _silence(images: Tensor) -> dict[str, Tensor]:
        """Give every area a state of zeros, of the size of its response."""
        count, _, height, width = images.shape
        height, width = (height + 1) // 2, (width + 1) // 2
        states = {}
        for area, channels in CHANNELS.items():
            height, width = (height + 1) // 2, (width + 1) // 2
            states[area] = images.new_zeros(count, channels, height, width)
        return states


def cornet_r() -> nn.Module:
    """Build CORnet-R: an area sees what the one before it responds at the same step."""
    return CornetR(takes_time=False)


def cornet_rt() -> nn.Module:
    """Build CORnet-RT: an area sees what the one before it responded a step earlier."""
    return CornetR(takes_time=True)
