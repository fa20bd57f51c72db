"""timm: every architecture and every set of weights that its registry has."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from functools import cache, partial
from math import floor
from typing import Any

import timm
from timm.data.config import resolve_data_config
from timm.data.imagenet_info import ImageNetInfo
from timm.models import get_arch_pretrained_cfgs, get_pretrained_cfg
from torch import nn

from ..backends.torch import TorchBackend
from ..errors import InvalidArgument, WeightsError, unknown
from ..preprocessing import INTERPOLATIONS, Preprocessing
from .card import ModelCard
from .network import Network
from .source import Choice
from .weights import cache_folder, download, loaded, quiet

CITATION = "Wightman 2019, PyTorch Image Models, doi:10.5281/zenodo.4414861"
# Part of a tag -> the images that it stands for. Other parts name recipes, authors and sizes.
DATASETS = {
    "cc12m": "CC12M", "datacomp1b": "DataComp-1B", "datacompxl": "DataComp-XL", "dfn2b": "DFN-2B",
    "dfn5b": "DFN-5B", "ig1b": "IG-1B", "in12k": "ImageNet-12k", "in1k": "ImageNet-1k",
    "in21k": "ImageNet-21k", "in22k": "ImageNet-22k", "inat21": "iNaturalist 2021", "jft": "JFT",
    "laion2b": "LAION-2B", "laion400m": "LAION-400M", "lvd142m": "LVD-142M",
    "lvd1689m": "LVD-1689M", "m38m": "Merged-38M", "merged2b": "Merged-2B", "metaclip": "MetaCLIP",
    "openai": "WebImageText", "sa1b": "SA-1B", "sat493m": "SAT-493M", "webli": "WebLI",
    "yfcc100m": "YFCC100M", "yfcc15m": "YFCC15M",
}  # fmt: skip
WIDEST_EMBEDDING = 4096  # of images and texts; labels beside the 1,000 are more than that
# For a file whose head is not that of the tag: without one, or with one of any number of classes.
HEADS: tuple[dict[str, Any], ...] = ({}, {"num_classes": 0}, {"num_classes": 1000})


class Timm:
    """The registry of timm, seen as a source."""

    def names(self) -> list[str]:
        """List the architectures of the registry."""
        names: list[str] = timm.list_models()
        return names

    def card(self, name: str, weights: str | None = None) -> ModelCard:
        """Describe an architecture by the configuration of its weights."""
        if not timm.is_model(name):
            raise unknown("architecture of timm", name, self.names())
        configs = _published(name)
        if weights is not None and weights not in configs:
            raise unknown(f"set of weights for {name}", weights, configs)
        chosen = weights or next(iter(configs), None)
        config = _config(name, chosen)
        if refusal := _refusal(config):
            return ModelCard(
                f"timm/{name}", weights=chosen, all_weights=tuple(configs), refusal=refusal
            )
        return ModelCard(
            f"timm/{name}",
            task=_task(config),
            weights=chosen,
            all_weights=tuple(configs),
            preprocessing=_preprocessing(_tagged(name, chosen), config),
            classes=_classes(chosen, config),
            training_data=_training_data(chosen, config),
            licence=config.license or "",
            citation="; ".join(filter(None, [_paper(config), CITATION])),
            url=_address(config),
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
        # The tag, since it tells the number of classes and the size of the images.
        tagged = _tagged(name, card.weights)
        build = partial(timm.create_model, tagged, pretrained=False)

        def pretrained() -> tuple[nn.Module, dict[str, Any]]:
            model = _downloaded(tagged, _config(name, card.weights))
            return model, {"weights": card.weights, "url": card.url}

        assumed = f"that of {card.weights or 'the architecture'}"
        model, record = loaded(build, choice, pretrained, assumed, HEADS)
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


def _config(name: str, tag: str | None) -> Any:
    """Give the configuration of published weights, or the architecture's where there are none."""
    return _published(name)[tag] if tag is not None else get_pretrained_cfg(name)


def _tagged(name: str, tag: str | None) -> str:
    return f"{name}.{tag}" if tag is not None else name


def _refusal(config: Any) -> str:
    if config is None:
        return "timm does not say what images it takes"
    if config.input_size[0] != 3:
        return f"it takes images of {config.input_size[0]} channels, not of red, green and blue"
    if config.interpolation not in INTERPOLATIONS:
        return f"its interpolation, {config.interpolation!r}, is not known here"
    return ""


def _preprocessing(tagged: str, config: Any) -> Preprocessing:
    """Read the record as timm's ``create_transform`` makes its transform for evaluation.

    Without its option ``use_test_size``, as timm itself does unless it is told otherwise.
    """
    resolve: Callable[..., dict[str, Any]] = resolve_data_config
    data = resolve(pretrained_cfg=config.to_dict())
    crop = data["input_size"][1:]
    size = (floor(crop[0] / data["crop_pct"]), floor(crop[1] / data["crop_pct"]))
    how: dict[str, Any] = {"resize": size[0]}
    if data["crop_mode"] == "squash":
        how = {"resize": size}
    elif data["crop_mode"] == "border":
        fill = tuple(round(255 * value) for value in data["mean"])
        how = {"resize": size, "fit": "contain", "fill": fill}
    elif size[0] != size[1]:
        how = {"resize": size, "fit": "cover"}
    return Preprocessing(
        **how,
        crop=crop[0] if crop[0] == crop[1] else crop,
        interpolation=data["interpolation"],
        mean=data["mean"],
        std=data["std"],
        origin=f"timm {tagged}" if config.has_weights else f"timm {tagged}, its architecture",
    )


def _task(config: Any) -> str:
    """Tell by the number of outputs, all that timm says: towers of CLIP have their embedding's."""
    count = config.num_classes
    return "classification" if count == 1000 or count > WIDEST_EMBEDDING else "features"


def _classes(tag: str | None, config: Any) -> tuple[str, ...]:
    """Name the classes where tag and number agree that they are those of ImageNet-1k."""
    is_known = config.num_classes == 1000 and "in1k" in (tag or "").split("_")
    return _imagenet() if is_known else ()


@cache
def _imagenet() -> tuple[str, ...]:
    info: Any = ImageNetInfo("imagenet-1k")
    return tuple(info.index_to_description(index) for index in range(info.num_classes()))


def _training_data(tag: str | None, config: Any) -> str:
    """Tell what the tag says, and what timm notes beside it."""
    if tag is None:
        return ""
    named = dict.fromkeys(DATASETS[part] for part in tag.split("_") if part in DATASETS)
    said = f"{', '.join(named)}, by the tag {tag}" if named else f"see the tag {tag}"
    notes = (config.notes,) if isinstance(config.notes, str) else config.notes or ()
    return "; ".join([said, *notes])


def _paper(config: Any) -> str:
    identifiers = config.paper_ids or ()
    identifiers = (identifiers,) if isinstance(identifiers, str) else identifiers
    return ", ".join(filter(None, [config.paper_name, *identifiers]))


def _address(config: Any) -> str:
    from huggingface_hub.constants import ENDPOINT  # the hub, or the user's mirror of it

    if config.has_weights and config.hf_hub_id:
        return f"{ENDPOINT}/{config.hf_hub_id}"
    return config.url or config.origin_url or ""


def _downloaded(tagged: str, config: Any) -> nn.Module:
    """Let timm get its weights; it reads safetensors, or others without running code."""
    if not config.hf_hub_id:
        download(config.url)  # to where timm looks first; it checks the digest in the name
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)
            model: nn.Module = quiet(partial(timm.create_model, tagged, pretrained=True))
    except Exception as error:  # of the hub's library, of the network, of the file
        reason = (str(error).splitlines() or [""])[0] or type(error).__name__
        raise WeightsError(
            f"The weights of timm/{tagged} cannot be had from {_address(config)} ({reason}). On a "
            "machine with a connection, load the network once and copy what it has put into "
            f"{_place(config)!r} to the same place here, or give a file with weights=. "
            "pretrained=False needs no download."
        ) from error
    return model


def _place(config: Any) -> str:
    """Name the place in the cache that timm takes weights from."""
    from huggingface_hub.constants import HF_HUB_CACHE
    from huggingface_hub.file_download import repo_folder_name

    if not config.hf_hub_id:
        return str(cache_folder())
    repository = config.hf_hub_id.partition("@")[0]
    return f"{HF_HUB_CACHE}/{repo_folder_name(repo_id=repository, repo_type='model')}"
