"""``thingsvision diff``: why two feature sets disagree."""

from __future__ import annotations

import click

from .output import say, show_findings, show_table
from .verb import Verb, table_options

# Exit code where they differ, as that of diff.
DIFFERENT = 1


@click.command(
    cls=Verb,
    examples=(
        "thingsvision diff out out",
        "thingsvision diff out out/blocks.5.npy --json",
    ),
)
@click.argument("a")
@click.argument("b")
@table_options
@click.pass_context
def diff(ctx: click.Context, a: str, b: str, style: str | None) -> None:
    """Say why the features in A and B disagree.

    A and B are folders of thingsvision (any version), of Net2Brain or of .npy files, or single
    files. Rows are compared by id where both have ids. The exit code is 0 if they agree, 1 if not.
    """
    from ..diff import diff_features

    found = diff_features(a, b)
    rows = [
        {"module": item.module, "about": item.about, "says": item.says, "figure": item.figure}
        for item in found.findings
    ]
    if style is None:
        show_findings(str(found).splitlines())
    else:
        show_table(rows, style, columns=list(rows[0]))
    if not found.agree:
        say("They differ.")
        ctx.exit(DIFFERENT)
    say("They agree.")
