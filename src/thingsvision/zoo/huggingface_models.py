"""Networks of transformers: which class, entered how, with which weights."""

from __future__ import annotations

import logging
import os
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from copy import deepcopy
from dataclasses import dataclass, replace
from functools import partial
from inspect import signature
from pathlib import Path
from typing import Any

import torch
import transformers
from huggingface_hub import try_to_load_from_cache
from torch import Tensor, nn
from transformers.models.auto.modeling_auto import (
    MODEL_FOR_IMAGE_CLASSIFICATION_MAPPING_NAMES as WITH_CLASSES,
)

from ..errors import WeightsError, listing
from .towers import tower
from .weights import quiet, read_weights, skeleton

# Networks whose checkpoints hold no pooling layer are built without, instead of with a random one.
WITHOUT_POOLING = {"add_pooling_layer": False}
# A pickled file on the hub would otherwise make the library ask there for its conversion.
_NO_CONVERSION = "DISABLE_SAFETENSORS_CONVERSION"


@dataclass(frozen=True)
class Place:
    """Where a model's files lie.

    Parameters
    ----------
    name : str
        Path of a folder, or ``owner/repository`` on the hub.
    is_folder : bool
        Which of them.
    revision : str or None
        Branch, tag or commit on the hub.
    commit : str or None
        What the revision stood for when the configuration was read.
    offline : bool
        Look only at what was downloaded before.
    """

    name: str
    is_folder: bool
    revision: str | None = None
    commit: str | None = None
    offline: bool = False

    def read(self, read: Callable[..., Any], **options: Any) -> Any:
        """Call one of the library's ``from_pretrained``, without its chatter."""
        if not self.is_folder:
            options |= {"revision": self.commit or self.revision, "local_files_only": self.offline}
        with silent():
            return read(self.name, **options)

    def pinned(self) -> Place:
        """Fix the commit, once the configuration was read, so that all files are of one state."""
        if self.is_folder:
            return self
        found = try_to_load_from_cache(self.name, "config.json", revision=self.revision)
        return replace(self, commit=Path(found).parent.name) if isinstance(found, str) else self


def network_class(config: Any) -> Any:
    """Choose the class of a network.

    It is the one that the configuration names, where that classifies images; else the one that
    ``AutoModel`` takes: the network without the head of its training, or the vision–language
    model.
    """
    heads = WITH_CLASSES.get(config.model_type, ())
    heads = (heads,) if isinstance(heads, str) else heads
    named = (getattr(config, "architectures", None) or [""])[0]
    if named in heads:
        return getattr(transformers, named)
    if type(config) not in transformers.MODEL_MAPPING and heads:
        return getattr(transformers, heads[0])
    found = transformers.MODEL_MAPPING[type(config)]
    return found[0] if isinstance(found, (tuple, list)) else found


def takes_text(network: Any) -> bool:
    """Tell whether a network, or a class of networks, embeds images and texts."""
    return hasattr(network, "get_image_features") and hasattr(network, "get_text_features")


def refusal(network: Any, config: Any) -> str:
    """Say why a class of networks cannot be fed single images; empty if it can."""
    entry = network.forward
    if takes_text(network):
        entry = network.get_image_features
    elif hasattr(network, "get_image_embeddings"):
        entry = network.get_image_embeddings
    wanted = list(signature(entry).parameters)[1:]
    if "spatial_shapes" in wanted:
        return "it takes patches of images of any size, which a fixed size of image cannot feed"
    if wanted[0] != "pixel_values":
        return f"its first input is {wanted[0]}, not images"
    if getattr(config, "num_frames", None):
        return "it takes films, not images"
    return ""


def build(network: Any, config: Any, num_classes: int | None = None, **options: Any) -> nn.Module:
    """Build a network with the library's own initialisation."""
    config = deepcopy(config)
    if num_classes is not None:
        config.num_labels = num_classes
    with silent():
        model: nn.Module = network(config, **options)
    return model


def trained(network: Any, config: Any, place: Place) -> tuple[nn.Module, dict[str, Any]]:
    """Build a network with the weights that lie with its configuration.

    Parameters
    ----------
    network : class
        From `network_class`.
    config : transformers.PreTrainedConfig
        The configuration.
    place : Place
        Where it was found.

    Returns
    -------
    model : torch.nn.Module
        In float32, all of its weights from the checkpoint.
    record : dict
        What of the checkpoint was not used, and whether the pooling layer was left away.

    Raises
    ------
    WeightsError
        If weights are missing or of another shape, cannot be had, or would need unpickling.
    """
    model, found = _from_pretrained(network, config, place)
    options: dict[str, Any] = {}
    missing = found["missing_keys"]
    if missing and all(name.startswith("pooler.") for name in missing):
        options = WITHOUT_POOLING
        model, found = _from_pretrained(network, config, place, **options)
    shapes = [
        f"{name} {tuple(a)} in place of {tuple(b)}" for name, a, b in found["mismatched_keys"]
    ]
    unused = sorted(found["unexpected_keys"])
    if found["missing_keys"] or shapes or found.get("error_msgs"):
        kinds = {
            "missing": sorted(found["missing_keys"]),
            "of another shape": sorted(shapes),
            "unexpected": unused,
            "unreadable": found.get("error_msgs", ()),
        }
        problem = "\n".join(f"{len(n)} {kind}: {listing(n)}." for kind, n in kinds.items() if n)
        raise WeightsError(
            f"The weights of {place.name!r} do not fit {network.__name__}, which its config.json "
            "asks for; the library would fill the gaps with random numbers.\n"
            f"{problem}\nUse weights that fit, or pretrained=False."
        )
    record: dict[str, Any] = dict(options)
    if unused:
        record["unused"] = f"{len(unused)} weights: {listing(unused)}"
    return model, record


def _from_pretrained(
    network: Any, config: Any, place: Place, **options: Any
) -> tuple[nn.Module, Mapping[str, Any]]:
    # Weights alone are read; whatever would need unpickling is an error.
    read = partial(
        network.from_pretrained, config=deepcopy(config), dtype=torch.float32, weights_only=True,
        output_loading_info=True, ignore_mismatched_sizes=True, **options,
    )  # fmt: skip
    found: dict[str, Any] = {}

    def loading() -> nn.Module:
        model, information = place.read(read)
        found.update(information)
        network_: nn.Module = model
        return network_

    return quiet(loading), found


def read_renamed(network: Any, config: Any, file: str) -> dict[str, Any]:
    """Read a state dict whose names may be those of published files.

    The library gives some modules other names than their checkpoints have, and renames them
    when it loads a checkpoint. Whatever it would leave random or unused stays as it is in the
    file, to be refused by those names.
    """
    state = read_weights(file)
    if not set(skeleton(partial(build, network, config)).state_dict()) - set(state):
        return state
    for options in ({}, WITHOUT_POOLING):
        read = partial(
            network.from_pretrained, None, config=deepcopy(config), state_dict=dict(state),
            dtype=torch.float32, output_loading_info=True, ignore_mismatched_sizes=True, **options,
        )  # fmt: skip
        found: dict[str, Any] = {}

        def loading(read: Any = read, found: dict[str, Any] = found) -> Any:
            with silent():
                model, information = read()
            found.update(information)
            return model

        try:
            model = quiet(loading)
        except Exception:  # of the library, on names or shapes that it cannot convert
            continue
        if not any(found.values()):
            return model.state_dict()
    return state


def image_view(model: Any) -> Any:
    """Enter a network by images, where its own ``forward`` wants more than that."""
    if takes_text(model):
        return tower(model, _embed_image)
    if hasattr(model, "get_image_embeddings"):
        return tower(model, _map_image)
    return model


def text_view(model: Any, rows: tuple[str, ...]) -> Any:
    """Enter a vision–language model by texts.

    Parameters
    ----------
    model : torch.nn.Module
        With ``get_text_features``.
    rows : tuple of str
        What the rows of one text's tokens are, e.g. ``("input_ids", "attention_mask")``.
    """

    def embed(view: Any, tokens: Tensor) -> Tensor:
        return _array(view.get_text_features(**dict(zip(rows, tokens.unbind(1), strict=True))))

    return tower(model, embed)


def _embed_image(view: Any, images: Tensor) -> Tensor:
    return _array(view.get_image_features(pixel_values=images))


def _map_image(view: Any, images: Tensor) -> Any:
    return view.get_image_embeddings(images)


def _array(embedded: Any) -> Tensor:
    """Take the embedding out of what the library wraps it in."""
    embedding: Tensor = embedded if isinstance(embedded, Tensor) else embedded.pooler_output
    return embedding


@contextmanager
def silent() -> Iterator[None]:
    """Keep the library's logs, warnings and progress bars off the user's screen."""
    level, setting = logging.root.manager.disable, os.environ.get(_NO_CONVERSION)
    bars: Any = transformers.logging
    has_bars = bars.is_progress_bar_enabled()
    logging.disable(logging.CRITICAL)
    bars.disable_progress_bar()
    os.environ[_NO_CONVERSION] = "1"
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(level)
        if has_bars:
            bars.enable_progress_bar()
        if setting is None:
            del os.environ[_NO_CONVERSION]
        else:
            os.environ[_NO_CONVERSION] = setting
