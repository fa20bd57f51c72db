"""``thingsvision methods``: the methods paragraph of features."""

from __future__ import annotations

import click

from .output import is_terminal, text_width, wrapped
from .verb import Verb


@click.command(cls=Verb, examples=("thingsvision methods out",))
@click.argument("folder", metavar="DIR")
def methods(folder: str) -> None:
    """Write the methods paragraph of features, with references.

    In a terminal it is wrapped; in a file or a pipe the paragraph, and each reference, is one line.
    """
    from ..description import describe_methods

    text = describe_methods(folder)
    if is_terminal():
        text = wrapped(text, text_width())
    click.echo(text)
