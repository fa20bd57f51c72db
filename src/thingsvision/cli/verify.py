"""``thingsvision verify``: whether features are what their record says."""

from __future__ import annotations

import click

from ..errors import counted, listing
from .output import results_alone, say, show_findings, show_table
from .verb import Verb, table_options

# Exit codes: something is wrong; all is as recorded, but some images have no features; what could
# be checked is right, but not all could be.
WRONG, SOME_FAILED, INCOMPLETE = 1, 3, 4


@click.command(
    cls=Verb,
    examples=(
        "thingsvision verify out",
        "thingsvision verify mine --images images --sample 100",
    ),
)
@click.argument("folder", metavar="DIR")
@click.option(
    "--sample",
    type=click.IntRange(0),
    default=32,
    show_default=True,
    help="Rows to compute again, rounded up to whole batches; 0 for none.",
)
@click.option(
    "--images",
    type=click.Path(),
    metavar="WHERE",
    help="Where the images, or texts, are now, if not where they were.",
)
@click.option("--seed", type=int, default=0, show_default=True, help="Of the choice of batches.")
@table_options
@click.pass_context
def verify(
    ctx: click.Context, folder: str, sample: int, images: str | None, seed: int, style: str | None
) -> None:
    """Check the features in DIR, and compute a sample of them again.

    Ids, counts and digests are compared with the record, the images with what they were, and
    whole batches are computed again with the recorded network and settings. The exit code is 0 if
    all is right, 1 if something is wrong, 4 if what could be checked is right but not everything
    could be, and 3 if all is as recorded, but images that could not be decoded have no features.
    """
    from ..verification import verify_features

    with results_alone():
        found = verify_features(folder, images, sample, seed=seed)
    rows = [
        {"check": check.what, "result": check.result, "says": check.says,
         "difference": found.differences.get(check.what)}
        for check in found.checks
    ]  # fmt: skip
    if style is None:
        show_findings([f"{check.what}: {check.result}. {check.says}" for check in found.checks])
    else:
        show_table(rows, style, columns=list(rows[0]))
    if not found.is_right:
        say("Something is wrong with these features.")
        ctx.exit(WRONG)
    if not found.is_complete:
        say("What could be checked is right; not everything could be.")
        ctx.exit(INCOMPLETE)
    if found.failed:
        verb = "has" if len(found.failed) == 1 else "have"
        say(
            f"All is as recorded; but {counted(len(found.failed), 'image')} could not be decoded "
            f"and {verb} no features: {listing(found.failed, 5)}."
        )
        ctx.exit(SOME_FAILED)
    say("All is right.")
