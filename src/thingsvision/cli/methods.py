"""``thingsvision methods``: the methods paragraph of features."""

from __future__ import annotations

import click

from .verb import Verb


@click.command(cls=Verb, examples=("thingsvision methods out",))
@click.argument("folder", metavar="DIR")
def methods(folder: str) -> None:
    """Write the methods paragraph of features, with references."""
    from ..description import describe_methods

    click.echo(describe_methods(folder))
