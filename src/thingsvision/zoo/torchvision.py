"""torchvision: every model that its registry has, on the day it appears there."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any
from warnings import warn

from torch import nn
from torchvision import models
from torchvision.transforms import InterpolationMode

from ..backends.torch import TorchBackend
from ..errors import InvalidArgument, ThingsvisionWarning, unknown
from ..preprocessing import Preprocessing, Size
from .card import ModelCard
from .network import Network
from .source import Choice
from .weights import (
    Build,
    download,
    is_published,
    keep,
    loaded,
    quiet,
    random,
    read_weights,
    skeleton,
)

CITATION = "TorchVision maintainers and contributors 2016, doi:10.5281/zenodo.10888104"
REFUSALS = {
    "optical_flow": "it compares two frames of a film, so a single image cannot be fed",
}
TASKS = ("segmentation", "detection", "video", "optical_flow", "quantization")
# Clip length that video networks were trained with, where their weights do not tell.
FRAMES = 16


class Torchvision:
    """The registry of torchvision, seen as a source."""

    def names(self) -> list[str]:
        """List the models of the registry."""
        names: list[str] = models.list_models()
        return names

    def card(self, name: str, weights: str | None = None) -> ModelCard:
        """Describe a model by the metadata of its weights."""
        if name not in models.list_models():
            raise unknown("network of torchvision", name, self.names())
        entries = {entry.name: entry for entry in models.get_model_weights(name)}
        default = models.get_model_weights(name).DEFAULT.name if entries else None
        chosen = weights or default
        if chosen is not None and chosen not in entries:
            raise unknown(f"set of weights for {name}", chosen, entries)
        ordered = sorted(entries, key=lambda entry: entry != default)
        task = _task(name)
        card = partial(
            ModelCard,
            name=f"torchvision/{name}",
            task=task,
            weights=chosen,
            all_weights=tuple(ordered),
            citation=CITATION,
            refusal=REFUSALS.get(task, ""),
        )
        if chosen is None:
            return card(refusal="torchvision has no weights for it, which tell its preprocessing")
        preprocessing = _preprocessing(entries[chosen], name)
        if preprocessing is None and task not in REFUSALS:
            preset = type(entries[chosen].transforms()).__name__
            card = partial(card, refusal=f"its preprocessing, {preset}, is not known here")
        meta = entries[chosen].meta
        metrics = meta.get("_metrics", {})
        return card(
            preprocessing=preprocessing,
            parameters=meta.get("num_params"),
            classes=tuple(meta.get("categories") or ()),
            training_data=_training_data(chosen, metrics),
            licence=meta.get("license", "BSD-3-Clause (torchvision); see the recipe"),
            url=meta.get("recipe") or meta.get("docs", ""),
        )

    def load(self, name: str, choice: Choice) -> Network:
        """Build a model with the wanted weights."""
        choice = _recognised(name, choice)
        card = self.card(name, choice.weights)
        if card.refusal or card.preprocessing is None:
            raise InvalidArgument(f"{card.name} cannot be used: {card.refusal}.")
        entry = models.get_model_weights(name)[card.weights]
        backend = TorchBackend(_device(card.task, choice.device), _frames(card))
        build = partial(_build, name, **_sized(name, card.preprocessing))

        def pretrained() -> tuple[nn.Module, dict[str, Any]]:
            read_weights(download(entry.url))  # refuses what is broken or could run code
            model = quiet(partial(models.get_model, name, weights=entry, **_quantized(name)))
            return model, {"weights": card.weights, "url": entry.url}

        inside = _inside(build) if choice.file is not None else {}
        variants = [{**inside, **v} for v in ({}, {"aux_logits": False}, {"aux_loss": True})]
        if choice.device == "meta" and card.task == "detection":
            # The course of a detector depends on the picture, so it cannot go without weights.
            model, record = random(build, 0), {"kind": "none"}
        else:
            assumed = f"that of {card.weights}"
            model, record = loaded(build, choice, pretrained, assumed, variants)
        if choice.device != "meta":
            model.to(backend.device)
        is_trained = record["kind"] == "pretrained"
        full_name = f"{card.name}.{card.weights}" if is_trained else card.name
        record |= inside
        return Network(full_name, model, backend, card.preprocessing, card, record)


SOURCE = Torchvision()


def _recognised(name: str, choice: Choice) -> Choice:
    """Take a file that torchvision itself published for what it is.

    torchvision builds some networks otherwise for its trained weights than for others: detectors
    with frozen batch norms, GoogLeNet with a rescaled input.
    """
    if choice.file is None or not Path(choice.file).is_file():
        return choice
    for entry in models.get_model_weights(name):
        if is_published(choice.file, entry.url):
            keep(choice.file, entry.url)
            return replace(choice, pretrained=True, file=None, weights=entry.name)
    if _task(name) == "detection":
        warn(
            f"{choice.file!r} goes into a {name} with ordinary batch norms. If it was fine-tuned "
            "from torchvision's trained detector, whose batch norms are frozen, build the network "
            "as you did for training and use thingsvision.wrap_model.",
            ThingsvisionWarning,
            stacklevel=4,
        )
    return choice


def _task(name: str) -> str:
    parts = models.get_model_builder(name).__module__.split(".")
    return next((task for task in TASKS if task in parts), "classification")


def _build(name: str, **options: Any) -> Any:
    if _task(name) in ("detection", "segmentation"):
        options["weights_backbone"] = None
    return models.get_model(name, weights=None, **_quantized(name), **options)


def _quantized(name: str) -> dict[str, bool]:
    return {"quantize": True} if _task(name) == "quantization" else {}


def _sized(name: str, preprocessing: Preprocessing) -> dict[str, Any]:
    """Give vision transformers, built for one size, that of the weights' pictures."""
    is_sized = models.get_model_builder(name).__module__.endswith("vision_transformer")
    return {"image_size": preprocessing.crop} if is_sized else {}


def _inside(build: Build) -> dict[str, Any]:
    """Give what belongs to the preprocessing of trained weights, but lies in the network.

    GoogLeNet and Inception rescale their input where they are built with torchvision's weights.
    """
    return {"transform_input": True} if hasattr(skeleton(build), "transform_input") else {}


def _device(task: str, device: str) -> str:
    if task != "quantization" or device in ("cpu", "meta"):
        return device
    if device != "auto":
        raise InvalidArgument(f"device is {device!r}, but quantized networks run on 'cpu' only.")
    return "cpu"


def _frames(card: ModelCard) -> int | None:
    return FRAMES if card.task == "video" else None


def _training_data(weights: str, metrics: dict[str, Any]) -> str:
    scored = f"; evaluated on {', '.join(metrics)}" if metrics else ""
    return f"{weights}{scored}"


def _preprocessing(entry: Any, name: str) -> Preprocessing | None:
    """Read the record from the preset that belongs to the weights."""
    preset = entry.transforms()
    fixed = PRESETS.get(type(preset).__name__)
    if fixed is None:
        return None
    read = {
        field: convert(getattr(preset, attribute))
        for field, (attribute, convert) in FIELDS.items()
        if hasattr(preset, attribute)
    }
    return Preprocessing(**read, **fixed, origin=f"torchvision {type(entry).__name__}.{entry.name}")


def _size(values: Any) -> Size | None:
    if values is None:
        return None
    return int(values[0]) if len(values) == 1 else (int(values[0]), int(values[1]))


def _interpolation(mode: Any) -> str:
    return str(InterpolationMode(mode).value)


# A preset's class -> what it does without saying so in an attribute.
PRESETS: dict[str, dict[str, Any]] = {
    "ImageClassification": {},
    "SemanticSegmentation": {},
    "VideoClassification": {"antialias": False},
    "ObjectDetection": {},
}
# Field of the record -> attribute of the preset, and how it is read.
FIELDS: dict[str, tuple[str, Callable[[Any], Any]]] = {
    "resize": ("resize_size", _size),
    "crop": ("crop_size", _size),
    "interpolation": ("interpolation", _interpolation),
    "mean": ("mean", tuple),
    "std": ("std", tuple),
}
