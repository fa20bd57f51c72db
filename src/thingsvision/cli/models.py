"""``thingsvision models``: which networks there are."""

from __future__ import annotations

import click

from .output import say, show_table
from .verb import Verb, table_options


@click.command(
    cls=Verb,
    examples=(
        'thingsvision models "resnet*"',
        'thingsvision models "torchvision/vit*"',
        "thingsvision models --source checkpoints --json",
    ),
)
@click.argument("pattern", default="*")
@click.option("--source", metavar="NAME", help="Ask one source only, e.g. torchvision.")
@table_options
def models(pattern: str, source: str | None, style: str | None) -> None:
    """List the networks whose names match PATTERN, in all sources.

    PATTERN may hold the wildcards * and ?; put it in quotes. It is matched with the name, or
    with SOURCE/NAME if it holds a slash. The first of the weights are those that are used unless
    others are named: NAME.WEIGHTS.
    """
    from ..zoo.catalogue import describe_models, missing_sources, open_sources, unknown_model

    cards = describe_models(pattern, source)
    others = open_sources(pattern, source)
    asked = source or pattern.partition("/")[0]
    if not cards and not (asked in others and "*" in pattern):
        raise unknown_model(pattern if source is None else f"{source}/{pattern}")
    rows = [
        {
            "name": name,
            "task": card.task,
            "weights": list(card.all_weights),
            "usable": not card.refusal,
        }
        for name, card in cards.items()
    ]
    show_table(rows, style, columns=("name", "task", "weights"), cut=("weights", "task"))
    for label in others:
        say(f"The source {label!r} takes further names, which cannot all be listed: {label}/NAME.")
    for line in missing_sources(pattern, source):
        say(line)
