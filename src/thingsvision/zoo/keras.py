"""Keras: every application that ``keras.applications`` has, on the day it appears there."""

from __future__ import annotations

import inspect
import json
import re
import sys
from collections.abc import Callable
from functools import cache, partial
from typing import Any

import numpy as np
from PIL import Image

from ..backends.keras import KerasBackend
from ..backends.keras_engine import keras
from ..errors import InvalidArgument, unknown
from ..preprocessing import Preprocessing, Size, preprocess
from .card import ModelCard
from .keras_files import fitted
from .keras_weights import Application, cache_folder, drawn, published, without_download
from .network import Network
from .source import Choice

URL = "https://keras.io/api/applications/"
# What the preprocess_input of an application can do; which one it is, is found by asking it.
KINDS: tuple[dict[str, Any], ...] = (
    {"divisor": 1.0},  # the network rescales inside
    {"divisor": 127.5, "mean": (1.0, 1.0, 1.0)},
    {"divisor": 1.0, "mean": (103.939, 116.779, 123.68), "channel_order": "BGR"},
    {"mean": (0.485, 0.456, 0.406), "std": (0.229, 0.224, 0.225)},
)
# Keras says nothing of how a picture comes to the size of the input. Of its own ways the one that
# keeps proportions, ``smart_resize``, is taken: the largest centred square, bilinear.
GEOMETRY = "resize and crop chosen here: shorter side to the input size, centre crop"


class Keras:
    """The module ``keras.applications``, seen as a source."""

    def names(self) -> list[str]:
        """List the applications."""
        members = vars(keras.applications).items()
        return [name for name, member in members if inspect.isfunction(member)]

    def card(self, name: str, weights: str | None = None) -> ModelCard:
        """Describe an application by what its function says."""
        if name not in self.names():
            raise unknown("application of Keras", name, self.names())
        application = _application(name)
        default = inspect.signature(application).parameters["weights"].default
        if weights not in (None, default):
            raise unknown(f"set of weights for {name}", weights, [default])
        size, kind = _size(application), _kind(_preprocess_input(application))
        card = partial(
            ModelCard,
            name=f"keras/{name}",
            task="classification",
            weights=default,
            all_weights=(default,),
            classes=_classes(),
            training_data=f"{default}, as Keras calls it",
            licence="Apache-2.0 (Keras); ported weights under the terms of their authors",
            citation=_citation(application),
            url=URL,
        )
        if size is None or kind is None:
            what = "preprocess_input" if kind is None else "input size"
            return card(refusal=f"its {what} is not understood here; build it in Keras and use "
                                "thingsvision.wrap_model")  # fmt: skip
        module = application.__module__.rpartition(".")[2]
        origin = f"keras.applications.{module}.preprocess_input; {GEOMETRY}"
        return card(preprocessing=Preprocessing(resize=size, crop=size, **kind, origin=origin))

    def load(self, name: str, choice: Choice) -> Network:
        """Build an application with the wanted weights."""
        card = self.card(name, choice.weights)
        if card.refusal or card.preprocessing is None:
            raise InvalidArgument(f"{card.name} cannot be used: {card.refusal}.")
        backend = KerasBackend(choice.device)
        model, record = _loaded(_application(name), choice, str(card.weights))
        is_trained = record["kind"] == "pretrained"
        full_name = f"{card.name}.{card.weights}" if is_trained else card.name
        return Network(full_name, model, backend, card.preprocessing, card, record)


SOURCE = Keras()


def _loaded(application: Application, choice: Choice, weights: str) -> tuple[Any, dict[str, Any]]:
    """Build an application, and record where its weights come from."""
    note = {"preprocessing": f"assumed: that of {weights}"}
    if choice.device == "meta":
        return drawn(application, 0), {"kind": "none"}  # Keras has no empty weights
    if choice.file is not None:
        model, architecture = fitted(application, choice.file)
        return model, {"kind": "file", "file": choice.file, "architecture": architecture, **note}
    if not choice.pretrained:
        record = {"kind": "random", "seed": choice.seed, **note}
        if choice.init is not None:
            record["init"] = choice.init
        return drawn(application, choice.seed, choice.init), record
    model, url = published(application, weights)
    return model, {"kind": "pretrained", "weights": weights, "url": url}


def _application(name: str) -> Application:
    application: Application = getattr(keras.applications, name)
    return application


def _preprocess_input(application: Application) -> Callable[..., Any]:
    function: Callable[..., Any] = sys.modules[application.__module__].preprocess_input
    return function


@cache
def _size(application: Application) -> Size | None:
    """Ask for an input size that cannot be: the refusal, or else the manual, names the right one.

    The function refuses before it builds anything.
    """
    try:
        with without_download():
            application(weights="imagenet", input_shape=(1, 1, 3))
        refusal = ""
    except Exception as error:  # each application checks its arguments in its own way
        refusal = str(error)
    named = re.search(r"should be \((\d+), (\d+), (\d+)\)", refusal) or re.search(
        r"not\s+`?\((\d+), (\d+), (\d+)\)", inspect.getdoc(application) or ""
    )
    if named is None:
        return None
    sides = [int(number) for number in named.groups()]
    sides.remove(3)
    return sides[0] if sides[0] == sides[1] else (sides[0], sides[1])


@cache
def _kind(preprocess_input: Callable[..., Any]) -> dict[str, Any] | None:
    """Find which of `KINDS` gives the same bits for every grey level of every channel."""
    level = np.arange(256, dtype=np.uint8)
    pixels = np.stack([level, level[::-1], 7 * level], axis=-1)[None]
    wanted = preprocess_input(pixels.astype(np.float32), data_format="channels_last")
    picture = Image.fromarray(pixels)
    for kind in KINDS:
        if np.array_equal(preprocess(Preprocessing(**kind), picture), wanted):
            return kind
    return None


def _classes() -> tuple[str, ...]:
    """Read the names of the classes, if Keras has downloaded them before."""
    file = cache_folder() / "imagenet_class_index.json"
    if not file.is_file():
        return ()
    index = json.loads(file.read_text(encoding="utf-8"))
    return tuple(index[str(number)][1] for number in range(len(index)))


def _citation(application: Application) -> str:
    """Take the first reference of the manual."""
    link = re.search(r"\[([^\]]+)\]\(\s*(https?://[^\s)]+)\s*\)", application.__doc__ or "")
    return f"{' '.join(link[1].split())}, {link[2]}" if link else ""
