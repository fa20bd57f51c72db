"""Hugging Face: image models and vision–language models from its hub, from folders, at random."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from inspect import signature
from pathlib import Path
from typing import Any, TypeVar

import transformers
from huggingface_hub import constants
from torch import nn
from transformers.models.auto import modeling_auto as auto

from ..backends.torch import TorchBackend
from ..errors import InvalidArgument, ThingsvisionError, UnknownName, WeightsError, unknown
from .card import ModelCard
from .huggingface_inputs import assumed, first_line, preprocessing_of, tokenization_of
from .huggingface_models import (
    WITHOUT_POOLING,
    Place,
    build,
    image_view,
    network_class,
    read_renamed,
    refusal,
    silent,
    takes_text,
    text_view,
    trained,
)
from .network import Network
from .source import Choice
from .weights import loaded

T = TypeVar("T")

CITATION = "Wolf et al. 2020, Transformers, doi:10.18653/v1/2020.emnlp-demos.6"
# The library's own lists of types of models that are given images.
TYPES = (
    auto.MODEL_FOR_IMAGE_MAPPING_NAMES,
    auto.MODEL_FOR_IMAGE_CLASSIFICATION_MAPPING_NAMES,
    auto.MODEL_FOR_ZERO_SHOT_IMAGE_CLASSIFICATION_MAPPING_NAMES,
    auto.MODEL_FOR_MASK_GENERATION_MAPPING_NAMES,
)
REPOSITORY = re.compile(r"\w[\w.-]*/[\w.-]+")
LOCAL = "local"  # the name of the weights in a folder
MAIN = "main"  # the default branch of a repository
FOLDERS = (".", "/", "~")  # beginnings of what can only be a folder
UNNAMED = re.compile(r"LABEL_\d+")  # a class of which a configuration says nothing


class HuggingFace:
    """The models of transformers, seen as a source."""

    def names(self) -> list[str]:
        """List the types of image models that the library has, with its default sizes."""
        return list(dict.fromkeys(name for names in TYPES for name in names))

    def accepts(self, name: str) -> bool:
        """Tell whether a name may be that of a repository on the hub, or of a folder."""
        is_folder = name.startswith(FOLDERS) or Path(name).is_dir()
        return is_folder or REPOSITORY.fullmatch(name) is not None

    def card(self, name: str, weights: str | None = None) -> ModelCard:
        """Describe a model by its configuration, as far as that is here already."""
        place = _place(name, weights)
        if place is not None and not place.is_folder:
            return self._card_of_hub(name, place)
        try:
            return _described(name, _config(name, place), place)
        except InvalidArgument as error:  # a type that has no default
            return ModelCard(f"hf/{name}", citation=CITATION, refusal=str(error).rstrip("."))

    def load(self, name: str, choice: Choice) -> Network:
        """Build a model with the wanted weights."""
        place = _place(name, choice.weights)
        is_trained = choice.pretrained and choice.file is None and choice.device != "meta"
        if place is None and is_trained:
            raise WeightsError(f"hf/{name} is a type of model, without weights. {_NEEDS_HUB}")
        config = _config(name, place)
        place = place and place.pinned()
        network = _told(place, name, lambda: network_class(config))
        if why_not := refusal(network, config):
            raise InvalidArgument(f"hf/{name} cannot be used: {why_not}.")
        preprocessing = _told(
            place, name, lambda: preprocessing_of(place, config) if place else assumed(config)
        )

        def pretrained() -> tuple[nn.Module, dict[str, Any]]:
            assert place is not None
            model, record = _told(place, name, lambda: trained(network, config, place))
            return model, {**_origin(place), **record}

        whose = "there is no image processor" if place is None else f"that of {place.name}"
        variants: list[dict[str, Any]] = [{}, WITHOUT_POOLING]
        model, record = _told(
            place, name,
            lambda: loaded(
                partial(build, network, config), choice, pretrained, whose, variants,
                partial(read_renamed, network, config),
            ),
        )  # fmt: skip
        record |= {"class": network.__name__, "attention": _attention(model)}
        backend = TorchBackend(choice.device)
        if choice.device != "meta":
            model.to(backend.device)
        card = _described(name, config, place)
        label, both = f"hf/{name}", {"penultimate": "output"}
        if not takes_text(network):
            return Network(label, image_view(model), backend, preprocessing, card, record)
        tokens, rows = tokenization_of(place, network, config)
        text = Network(
            label, text_view(model, rows), TorchBackend(choice.device, takes="tokens"), tokens,
            card, record, {"text": "output", **both},
        )  # fmt: skip
        return Network(
            label, image_view(model), backend, preprocessing, card, record,
            {"visual": "output", **both}, text,
        )  # fmt: skip

    def _card_of_hub(self, name: str, place: Place) -> ModelCard:
        """Describe a repository by what was downloaded before, or say that nothing was."""
        revision = place.revision or MAIN
        try:
            config = _config(name, replace(place, offline=True))
        except ThingsvisionError:
            return ModelCard(
                f"hf/{name}", weights=revision, all_weights=(revision,), citation=CITATION,
                training_data="see its page; the configuration is read when it is loaded",
                licence="see its page", url=_page(place),
            )  # fmt: skip
        return _described(name, config, place)


SOURCE = HuggingFace()

_NEEDS_HUB = (
    "Trained weights need a name on the hub, e.g. hf/google/vit-base-patch16-224, or a folder, "
    "e.g. hf/./folder; pretrained=False needs none."
)


def _place(name: str, weights: str | None) -> Place | None:
    """Find out whether a name is that of a type, a folder, or a repository."""
    folder = Path(name).expanduser()
    is_type = name in SOURCE.names()
    if is_type or folder.is_dir():
        place = None if is_type else Place(str(folder), True)
        known = _weights_of(place)
        if weights not in (None, known):
            raise unknown(f"set of weights for {name}", str(weights), [known] if known else [])
        return place
    if name.startswith(FOLDERS):
        raise UnknownName(f"There is no folder {name!r}, which hf/{name} stands for.")
    if REPOSITORY.fullmatch(name) is None:
        raise unknown("type of image model", name, SOURCE.names(), _NEEDS_HUB)
    return Place(name, False, weights)


def _config(name: str, place: Place | None) -> Any:
    """Read a configuration; that of a bare type is the library's default."""
    if place is None:
        with silent():
            return _told(place, name, lambda: transformers.CONFIG_MAPPING[name]())
    read = partial(transformers.AutoConfig.from_pretrained, trust_remote_code=False)
    return _told(place, name, lambda: place.read(read))


def _described(name: str, config: Any, place: Place | None) -> ModelCard:
    weights = _weights_of(place)
    network = _told(place, name, lambda: network_class(config))
    has_classes = "labels" in signature(network.forward).parameters and not takes_text(network)
    named = tuple(map(str, (config.id2label or {}).values())) if has_classes else ()
    is_named = not all(UNNAMED.fullmatch(label) for label in named)
    task = "images and texts" if takes_text(network) else "features"
    return ModelCard(
        f"hf/{name}",
        task="classification" if has_classes else task,
        weights=weights,
        all_weights=(weights,) if weights else (),
        preprocessing=assumed(config) if place is None else None,
        classes=named if is_named else (),
        training_data="see its page" if place and not place.is_folder else "",
        licence="see its page" if place else "Apache-2.0 (transformers)",
        citation=CITATION,
        url=_page(place),
        refusal=refusal(network, config),
    )


def _weights_of(place: Place | None) -> str | None:
    """Name the weights of a place: those of a folder if it holds any."""
    if place is None:
        return None
    if not place.is_folder:
        return place.revision or MAIN
    patterns = ("*.safetensors*", "pytorch_model*.bin*")
    files = [file for pattern in patterns for file in Path(place.name).glob(pattern)]
    return LOCAL if files else None


def _origin(place: Place) -> dict[str, Any]:
    if place.is_folder:
        return {"weights": LOCAL, "folder": place.name}
    return {"weights": place.revision or MAIN, "url": _page(place), "commit": place.commit}


def _page(place: Place | None) -> str:
    return "" if place is None or place.is_folder else f"{constants.ENDPOINT}/{place.name}"


def _attention(model: Any) -> str:
    return str(getattr(model.config, "_attn_implementation", None) or "")


def _told(place: Place | None, name: str, action: Callable[[], T]) -> T:
    """Say what to do about what the library cannot find, read or build."""
    try:
        return action()
    except ThingsvisionError:
        raise
    except Exception as error:  # of the library, of the hub, of the network, of a file
        reason = first_line(error)
        if place is None:
            raise InvalidArgument(f"hf/{name} cannot be built: {reason}.") from error
        if place.is_folder:
            raise WeightsError(
                f"The folder {place.name!r} holds no model that can be loaded: {reason}. It needs "
                "config.json, weights that are safetensors or plain tensors, and "
                "preprocessor_config.json; code that comes with a model is never run."
            ) from error
        raise WeightsError(
            f"The model {place.name!r} cannot be had from {_page(place)}: {reason}. On a machine "
            "with a connection, download the files of its page into a folder and load that: "
            f"hf/./{place.name.rpartition('/')[2]}. pretrained=False with the name of a type, "
            "e.g. hf/vit, needs no download."
        ) from error
