"""Published checkpoints of known architectures, listed in ``checkpoints.toml``."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any
from urllib.parse import urlparse
from warnings import warn

from torch import nn

from ..backends.torch import TorchBackend
from ..errors import InvalidArgument, ThingsvisionWarning, WeightsError, listing, unknown
from ..optional import require
from ..preprocessing import Preprocessing
from ..provenance import digest_file
from .card import ModelCard
from .downloads import download
from .key_rules import KeyRule
from .network import Network
from .source import Choice
from .weights import Build, fitted, loaded, read_weights, skeleton

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
        return list(entries(self.table))

    def card(self, name: str, weights: str | None = None) -> ModelCard:
        """Describe a checkpoint by its entry."""
        if weights not in (None, WEIGHTS):
            raise unknown(f"set of weights for {name}", str(weights), [WEIGHTS])
        entry = self._entry(name)
        return ModelCard(
            f"checkpoints/{name}",
            task=entry["task"],
            weights=WEIGHTS,
            all_weights=(WEIGHTS,),
            preprocessing=_preprocessing(name, entry),
            parameters=entry["parameters"],
            classes=_CLASSES[entry["classes"]](),
            training_data=entry["training_data"],
            licence=entry["licence"],
            citation=entry["citation"],
            url=entry["url"],
        )

    def load(self, name: str, choice: Choice) -> Network:
        """Build the architecture with the wanted weights."""
        entry, card = self._entry(name), self.card(name, choice.weights)
        build = architecture(entry)
        rule = KeyRule.read(entry["keys"])

        left_out: list[str] = []

        def read(path: str | Path) -> dict[str, Any]:
            state = read_weights(path, rule.inside)
            fitting = rule.apply(name, state, skeleton(build).state_dict())
            left_out.extend(rule.dropped(state))
            return fitting

        def pretrained() -> tuple[nn.Module, dict[str, Any]]:
            model = fitted(build, read(_file(name, entry)), card.name)
            return model, {"address": entry["address"]}

        model, record = loaded(build, choice, pretrained, f"that of {name}", read=read)
        if record["kind"] in ("file", "pretrained"):
            record |= {"checked": entry["checked"], "left out": left_out}
            _warn(card.name, entry["checked"], left_out if record["kind"] == "file" else [])
        assert card.preprocessing is not None
        backend = TorchBackend(choice.device)
        if choice.device != "meta":
            model.to(backend.device)
        return Network(card.name, model, backend, card.preprocessing, card, record)

    def _entry(self, name: str) -> Mapping[str, Any]:
        known = entries(self.table)
        if name not in known:
            raise unknown("checkpoint", name, known)
        return known[name]


SOURCE = Checkpoints()


def _warn(name: str, is_checked: bool, left_out: Sequence[str]) -> None:
    """Say what is not certain of a file of weights."""
    if not is_checked:
        warn(
            f"The file of {name} fits, but could not be tried before release; compare some of its "
            "results with published ones before you rely on it.",
            ThingsvisionWarning,
            stacklevel=5,
        )
    if left_out:
        warn(
            f"{len(left_out)} entries of the file were left out, as heads of {name} are: "
            f"{listing(left_out)}. Make sure that the file is a checkpoint of this kind.",
            ThingsvisionWarning,
            stacklevel=5,
        )


REQUIRED = ("architecture", "address", "preprocessing")
DEFAULTS: dict[str, Any] = {
    "options": {}, "without": [], "sha256": "", "keys": {}, "checked": False, "classes": "",
    "parameters": None, "task": "", "training_data": "", "licence": "", "citation": "", "url": "",
}  # fmt: skip


@cache
def entries(table: Path) -> dict[str, dict[str, Any]]:
    """Read a table; what an entry is like, it takes over from that one.

    Raises
    ------
    InvalidArgument
        If a field is missing, or is none.
    """
    found: dict[str, dict[str, Any]] = {}
    for name, entry in tomllib.loads(table.read_text(encoding="utf-8")).items():
        like = entry.pop("like", None)
        if like is not None and like not in found:
            raise unknown(f"checkpoint above {name}", like, found)
        whole = {**DEFAULTS, **(found[like] if like else {}), **entry}
        for field in entry:
            if field not in (*REQUIRED, *DEFAULTS):
                raise unknown(f"field of checkpoints ({name})", field, (*REQUIRED, *DEFAULTS))
        if missing := [field for field in REQUIRED if field not in whole]:
            raise InvalidArgument(
                f"The checkpoint {name} of {str(table)!r} lacks {listing(missing)}. The head of "
                f"{str(TABLE)!r} explains all fields."
            )
        found[name] = whole
    return found


def architecture(entry: Mapping[str, Any]) -> Build:
    """Give what builds the architecture of an entry, without weights."""
    library, _, name = entry["architecture"].partition("/")
    if library not in _LIBRARIES:
        raise unknown("library of architectures", library, _LIBRARIES)

    def build(**options: Any) -> nn.Module:
        model = _LIBRARIES[library](name, **{**entry["options"], **options})
        for head in entry["without"]:
            setattr(model, head, nn.Identity())
        return model

    return build


def _preprocessing(name: str, entry: Mapping[str, Any]) -> Preprocessing:
    values = dict(entry["preprocessing"])
    is_assumed = values.pop("assumed", False)
    for key in ("mean", "std"):
        if key in values:
            values[key] = tuple(values[key])
    origin = f"checkpoints {name}{', assumed: it is not published' if is_assumed else ''}"
    return Preprocessing(**values, origin=origin)


def _file(name: str, entry: Mapping[str, Any]) -> Path:
    """Find the checkpoint's file, download it if need be, and check its digest."""
    address: str = entry["address"]
    if not address:
        raise WeightsError(
            f"No lasting address of the file of checkpoints/{name} is known. Look for it at "
            f"{entry['url']}, download it and give it with weights=FILE; its keys are understood."
        )
    if not address.startswith("package:"):
        # Many are called resnet50.pth or download, so the entry's name goes before.
        return download(address, entry["sha256"], f"{name}-{Path(urlparse(address).path).name}")
    package, _, inside = address.removeprefix("package:").partition("/")
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
    found = digest_file(file)
    if entry["sha256"] and found != entry["sha256"]:
        raise WeightsError(
            f"The file {str(file)!r} is not the published checkpoint {name}: its SHA-256 is "
            f"{found}, expected was {entry['sha256']}. Delete it and get it again."
        )
    return file


def _timm(name: str, **options: Any) -> nn.Module:
    import timm

    model: nn.Module = timm.create_model(name, pretrained=False, **options)
    return model


def _torchvision(name: str, **options: Any) -> nn.Module:
    from torchvision.models import get_model

    model: nn.Module = get_model(name, weights=None, **options)
    return model


def _imagenet() -> tuple[str, ...]:
    from torchvision.models import AlexNet_Weights

    return tuple(AlexNet_Weights.DEFAULT.meta["categories"])


_LIBRARIES: dict[str, Build] = {"timm": _timm, "torchvision": _torchvision}
_CLASSES: dict[str, Callable[[], tuple[str, ...]]] = {"": tuple, "imagenet": _imagenet}
