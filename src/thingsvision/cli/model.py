"""``thingsvision model``: what is known of a network."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import click

from .output import results_alone, show_record
from .verb import Verb, table_options

if TYPE_CHECKING:
    from ..zoo import ModelCard


@click.command(
    cls=Verb,
    examples=(
        "thingsvision model torchvision/resnet50",
        "thingsvision model torchvision/resnet50.IMAGENET1K_V1 --json",
        "thingsvision model networks.py:make_network",
    ),
)
@click.argument("name")
@table_options
def model(name: str, style: str | None) -> None:
    """Show what is known of the network NAME.

    NAME is one of 'thingsvision models', NAME.WEIGHTS, or FILE.py:FUNCTION for a network of your
    own. Its weights, parameters, preprocessing, licence, training data and citation. Nothing is
    downloaded.
    """
    from ..zoo import describe_model

    with results_alone():
        card = describe_model(name)
        if card.parameters is None and not card.refusal:
            card = replace(card, parameters=_counted(name))
    show_record(card.to_dict() if style == "json" else _in_words(card), style)


def _counted(name: str) -> int | None:
    """Count the parameters of a network that is built for it, without weights."""
    from ..errors import ThingsvisionError
    from ..zoo import Choice, find_model
    from ..zoo.frameworks import framework_of

    source, model, weights = find_model(name)
    try:
        built = source.load(model, Choice(False, weights, device="meta")).model
    except (ThingsvisionError, NotImplementedError):  # e.g. where it cannot be had offline
        return None
    framework = framework_of(built)
    return framework.parameters(built) if framework else None


def _in_words(card: ModelCard) -> dict[str, Any]:
    """Put a card into words, a line for each field that is known."""
    lines = {
        "name": card.name,
        "task": card.task,
        "weights": card.weights or _no_weights(card),
        "other weights": ", ".join(name for name in card.all_weights if name != card.weights),
        "parameters": f"{card.parameters:,}" if card.parameters else "",
        "preprocessing": str(card.preprocessing or ""),
        "classes": _classes(card.classes),
        "training data": card.training_data,
        "licence": card.licence,
        "citation": card.citation,
        "url": card.url,
        "not usable": card.refusal,
    }
    return {key: value for key, value in lines.items() if value}


def _no_weights(card: ModelCard) -> str:
    return "your own" if card.name.startswith("local/") else "none: random only"


def _classes(names: tuple[str, ...]) -> str:
    if not names:
        return ""
    return f"{len(names)}: {', '.join(names[:3])}{', …' if len(names) > 3 else ''}"
