"""Everything that can be plugged in passes the battery of its contract."""

from __future__ import annotations

from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
import pytest

from thingsvision.backends.toy import ToyBackend, ToyNetwork
from thingsvision.errors import StoreError
from thingsvision.store import STORES
from thingsvision.store.npy import NpyStore
from thingsvision.testing import check_backend, check_source, check_store, toy_network
from thingsvision.zoo import Choice, ModelCard


@pytest.mark.parametrize("format", STORES)
def test_stores(format: str, tmp_path: Path) -> None:
    check_store(STORES[format], tmp_path)


@pytest.mark.parametrize("size", [(8, 6), (3, 5), (1, 1)])
def test_toy_backend(size: tuple[int, int]) -> None:
    check_backend(ToyBackend(), ToyNetwork(), size)


def torch_network() -> Any:
    """Build a small network with all that is awkward in real ones."""
    torch = pytest.importorskip("torch")
    nn = torch.nn

    class Awkward(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv = nn.Conv2d(3, 8, 3)
            self.norm = nn.BatchNorm2d(8)
            self.relu = nn.ReLU(inplace=True)
            self.attention = nn.MultiheadAttention(8, 2)  # sequence first
            self.drop = nn.Dropout()
            self.fc = nn.Linear(8, 5)

        def forward(self, x: Any) -> Any:
            x = self.relu(self.norm(self.conv(x)))
            x = self.relu(x - 0.1)
            tokens = x.flatten(2).permute(2, 0, 1)
            tokens, _ = self.attention(tokens, tokens, tokens)
            return self.fc(self.drop(tokens.mean(0)))

    torch.manual_seed(0)
    return Awkward()


def test_torch_backend() -> None:
    model = torch_network()
    from thingsvision.backends.torch import TorchBackend

    check_backend(TorchBackend("cpu"), model, (12, 10))
    assert model.training, "the mode is left as it was found"


@pytest.mark.parametrize(
    ("source", "name"), [("torchvision", "squeezenet1_1"), ("checkpoints", "efficientnet_lite0")]
)
def test_sources(source: str, name: str) -> None:
    from thingsvision.zoo.catalogue import SOURCES

    check_source(SOURCES[source], name)


# The batteries find what they look for.


class NoCopy(ToyBackend):
    def run(self, model: Any, batch: Any, captures: Any, reductions: Any, **options: Any) -> Any:
        found = super().run(model, batch, captures, reductions, **options)
        if "double:0" in found and "double" in found:  # as if both were one piece of memory
            found["double:0"] = found["double"]
        return found


class Unordered(ToyBackend):
    def run(self, *args: Any, **options: Any) -> Any:
        return dict(sorted(super().run(*args, **options).items()))


class WrongShape(ToyBackend):
    def run(self, *args: Any, **options: Any) -> Any:
        return {key: array[:, None] for key, array in super().run(*args, **options).items()}


class Mixing(ToyBackend):
    def run(self, *args: Any, **options: Any) -> Any:
        found = super().run(*args, **options)
        return {key: array - array.mean(0) for key, array in found.items()}


class Unseeded(ToyBackend):
    def run(self, *args: Any, **options: Any) -> Any:
        np.random.seed(0)  # noqa: NPY002
        return super().run(*args, **options)


@pytest.mark.parametrize(
    ("backend", "message"),
    [
        (NoCopy, "capturing double:0 alone changes the numbers"),
        (Unordered, "order in which they were asked for"),
        (WrongShape, "the survey promised"),
        (Mixing, "one by one changes the numbers"),
        (Unseeded, "global random state"),
    ],
)
def test_the_battery_for_backends_finds_faults(backend: type, message: str) -> None:
    with pytest.raises(AssertionError, match=message):
        check_backend(backend(), ToyNetwork(), (8, 6))


class Forgetful(NpyStore):
    def has(self, start: int) -> bool:
        return False


class Blind(NpyStore):
    def begin(self, *args: Any) -> bool:
        with patch("thingsvision.store.base.refuse_changed"):
            return super().begin(*args)


class Eager(NpyStore):
    def read(self) -> Any:
        try:
            return super().read()
        except StoreError:
            return None


class Shifted(NpyStore):
    def put(self, file: str, start: int, rows: Any) -> None:
        super().put(file, start, rows[::-1])


@pytest.mark.parametrize(
    ("store", "message"),
    [
        (Forgetful, "denies a batch that was written"),
        (Blind, "a changed image"),
        (Eager, "reading an unfinished store"),
        (Shifted, "numbers have changed"),
    ],
)
def test_the_battery_for_stores_finds_faults(store: Any, message: str, tmp_path: Path) -> None:
    with pytest.raises(AssertionError, match=message):
        check_store(store, tmp_path)


class ToySource:
    """A source of toy networks."""

    def names(self) -> list[str]:
        return ["toy"]

    def card(self, name: str, weights: str | None = None) -> ModelCard:
        from thingsvision.errors import unknown

        if name not in self.names():
            raise unknown("toy", name, self.names())
        if weights is not None:
            raise unknown("set of weights", weights, [])
        return ModelCard(f"local/{name}")

    def load(self, name: str, choice: Choice) -> Any:
        return toy_network(choice.seed)


class OneSeed(ToySource):
    def load(self, name: str, choice: Choice) -> Any:
        return toy_network(0)


class Careless(ToySource):
    def card(self, name: str, weights: str | None = None) -> ModelCard:
        return super().card(name)


def test_the_battery_for_sources() -> None:
    check_source(ToySource(), "toy")
    for source, name, message in (
        (OneSeed(), "toy", "Another seed"),
        (Careless(), "toy", "refuse unknown weights"),
        (ToySource(), "tiger", "does not list 'tiger'"),
    ):
        with pytest.raises(AssertionError, match=message):
            check_source(source, name)
