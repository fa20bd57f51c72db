"""``thingsvision compare``: how alike RDMs are."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import click

from .output import say, show_table
from .verb import Verb, table_options

if TYPE_CHECKING:
    from ..rsa.rdm import RDM


@click.command(
    cls=Verb,
    examples=(
        "thingsvision compare blocks.5.npz rdms/blocks.5.npz",
        "thingsvision compare rdms blocks.5.npz --comparison spearman --csv",
    ),
)
@click.argument("a", type=click.Path())
@click.argument("b", type=click.Path())
@click.option(
    "--comparison",
    default="pearson",
    show_default=True,
    help="pearson, spearman, kendall_tau_a, kendall_tau_b, rho_a, cosine, whitened_correlation, "
    "whitened_cosine, bures.",
)
@click.option(
    "--by-position",
    is_flag=True,
    help="Take RDMs without ids to be in the order of those that have them.",
)
@click.option(
    "--ids",
    type=click.Path(),
    metavar="LIST",
    help="Text file with one id a line: the order of files that carry no ids.",
)
@click.option("--variable", metavar="NAME", help="Which of several matrices in a .mat or .npz.")
@table_options
def compare(
    a: str,
    b: str,
    comparison: str,
    by_position: bool,
    ids: str | None,
    variable: str | None,
    style: str | None,
) -> None:
    """Compare the RDMs of A with those of B.

    A and B are files (.npz, .csv, .npy, .mat) or folders of them. Stimuli are joined by their
    ids, in whichever order they stand.
    """
    from ..rsa.comparison import compare_rdms

    side_a, side_b = _rdms(a, ids, variable), _rdms(b, ids, variable)
    table = compare_rdms(side_a, side_b, comparison=comparison, by_position=by_position)
    assert not isinstance(table, float)  # which two bare RDMs would give, not two tables of them
    joined = table.attrs["joined_by"]
    rows = [
        {
            "a": row,
            "b": column,
            comparison: float(value),
            "stimuli": len(side_a[row]),
            "joined by": joined,
        }
        for row, values in zip(side_a, table.to_numpy(), strict=True)
        for column, value in zip(side_b, values, strict=True)
    ]
    show_table(rows, style, columns=("a", "b", comparison, "stimuli", "joined by"), cut=("b", "a"))
    if joined == "position":
        say("Joined by position: that both are in the same order was not checked.")


def _rdms(path: str, ids: str | None, variable: str | None) -> dict[str, RDM]:
    """Read the RDM of a file, or all those of a folder, by name of the file."""
    from ..errors import InvalidArgument
    from ..rsa.files import READERS, read_ids
    from ..rsa.loading import load_rdm
    from ..store import location
    from ..store.records import META

    where = location(path)
    if not where.exists():
        raise InvalidArgument(f"There is no file or folder {path!r} to take RDMs from.")
    if (where / META).is_file():
        raise InvalidArgument(
            f"{path!r} holds activations, not RDMs. Make RDMs of them first: "
            f"thingsvision rdm {path} -o rdms"
        )
    files = [where]
    if where.is_dir():
        files = sorted(file for file in where.iterdir() if file.suffix.lower() in READERS)
        if not files:
            raise InvalidArgument(
                f"There are no RDMs in {path!r}; they are files such as {', '.join(READERS)}. "
                "thingsvision rdm makes them."
            )
    named = {}
    for file in files:
        rdm = load_rdm(file, variable=variable)
        if rdm.ids is None and ids is not None:
            names = tuple(read_ids(Path(ids).expanduser()))
            try:
                rdm = replace(rdm, ids=names)
            except InvalidArgument as error:
                raise InvalidArgument(f"--ids {ids} does not fit {str(file)!r}. {error}") from error
        named[file.name if where.is_dir() else path] = rdm
    return named
