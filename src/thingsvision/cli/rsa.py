"""``thingsvision rsa``: networks beside brains and behaviour, from images to figures."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from .interrupted import goes_on
from .output import results_alone, say, show_table, shown_path
from .values import read_count, read_device
from .verb import AFTER_INTERRUPT, Verb, read_folder, table_options

if TYPE_CHECKING:
    from ..report import ReferenceSet


def read_references(
    ctx: click.Context, param: click.Parameter, values: tuple[str, ...]
) -> dict[str, str | None]:
    """Read ``NAME=FILE`` or, of a public dataset, ``NAME``."""
    found: dict[str, str | None] = {}
    for value in values:
        name, sign, file = value.partition("=")
        if not name or (sign and not file):
            raise click.BadParameter(f"{value!r} is no reference; write NAME=FILE.")
        if name in found:
            raise click.BadParameter(f"{name!r} is named twice.")
        found[name] = file or None
    return found


def read_measures(
    ctx: click.Context, param: click.Parameter, values: tuple[str, ...]
) -> dict[str, str]:
    """Read ``NAME=MEASURE``, once for each reference."""
    parted = [value.partition("=") for value in values]
    for value, (name, _, measure) in zip(values, parted, strict=True):
        if not name or not measure:
            raise click.BadParameter(f"{value!r} names no measure; write NAME=crossnobis.")
    return {name: measure for name, _, measure in parted}


def of_measures(references: dict[str, str | None], measures: dict[str, str]) -> dict[str, Any]:
    """Say of references in files how they were measured."""
    known = [name for name, file in references.items() if file is not None]
    if strange := [name for name in measures if name not in known]:
        raise click.UsageError(
            f"--reference-dissimilarity names {', '.join(strange)}, which is no --reference "
            f"NAME=FILE; there {'are ' + ', '.join(known) if known else 'is none'}."
        )
    return {
        name: {"file": file, "dissimilarity": measures[name]} if name in measures else file
        for name, file in references.items()
    }


@click.command(
    cls=Verb,
    words={
        "--random": "",
        "--bootstrap": "n_resamples=",
        "--clusters": "n_clusters=",
        "--drawn": "n_drawn=",
    },
    examples=(
        "thingsvision rsa torchvision/alexnet --random --dataset objects92 -o figure2",
        "thingsvision rsa 'torchvision/alexnet@features.*' --dataset objects92 -o out",
        "thingsvision rsa cornet/cornet_s --images images --reference it=it.mat -o out",
        "thingsvision rsa cornet/cornet_s --sets figure2.toml -o figure2",
    ),
)
@click.argument("models", metavar="MODEL[@MODULE]…", nargs=-1, required=True)
@click.option("--images", type=click.Path(), metavar="IMAGES", help="Folder of the images.")
@click.option(
    "--dataset",
    metavar="NAME",
    help="Public data with images and references: objects92, fmri78.",
)
@click.option(
    "--sets",
    type=click.Path(),
    metavar="TOML",
    help="Several sets of images with their references, in one file.",
)
@click.option(
    "--reference",
    "references",
    multiple=True,
    metavar="NAME=FILE",
    callback=read_references,
    help="RDMs of a brain or of behaviour: .mat, .npy, .npz, .csv, .h5; FILE@VARIABLE where a "
    "file holds several. NAME alone is one of --dataset. May be given several times.",
)
@click.option(
    "--reference-dissimilarity",
    "measures",
    multiple=True,
    metavar="NAME=MEASURE",
    callback=read_measures,
    help="How the RDMs of a file were measured, if it does not say. Only those of crossnobis and "
    "poisson_cv may be below zero.",
)
@click.option(
    "--ids",
    type=click.Path(),
    metavar="LIST",
    help="Text file with one id a line: the order of references that carry no ids.",
)
@click.option(
    "--by-position",
    is_flag=True,
    help="Take references without ids to be in the order of the images.",
)
@click.option("--random", is_flag=True, help="Take each network with random weights as well.")
@click.option("--dissimilarity", default="correlation", show_default=True, help="Of the RDMs.")
@click.option(
    "--comparison",
    default="pearson",
    show_default=True,
    help="Of RDMs with references: pearson, spearman, kendall_tau_a, rho_a, cosine, …",
)
@click.option(
    "--bootstrap",
    type=int,
    default=1000,
    show_default=True,
    help="Samples behind intervals and p values.",
)
@click.option(
    "--order",
    type=click.Path(),
    metavar="LIST",
    help="Text file with one id a line: the order to draw stimuli in. By default clusters.",
)
@click.option(
    "--clusters", type=int, default=5, show_default=True, help="Groups of stimuli in figures."
)
@click.option(
    "--drawn", type=int, default=200, show_default=True, help="Stimuli of a larger set drawn."
)
@click.option(
    "--photographs", is_flag=True, help="Draw each RDM also alone, with photographs at its edges."
)
@click.option("--seed", type=int, default=0, show_default=True, help="Of all that is random.")
@click.option(
    "--batch-size",
    type=int,
    callback=read_count,
    default=32,
    show_default=True,
    help="Images in one forward pass.",
)
@click.option(
    "--device",
    default="auto",
    show_default=True,
    callback=read_device,
    help="cpu, cuda, cuda:1, mps.",
)
@click.option(
    "-o",
    "--out",
    required=True,
    type=click.Path(),
    callback=read_folder,
    metavar="DIR",
    help="Folder to write to.",
)
@table_options
@click.pass_context
def rsa(
    ctx: click.Context,
    models: tuple[str, ...],
    images: str | None,
    dataset: str | None,
    sets: str | None,
    references: dict[str, str | None],
    measures: dict[str, str],
    ids: str | None,
    by_position: bool,
    random: bool,
    dissimilarity: str,
    comparison: str,
    bootstrap: int,
    order: str | None,
    clusters: int,
    drawn: int,
    photographs: bool,
    seed: int,
    batch_size: int,
    device: str,
    out: str,
    style: str | None,
) -> None:
    """Compare networks with brains and behaviour.

    DIR gets the RDMs, the statistics, the figures, and a page with all of it. What it holds
    already is not computed again. Without a module it is 'penultimate', the input of the last
    classifier; MODULE may hold * and ?, for a profile. random:MODEL has random weights.
    """
    ctx.meta[AFTER_INTERRUPT] = goes_on(out, is_nested=True)
    of_one = {"--images": images, "--dataset": dataset, "--reference": references or None,
              "--reference-dissimilarity": measures or None, "--ids": ids, "--order": order,
              "--by-position": by_position or None}  # fmt: skip
    given = [option for option, value in of_one.items() if value is not None]
    if sets is not None and given:
        raise click.UsageError(f"{', '.join(given)} cannot go with --sets, which says it all.")
    if sets is None and images is None and dataset is None:
        raise click.UsageError("Say where the images are: --images, --dataset or --sets.")
    from ..report import make_set, read_sets, report_rsa

    data: list[ReferenceSet]
    if sets is not None:
        data = read_sets(sets)
    else:
        name = dataset or Path(str(images)).name or "images"
        given_or_named = of_measures(references, measures)
        data = [make_set(name, images, given_or_named, dataset=dataset, ids=ids,
                         by_position=by_position, order=order)]  # fmt: skip
    with results_alone():
        report = report_rsa(
            models, data, out, random=random, dissimilarity=dissimilarity, comparison=comparison,
            n_resamples=bootstrap, n_clusters=clusters, n_drawn=drawn, photographs=photographs,
            seed=seed, batch_size=batch_size, device=device,
        )  # fmt: skip
    columns = ("set", "model", "weights", "module", "reference", "estimate", "ci_low", "ci_high",
               "p")  # fmt: skip
    left_out = ["set"] if len(data) == 1 else []
    left_out += ["weights"] if report.table["weights"].nunique() == 1 else []
    shown = [column for column in columns if column not in left_out]
    records: Any = report.table.to_dict("records")
    show_table(records, style, columns=shown, cut=("module", "model", "reference"))
    say(f"Everything is in {shown_path(report.folder)}; begin with report.md.")
    if report.failed:
        ctx.exit(1)
