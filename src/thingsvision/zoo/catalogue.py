"""Finding models by name in all sources."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from ..errors import InvalidArgument, UnknownName, listing, nearest, unknown
from ..preprocessing import Preprocessing
from ..registry import Registry, matching
from .card import ModelCard
from .network import Network
from .source import INITIALISATIONS, Choice, Source

SOURCES = Registry(
    "model source",
    {
        "torchvision": "thingsvision.zoo.torchvision:SOURCE",
        "checkpoints": "thingsvision.zoo.checkpoints:SOURCE",
        "timm": "thingsvision.zoo.timm:SOURCE",
        "cornet": "thingsvision.zoo.cornet:SOURCE",
        "keras": "thingsvision.zoo.keras:SOURCE",
    },
    group="thingsvision.sources",
    # The package that a source cannot do without, where a plain installation lacks it.
    needs={"keras": "keras"},
)

WEIGHTS_SUFFIXES = (".pth", ".pt", ".ckpt", ".bin", ".tar", ".safetensors", ".th", ".h5", ".keras")


def list_models(pattern: str = "*", source: str | None = None) -> list[str]:
    """List the models that can be loaded.

    Parameters
    ----------
    pattern : str
        Wildcards ``*`` and ``?``; matched against ``source/name``, or against the name alone
        if it holds no slash.
    source : str, optional
        Ask one source only.

    Returns
    -------
    list of str
        Full spellings ``source/name``.

    Raises
    ------
    UnknownName
        If there is no source of that name.

    Examples
    --------
    >>> list_models("alexnet")
    ['torchvision/alexnet']
    """
    sources = [(source, SOURCES[source])] if source is not None else SOURCES.working()
    found = []
    for label, zoo in sources:
        names = zoo.names()
        if "/" in pattern:
            wanted = matching(pattern, [f"{label}/{name}" for name in names])
            found += wanted
        else:
            found += [f"{label}/{name}" for name in matching(pattern, names)]
    return found


def describe_model(name: str) -> ModelCard:
    """Say what is known of a model, without loading or downloading it.

    Parameters
    ----------
    name : str
        ``source/name``, ``source/name.weights`` or a bare name.

    Returns
    -------
    ModelCard

    Raises
    ------
    UnknownName
        If no source has the model or the weights.
    """
    source, model, weights = find_model(name)
    card: ModelCard = source.card(model, weights)
    return card


def load_model(
    name: str,
    pretrained: bool = True,
    *,
    weights: str | os.PathLike[str] | None = None,
    seed: int = 0,
    init: str | None = None,
    device: str = "auto",
    preprocessing: Preprocessing | None = None,
) -> Network:
    """Load a network by name, trained or random.

    Parameters
    ----------
    name : str
        ``source/name``, with ``.weights`` behind it if not the default ones are wanted. A bare
        name works when one source has it.
    pretrained : bool
        Trained weights, or a random initialisation.
    weights : str or path, optional
        Name of the source's weights, or a file of your own: a state dict (``.pth``, ``.pt``,
        ``.safetensors``), also inside ``{"state_dict": …}`` or with a ``module.`` prefix.
    seed : int
        Of the random initialisation; the same seed gives the same weights.
    init : str, optional
        Initialisation of random weights: ``"kaiming_normal"``, ``"kaiming_uniform"``,
        ``"orthogonal"``, ``"xavier_normal"`` or ``"xavier_uniform"``; by default the one of
        the model's own library.
    device : str
        ``"auto"``, ``"cpu"``, ``"cuda"``, ``"cuda:1"``, ``"mps"``.
    preprocessing : Preprocessing, optional
        Used in place of the one that belongs to the weights.

    Returns
    -------
    Network

    Raises
    ------
    UnknownName
        If no source has the model or the weights; the nearest are named.
    InvalidArgument
        If several sources have it, or the arguments contradict each other.
    WeightsError
        If weights cannot be had or do not fit.

    Examples
    --------
    >>> load_model("torchvision/alexnet", pretrained=False).preprocessing.crop
    224
    """
    source, model, named = find_model(name)
    file = None
    if weights is not None and is_weights_file(weights):
        file = os.fspath(weights)
    elif weights is not None:
        if named is not None and named != weights:
            raise InvalidArgument(
                f"The name {name!r} asks for the weights {named!r}, weights= for {weights!r}."
            )
        named = str(weights)
    if not pretrained and (named is not None or file is not None):
        raise InvalidArgument(
            f"pretrained=False asks for random weights, but the weights {named or file!r} were "
            "named. Leave one of them away."
        )
    if init is not None and init not in INITIALISATIONS:
        raise unknown("initialisation", init, INITIALISATIONS)
    if init is not None and pretrained:
        raise InvalidArgument(f"init={init!r} is for random weights; add pretrained=False.")
    network: Network = source.load(model, Choice(pretrained, named, file, seed, init, device))
    if preprocessing is not None:
        network = replace(network, preprocessing=preprocessing)
    return network


def wrap_model(
    model: Any, preprocessing: Preprocessing, *, name: str = "", device: str | None = None
) -> Network:
    """Use a network of your own.

    Parameters
    ----------
    model : torch.nn.Module
        Your model, with its weights.
    preprocessing : Preprocessing
        What it expects of an image.
    name : str
        Used in the provenance; the name of its class by default.
    device : str, optional
        As in `load_model`; the model is moved there. By default it is run where it is.

    Returns
    -------
    Network

    Raises
    ------
    InvalidArgument
        If the model is of no known framework.
    """
    torch = sys.modules.get("torch")
    if torch is None or not isinstance(model, torch.nn.Module):
        raise InvalidArgument(
            f"The model is a {type(model).__name__}; allowed is a torch.nn.Module."
        )
    from ..backends.torch import TorchBackend
    from ..backends.torch_state import home

    if device == "meta":
        raise InvalidArgument("device is 'meta', where your model would lose its weights.")
    backend = TorchBackend(device or str(home(model) or "cpu"))
    if device is not None:
        model.to(backend.device)
    label = name or type(model).__name__
    card = ModelCard(f"local/{label}", preprocessing=preprocessing)
    return Network(card.name, model, backend, preprocessing, card, {"kind": "the user's model"})


def is_weights_file(weights: str | os.PathLike[str]) -> bool:
    """Tell a file of weights from the name of a source's weights."""
    text = os.fspath(weights)
    return (
        not isinstance(weights, str)
        or text.lower().endswith(WEIGHTS_SUFFIXES)
        or os.sep in text
        or Path(text).exists()
    )


def find_model(name: str) -> tuple[Source, str, str | None]:
    """Split a spelling into source, model and weights.

    Raises
    ------
    UnknownName
        If nothing has this name.
    InvalidArgument
        If several sources have it; the full spellings are named.
    """
    label, slash, rest = name.partition("/")
    if slash and label in SOURCES:
        source = SOURCES[label]
        found = _model_in(source, rest)
        accepts = getattr(source, "accepts", None)
        if found is None and accepts is not None and accepts(rest):
            found = rest, None
        if found is None:
            raise _unknown(name, [f"{label}/{n}" for n in source.names()])
        return source, *found
    hits = []
    for label, source in SOURCES.working():
        if (found := _model_in(source, name)) is not None:
            hits.append((label, source, found))
    if len(hits) > 1:
        spelled = [f"{label}/{name}" for label, _, _ in hits]
        raise InvalidArgument(f"Several sources have {name!r}. Choose: {listing(spelled)}.")
    if not hits:
        raise _unknown(name, list_models())
    _, source, (model, weights) = hits[0]
    return source, model, weights


def _model_in(source: Source, name: str) -> tuple[str, str | None] | None:
    names = set(source.names())
    if name in names:
        return name, None
    model, _, weights = name.partition(".")
    return (model, weights) if model in names else None


def _unknown(name: str, names: Sequence[str]) -> UnknownName:
    near = nearest(name.rpartition("/")[2], names)
    return UnknownName(
        f"There is no model {name!r}. Nearest: {listing(near)}. "
        "All of them: thingsvision models '*'."
    )
