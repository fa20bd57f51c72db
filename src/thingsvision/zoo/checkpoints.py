"""Published checkpoints of known architectures, listed in ``checkpoints.toml``."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache, partial
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from torch import nn

from ..backends.torch import TorchBackend
from ..errors import WeightsError, unknown
from ..optional import require
from ..preprocessing import Preprocessing
from ..provenance import digest_file
from .card import ModelCard
from .network import Network
from .source import Choice
from .weights import Build, download, fitted, loaded, read_weights, skeleton

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

TABLE = Path(__file__).with_name("checkpoints.toml")
WEIGHTS = "published"


@dataclass(frozen=True)
class Checkpoints:
    """A table of checkpoints, seen as a source.

    Parameters
    ----------
    table : pathlib.Path
        A TOML file; its head explains the entries.
    """

    table: Path = TABLE

    def names(self) -> list[str]:
        """List the checkpoints of the table."""
        return list(_entries(self.table))

    def card(self, name: str, weights: str | None = None) -> ModelCard:
        """Describe a checkpoint by its entry."""
        if weights not in (None, WEIGHTS):
            raise unknown(f"set of weights for {name}", str(weights), [WEIGHTS])
        entry = self._entry(name)
        return ModelCard(
            f"checkpoints/{name}",
            task=entry.get("task", ""),
            weights=WEIGHTS,
            all_weights=(WEIGHTS,),
            preprocessing=_preprocessing(name, entry),
            parameters=entry.get("parameters"),
            classes=_CLASSES[entry["classes"]]() if "classes" in entry else (),
            training_data=entry.get("training_data", ""),
            licence=entry.get("licence", ""),
            citation=entry.get("citation", ""),
            url=entry.get("url", ""),
        )

    def load(self, name: str, choice: Choice) -> Network:
        """Build the architecture with the wanted weights."""
        entry, card = self._entry(name), self.card(name, choice.weights)
        library, _, architecture = entry["architecture"].partition("/")
        build = partial(_ARCHITECTURES[library], architecture)

        def pretrained() -> tuple[nn.Module, dict[str, Any]]:
            state = read_weights(_file(name, entry))
            if entry["keys"] == "by order":
                state = _by_order(name, state, skeleton(build))
            model = fitted(build, state, name)
            return model, {"address": entry["address"], "checked": entry["checked"]}

        model, record = loaded(build, choice, pretrained, f"that of {name}")
        assert card.preprocessing is not None
        backend = TorchBackend(choice.device)
        if choice.device != "meta":
            model.to(backend.device)
        return Network(card.name, model, backend, card.preprocessing, card, record)

    def _entry(self, name: str) -> Mapping[str, Any]:
        entries = _entries(self.table)
        if name not in entries:
            raise unknown("checkpoint", name, entries)
        return entries[name]


SOURCE = Checkpoints()


@cache
def _entries(table: Path) -> dict[str, dict[str, Any]]:
    return tomllib.loads(table.read_text(encoding="utf-8"))


def _preprocessing(name: str, entry: Mapping[str, Any]) -> Preprocessing:
    values = dict(entry["preprocessing"])
    for key in ("mean", "std"):
        values[key] = tuple(values[key])
    return Preprocessing(**values, origin=f"checkpoints {name}")


def _file(name: str, entry: Mapping[str, Any]) -> Path:
    """Find the checkpoint's file, download it if need be, and check its digest."""
    address: str = entry["address"]
    kind, _, rest = address.partition(":")
    if kind == "package":
        package, _, inside = rest.partition("/")
        spec = find_spec(package)
        if spec is None or not spec.submodule_search_locations:
            require(package)  # says which extra brings it
        assert spec is not None and spec.submodule_search_locations
        file = Path(spec.submodule_search_locations[0]) / inside
        if not file.is_file():
            raise WeightsError(
                f"The installed package {package!r} has no file {inside!r}: it is of another "
                f"version than the checkpoint {name} was taken from."
            )
    else:
        file = download(address)
    found = digest_file(file)
    if entry["sha256"] and found != entry["sha256"]:
        raise WeightsError(
            f"The file {str(file)!r} is not the published checkpoint {name}: its SHA-256 is "
            f"{found}, expected was {entry['sha256']}. Delete it and get it again."
        )
    return file


def _by_order(name: str, state: Mapping[str, Any], model: nn.Module) -> dict[str, Any]:
    expected = model.state_dict()
    pairs = list(zip(expected.items(), state.items(), strict=False))
    wrong = [key for (key, want), (_, have) in pairs if want.shape != have.shape]
    if len(expected) != len(state) or wrong:
        raise WeightsError(
            f"The checkpoint {name} has {len(state)} entries for {len(expected)} of the "
            f"architecture, {len(wrong)} of another shape, so it cannot be fitted by order."
        )
    return {key: value for (key, _), (_, value) in pairs}


def _timm(architecture: str, **options: Any) -> nn.Module:
    import timm

    model: nn.Module = timm.create_model(architecture, pretrained=False, **options)
    return model


def _torchvision(architecture: str, **options: Any) -> nn.Module:
    from torchvision.models import get_model

    model: nn.Module = get_model(architecture, weights=None, **options)
    return model


def _imagenet() -> tuple[str, ...]:
    from torchvision.models import AlexNet_Weights

    return tuple(AlexNet_Weights.DEFAULT.meta["categories"])


_ARCHITECTURES: dict[str, Build] = {"timm": _timm, "torchvision": _torchvision}
_CLASSES = {"imagenet": _imagenet}
