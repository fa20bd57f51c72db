"""``thingsvision models``: which networks there are."""

from __future__ import annotations

import click

from .output import show_table
from .verb import Verb, table_options

ALL = "All of them: thingsvision models"


@click.command(
    cls=Verb,
    examples=(
        'thingsvision models "resnet*"',
        "thingsvision models --source checkpoints --json",
    ),
)
@click.argument("pattern", default="*")
@click.option("--source", metavar="NAME", help="Ask one source only, e.g. torchvision.")
@table_options
def models(pattern: str, source: str | None, style: str | None) -> None:
    """List the networks whose names match PATTERN.

    PATTERN may hold the wildcards * and ?; put it in quotes. The first of the weights are those
    that are used unless others are named: NAME.WEIGHTS.
    """
    from ..errors import unknown
    from ..zoo import SOURCES, list_models

    rows = []
    names = list_models(pattern, source)
    if not names:
        raise unknown("model", pattern, list_models("*", source), ALL)
    for name in names:
        label, _, model = name.partition("/")
        card = SOURCES[label].card(model)
        rows.append(
            {
                "name": name,
                "task": card.task,
                "weights": list(card.all_weights),
                "usable": not card.refusal,
            }
        )
    show_table(rows, style, columns=("name", "task", "weights"), cut=("weights", "task"))
