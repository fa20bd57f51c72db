"""Finding models by name in all sources."""

from __future__ import annotations

import os
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path

from ..backends.neighbours import settle
from ..errors import (
    InvalidArgument,
    ThingsvisionError,
    ThingsvisionWarning,
    UnknownName,
    listing,
    nearest,
)
from ..optional import how_to_install
from ..registry import Registry, matching
from .card import ModelCard
from .local import FILES, is_factory
from .source import Source

SOURCES = Registry(
    "model source",
    {
        "torchvision": "thingsvision.zoo.torchvision:SOURCE",
        "checkpoints": "thingsvision.zoo.checkpoints:SOURCE",
        "timm": "thingsvision.zoo.timm:SOURCE",
        "cornet": "thingsvision.zoo.cornet:SOURCE",
        "keras": "thingsvision.zoo.keras:SOURCE",
        "openclip": "thingsvision.zoo.openclip:SOURCE",
        "hf": "thingsvision.zoo.huggingface:SOURCE",
    },
    group="thingsvision.sources",
    # The package that a source cannot do without, where a plain installation lacks it.
    needs={"keras": "keras", "openclip": "open_clip", "hf": "transformers"},
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
        Full spellings ``source/name``. Those of a source whose package is not installed are
        missing; `missing_sources` names it.

    Raises
    ------
    UnknownName
        If there is no source of that name.
    MissingPackage
        If `source`, or the one that the pattern names, needs a package that is not installed.

    Examples
    --------
    >>> list_models("torchvision/resnet1??")
    ['torchvision/resnet101', 'torchvision/resnet152']
    """
    found = []
    for label, _, names in _all_names(_asked(pattern, source)):
        if "/" in pattern:
            found += matching(pattern, [f"{label}/{name}" for name in names])
        else:
            found += [f"{label}/{name}" for name in matching(pattern, names)]
    return found


def describe_models(pattern: str = "*", source: str | None = None) -> dict[str, ModelCard]:
    """Say what is known of all models that match, with their default weights.

    Parameters
    ----------
    pattern, source
        As in `list_models`.

    Returns
    -------
    dict of str to ModelCard
        By full spelling, in the order of `list_models`. A source of another package that fails
        is left out, with a warning.

    Raises
    ------
    UnknownName, MissingPackage
        As in `list_models`.
    """
    cards: dict[str, ModelCard] = {}
    failed = set()
    for name in list_models(pattern, source):
        label, _, model = name.partition("/")
        if label in failed:
            continue
        try:
            cards[name] = SOURCES[label].card(model)
        except Exception as error:  # another package's code may raise anything
            if not SOURCES.is_optional(label):
                raise
            failed.add(label)
            warnings.warn(str(SOURCES.broken(label, error)), ThingsvisionWarning, stacklevel=2)
    return {name: card for name, card in cards.items() if name.partition("/")[0] not in failed}


def describe_model(name: str) -> ModelCard:
    """Say what is known of a model, without loading or downloading it.

    Parameters
    ----------
    name : str
        ``source/name``, ``source/name.weights`` or a bare name; ``file.py:function`` is run.

    Returns
    -------
    ModelCard

    Raises
    ------
    UnknownName
        If no source has the model or the weights.
    """
    source, model, weights = find_model(name)
    return source.card(model, weights)


def find_model(name: str) -> tuple[Source, str, str | None]:
    """Split a spelling into source, model and weights.

    Raises
    ------
    UnknownName
        If nothing has this name.
    InvalidArgument
        If several sources have it; the full spellings are named.
    """
    settle()  # before a source imports its library
    if is_factory(name):
        return FILES, name, None
    label, slash, rest = name.partition("/")
    if slash and label in SOURCES:
        source = SOURCES[label]
        found = _model_in(_names(label, source), rest)
        accepts = getattr(source, "accepts", None)
        if found is None and accepts is not None and accepts(rest):
            found = rest, None
        if found is None:
            raise unknown_model(name)
        return source, *found
    hits = [
        (label, source, hit)
        for label, source, names in _all_names()
        if (hit := _model_in(names, name)) is not None
    ]
    if len(hits) > 1:  # the weights may tell
        hits = [hit for hit in hits if _has_weights(hit[1], *hit[2])] or hits
    if len(hits) > 1:
        spelled = [f"{label}/{name}" for label, _, _ in hits]
        raise InvalidArgument(f"Several sources have {name!r}. Choose: {listing(spelled)}.")
    if not hits:
        raise unknown_model(name)
    _, source, (model, weights) = hits[0]
    return source, model, weights


def unknown_model(name: str) -> UnknownName:
    """Make the error for a name that no source has, with the nearest in all of them.

    Parameters
    ----------
    name : str
        What was received.

    Returns
    -------
    UnknownName
        To be raised by the caller.
    """
    label, _, bare = name.rpartition("/")
    spelled: dict[str, list[str]] = {}  # a name -> its full spellings
    for other, _, names in _all_names():
        for model in names:
            spelled.setdefault(model, []).append(f"{other}/{model}")
    alike = nearest(bare.partition(".")[0] or bare, spelled)
    # Of the sources that have the same name, the one that was asked comes first.
    near = [
        full
        for model in alike
        for full in sorted(spelled[model], key=lambda full: not full.startswith(f"{label}/"))
    ][:5]
    absent = "".join(f" {line}" for line in missing_sources())
    return UnknownName(
        f"There is no model {name!r}. Nearest: {listing(near)}.{absent} "
        "All of them: thingsvision models '*'."
    )


def missing_sources(pattern: str = "*", source: str | None = None) -> list[str]:
    """Say which sources lack their package, a sentence for each, with the command that helps.

    Parameters
    ----------
    pattern, source
        As in `list_models`; sources that these do not ask are not mentioned.

    Returns
    -------
    list of str
        Empty if nothing is missing.
    """
    return [
        f"The source {label!r} is not installed: {how_to_install(package)}."
        for label, package in SOURCES.missing().items()
        if label in (_asked(pattern, source) or SOURCES)
    ]


def open_sources(pattern: str = "*", source: str | None = None) -> list[str]:
    """List those of the sources asked that take more names than they list, such as hubs."""
    asked = _asked(pattern, source)
    there = [(label, SOURCES[label]) for label in asked] if asked else SOURCES.working()
    return [label for label, zoo in there if hasattr(zoo, "accepts")]


def is_weights_file(weights: str | os.PathLike[str]) -> bool:
    """Tell a file of weights from the name of a source's weights."""
    text = os.fspath(weights)
    return (
        not isinstance(weights, str)
        or text.lower().endswith(WEIGHTS_SUFFIXES)
        or os.sep in text
        or Path(text).exists()
    )


def _asked(pattern: str, source: str | None) -> list[str]:
    """Name the one source that a question is for; nothing if it is for all."""
    label, slash, _ = pattern.partition("/")
    if source is None and slash and label in SOURCES:
        return [label]
    return [] if source is None else [source]


def _all_names(asked: Sequence[str] = ()) -> Iterator[tuple[str, Source, list[str]]]:
    """Yield label, source and names; of all sources, those that fail become warnings."""
    settle()
    yield from ((label, SOURCES[label], _names(label, SOURCES[label])) for label in asked)
    for label, source in () if asked else SOURCES.working():
        try:
            names = _names(label, source)
        except ThingsvisionError as error:
            if not SOURCES.is_optional(label):
                raise
            warnings.warn(str(error), ThingsvisionWarning, stacklevel=3)
            continue
        yield label, source, names


def _names(label: str, source: Source) -> list[str]:
    try:
        return source.names()
    except Exception as error:  # another package's code may raise anything
        if isinstance(error, ThingsvisionError) or not SOURCES.is_optional(label):
            raise
        raise SOURCES.broken(label, error) from error


def _model_in(names: list[str], name: str) -> tuple[str, str | None] | None:
    if name in names:
        return name, None
    model, _, weights = name.partition(".")
    return (model, weights) if model in names else None


def _has_weights(source: Source, model: str, weights: str | None) -> bool:
    if weights is None:
        return True
    try:
        source.card(model, weights)
    except UnknownName:
        return False
    return True
