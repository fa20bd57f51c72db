"""``thingsvision convert``: from one format of files to another."""

from __future__ import annotations

import click

from .interrupted import goes_on
from .output import show_features
from .verb import AFTER_INTERRUPT, Verb, read_folder, table_options


@click.command(
    cls=Verb,
    examples=(
        "thingsvision convert features --to mat",
        "thingsvision convert features --to hdf5 -o for-julia",
    ),
)
@click.argument("folder", metavar="DIR")
@click.option("--to", "format", required=True, metavar="FORMAT", help="hdf5, mat, txt, npy, …")
@click.option(
    "-o",
    "--out",
    type=click.Path(),
    callback=lambda ctx, param, value: value and read_folder(ctx, param, value),
    metavar="OUT",
    help="Folder to write to; DIR-FORMAT by default.",
)
@table_options
@click.pass_context
def convert(
    ctx: click.Context, folder: str, format: str, out: str | None, style: str | None
) -> None:
    """Write the features in DIR in another format.

    DIR stays as it is. Rows, names, targets and the record of what made them are the same.
    """
    from ..store import location
    from ..store.convert import convert_features

    source = location(folder)
    target = location(out) if out else source.with_name(f"{source.resolve().name}-{format}")
    ctx.meta[AFTER_INTERRUPT] = goes_on(str(target))
    features = convert_features(source, target, format)
    show_features(features, target, style)
