"""Loading networks: one, or several for a comparison."""

from __future__ import annotations

import os
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from inspect import signature
from numbers import Integral
from typing import Any, overload

from ..errors import InvalidArgument, ThingsvisionError, ThingsvisionWarning, listing, unknown
from ..preprocessing import Preprocessing
from .catalogue import find_model, is_weights_file, list_models, unknown_model
from .local import FILES
from .network import Network
from .source import INITIALISATIONS, Choice, Source


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
    source, model, choice = choose(name, pretrained, weights, seed, init, device)
    network = source.load(model, choice)
    if preprocessing is not None:
        network = network.preprocessed(preprocessing)
    return network


def load_models(names: str | Sequence[str], **options: Any) -> Networks:
    """Find several networks by name, to be loaded one at a time.

    Parameters
    ----------
    names : str or sequence of str
        As `load_model` takes them; with ``*`` and ``?`` all that match. What a pattern matches
        but cannot be loaded is left out, with a warning that says why.
    **options
        As `load_model` takes them, the same for all.

    Returns
    -------
    Networks
        A sequence. Each network is loaded when its turn comes and is not kept, so that a zoo
        does not need to fit in memory: a loop holds one, and the next while it is loaded;
        ``list(…)`` holds them all at once.

    Raises
    ------
    InvalidArgument
        If names or options are not allowed: all of them together, before any is loaded.

    Examples
    --------
    >>> networks = load_models(["torchvision/alexnet", "torchvision/vgg11*"], pretrained=False)
    >>> networks.names
    ('torchvision/alexnet', 'torchvision/vgg11', 'torchvision/vgg11_bn')
    >>> for network in networks:
    ...     print(network.preprocessing.crop)
    224
    224
    224
    """
    signature(load_model).bind("", **options)  # a TypeError for what it does not take
    wanted = {key: value for key, value in options.items() if key != "preprocessing"}
    patterns = [names] if isinstance(names, str) else list(names)
    found: dict[str, None] = {}
    problems: list[str] = []
    left_out: list[str] = []
    for pattern in patterns:
        is_pattern = bool(set("*?") & set(pattern))
        matched = list_models(pattern) if is_pattern else [pattern]
        if not matched:
            problems.append(str(unknown_model(pattern)))
        for name in matched:
            try:
                why_not = _refusal(name, wanted)
            except ThingsvisionError as error:
                problems.append(str(error))
                continue
            if is_pattern and why_not:
                left_out.append(f"{name} ({why_not})")
            elif why_not:
                problems.append(f"{name} cannot be used: {why_not}.")
            else:
                found[name] = None
    if problems:
        raise InvalidArgument("\n".join(problems))
    if left_out:
        warnings.warn(
            f"{len(left_out)} of the models that match were left out: {listing(left_out, 5)}.",
            ThingsvisionWarning,
            stacklevel=2,
        )
    return Networks(tuple(found), options)


@dataclass(frozen=True)
class Networks(Sequence[Network]):
    """Networks that are loaded when they are asked for, and not kept.

    Parameters
    ----------
    names : tuple of str
        Their names.
    options : dict
        Of `load_model`, for all of them.
    """

    names: tuple[str, ...]
    options: dict[str, Any] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.names)

    @overload
    def __getitem__(self, index: int) -> Network: ...
    @overload
    def __getitem__(self, index: slice) -> Networks: ...
    def __getitem__(self, index: int | slice) -> Network | Networks:
        if isinstance(index, slice):
            return Networks(self.names[index], self.options)
        return load_model(self.names[index], **self.options)

    # That of Sequence would take an IndexError in a library for the end.
    def __iter__(self) -> Iterator[Network]:
        return (load_model(name, **self.options) for name in self.names)

    def __repr__(self) -> str:
        return f"Networks({listing(self.names, 5)})"


def choose(
    name: str,
    pretrained: bool = True,
    weights: str | os.PathLike[str] | None = None,
    seed: int = 0,
    init: str | None = None,
    device: str = "auto",
) -> tuple[Source, str, Choice]:
    """Find a model and what is wanted of it; refuse what contradicts itself."""
    _check(name, pretrained, seed)
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
            f"pretrained=False asks for random weights, but the weights {file or named!r} were "
            "named. Leave one of them away."
        )
    if init is not None and init not in INITIALISATIONS:
        raise unknown("initialisation", init, INITIALISATIONS)
    if init is not None and pretrained:
        raise InvalidArgument(f"init={init!r} is for random weights; add pretrained=False.")
    return source, model, Choice(pretrained, named, file, int(seed), init, device)


def _check(name: Any, pretrained: Any, seed: Any) -> None:
    """Refuse values that are of another kind, which libraries would answer in their own ways."""
    if not isinstance(name, str):
        raise InvalidArgument(f"The name of a model is a text, not {name!r}.")
    if not isinstance(pretrained, bool):
        raise InvalidArgument(f"pretrained is {pretrained!r}; allowed are True and False.")
    if isinstance(seed, bool) or not isinstance(seed, Integral) or not 0 <= int(seed) < 2**32:
        raise InvalidArgument(f"seed is {seed!r}; it is a whole number from 0 to {2**32 - 1}.")


def _refusal(name: str, options: dict[str, Any]) -> str:
    """Say why a model cannot be loaded; empty if nothing speaks against it."""
    source, model, choice = choose(name, **options)
    if source is FILES:  # is not run before its turn
        return ""
    card = source.card(model, choice.weights)
    if card.refusal:
        return card.refusal
    if choice.pretrained and choice.file is None and card.weights is None:
        return "there are no trained weights of it"
    return ""
