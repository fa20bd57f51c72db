"""timm: every architecture and every set of weights that its registry has."""

from __future__ import annotations

import warnings
from functools import cache, partial
from math import floor
from typing import Any

import timm
from timm.models import get_arch_pretrained_cfgs, get_pretrained_cfg
from torch import nn

from ..backends.torch import TorchBackend
from ..errors import InvalidArgument, WeightsError, unknown
from ..preprocessing import Preprocessing
from .card import ModelCard
from .network import Network
from .source import Choice
from .weights import cache_folder, loaded, quiet

CITATION = "Wightman 2019, PyTorch Image Models, doi:10.5281/zenodo.4414861"
DEFAULT_CROP = 0.875  # of timm's transform, where a configuration names none


class Timm:
    """The registry of timm, seen as a source."""

    def names(self) -> list[str]:
        """List the architectures of the registry."""
        names: list[str] = timm.list_models()
        return names

    def card(self, name: str, weights: str | None = None) -> ModelCard:
        """Describe an architecture by the configuration of its weights."""
        configs = _published(name)
        if weights is not None and weights not in configs:
            raise unknown(f"set of weights for {name}", weights, configs)
        default = next(iter(configs), None)
        chosen = weights or default
        config = configs[chosen] if chosen is not None else get_pretrained_cfg(name)
        if config is None:
            return ModelCard(f"timm/{name}", refusal="timm does not say what images it takes")
        return ModelCard(
            f"timm/{name}",
            task="classification" if config.num_classes else "features",
            weights=chosen,
            all_weights=tuple(configs),
            preprocessing=_preprocessing(name, chosen, config),
            classes=_classes(config),
            training_data=_training_data(chosen, config),
            licence=config.license or "",
            citation="; ".join(filter(None, [_paper(config), CITATION])),
            url=_address(name, chosen, config) or config.origin_url or "",
            refusal=_refusal(name),
        )

    def load(self, name: str, choice: Choice) -> Network:
        """Build an architecture with the wanted weights."""
        card = self.card(name, choice.weights)
        if card.refusal or card.preprocessing is None:
            raise InvalidArgument(f"{card.name} cannot be used: {card.refusal}.")
        if choice.pretrained and choice.file is None and card.weights is None:
            raise WeightsError(
                f"timm has published no weights for {name}. Use pretrained=False, or a file of "
                "your own with weights=."
            )
        build = partial(timm.create_model, name, pretrained=False)

        def pretrained() -> tuple[nn.Module, dict[str, Any]]:
            return _download(name, card), {"weights": card.weights, "url": card.url}

        assumed = f"that of {card.weights or 'the architecture'}"
        model, record = loaded(build, choice, pretrained, assumed)
        backend = TorchBackend(choice.device)
        if choice.device != "meta":
            model.to(backend.device)
        is_trained = record["kind"] == "pretrained"
        full_name = f"{card.name}.{card.weights}" if is_trained else card.name
        return Network(full_name, model, backend, card.preprocessing, card, record)


SOURCE = Timm()


@cache
def _published(name: str) -> dict[str, Any]:
    """Give the configurations of published weights by tag, the default first."""
    configs = get_arch_pretrained_cfgs(name)  # by "name.tag", in timm's order
    return {key.partition(".")[2]: config for key, config in configs.items() if config.has_weights}


def _refusal(name: str) -> str:
    if name.startswith("naflex"):
        return "it takes patches of images of any size, which a fixed size of image cannot feed"
    return ""


def _preprocessing(name: str, tag: str | None, config: Any) -> Preprocessing:
    """Read the record as timm's own transform for evaluation is made."""
    crop = config.input_size[1:]
    share = config.crop_pct or DEFAULT_CROP
    size = (floor(crop[0] / share), floor(crop[1] / share))
    how: dict[str, Any] = {"resize": size[0]}
    if size[0] != size[1]:
        how = {"resize": size, "fit": "cover"}
    if config.crop_mode == "squash":
        how = {"resize": size}
    elif config.crop_mode == "border":
        fill = tuple(round(255 * value) for value in config.mean)
        how = {"resize": size, "fit": "contain", "fill": fill}
    return Preprocessing(
        **how,
        crop=crop[0] if crop[0] == crop[1] else crop,
        interpolation=config.interpolation,
        mean=config.mean,
        std=config.std,
        origin=f"timm {name}.{tag}" if tag else f"timm {name}, its architecture",
    )


def _classes(config: Any) -> tuple[str, ...]:
    """Name the classes of ImageNet-1k, the only ones that timm's numbers tell."""
    if config.num_classes != 1000:
        return ()
    return _imagenet()


@cache
def _imagenet() -> tuple[str, ...]:
    from timm.data.imagenet_info import ImageNetInfo

    info: Any = ImageNetInfo("imagenet-1k")
    return tuple(info.index_to_description(index) for index in range(info.num_classes()))


def _training_data(tag: str | None, config: Any) -> str:
    if tag is None:
        return ""
    return f"see the tag {tag}" + (f"; {config.notes}" if config.notes else "")


def _paper(config: Any) -> str:
    identifiers = config.paper_ids or ()
    identifiers = (identifiers,) if isinstance(identifiers, str) else identifiers
    return ", ".join(filter(None, [config.paper_name, *identifiers]))


def _address(name: str, tag: str | None, config: Any) -> str:
    if config.hf_hub_id:
        hub = config.hf_hub_id
        hub = f"{hub}{name}.{tag}" if hub.endswith("/") else hub
        return f"https://huggingface.co/{hub}"
    return config.url or ""


def _download(name: str, card: ModelCard) -> nn.Module:
    """Let timm get its weights; it reads safetensors, or others without running code."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)
            model: nn.Module = quiet(
                partial(timm.create_model, f"{name}.{card.weights}", pretrained=True)
            )
    except Exception as error:  # of the hub's library, of the network, of the file
        reason = (str(error).splitlines() or [""])[0] or type(error).__name__
        raise WeightsError(
            f"The weights {card.weights} of timm/{name} cannot be had from {card.url} ({reason}). "
            "On a machine with a connection, download them and give the file with weights=; "
            f"the hub's library keeps its files in {_hub_folder()!r}, timm its others in "
            f"{str(cache_folder())!r}. pretrained=False needs no download."
        ) from error
    return model


def _hub_folder() -> str:
    from huggingface_hub.constants import HF_HUB_CACHE

    return str(HF_HUB_CACHE)
