"""``thingsvision rdm``: from activations to RDMs."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from .rdm_files import targets
from .rdm_network import AGAIN, NOTHING, STAY, network_options, refuse_network_options, stream
from .rdm_shown import draw, record, show_rdms
from .verb import AFTER_INTERRUPT, Verb, table_options

if TYPE_CHECKING:
    from ..features import FeatureSet


@click.command(
    cls=Verb,
    examples=(
        "thingsvision rdm out -m blocks.5 -o blocks.5.npz --plot blocks.5.png",
        "thingsvision rdm out -o rdms --dissimilarity euclidean",
        "thingsvision rdm out -o wide --dissimilarity gaussian --bandwidth 100",
        "thingsvision rdm out -m blocks.5 --plot photos.png --images images",
        "thingsvision rdm torchvision/alexnet images -m '*' -o all-rdms --random",
    ),
)
@click.argument("source", metavar="DIR|NETWORK", type=click.Path())
@click.argument("images_of_network", metavar="[IMAGES]", required=False, type=click.Path())
@click.option(
    "-m",
    "--module",
    "modules",
    multiple=True,
    metavar="MODULE",
    help="One of the modules in DIR, or of the network; may be given several times and hold * and "
    "?. Of DIR all of them by default.",
)
@click.option(
    "--dissimilarity",
    default="correlation",
    show_default=True,
    help="correlation, cosine, euclidean, squared_euclidean, gaussian, mahalanobis, crossnobis, "
    "poisson, poisson_cv.",
)
@click.option(
    "--bandwidth",
    type=float,
    help="Of gaussian: its standard deviation. By default the mean distance decides.",
)
@click.option(
    "--covariance",
    help="Of mahalanobis and crossnobis, how the noise is estimated: shrinkage_eye (default), "
    "shrinkage_diag, diag, full, identity.",
)
@click.option(
    "--repeats",
    type=click.Path(),
    metavar="CSV",
    help="Table with the columns id and condition, for stimuli that were measured repeatedly, "
    "and fold for crossnobis and poisson_cv.",
)
@click.option(
    "--nan",
    type=click.Choice(["refuse", "drop"]),
    default="refuse",
    show_default=True,
    help="What to do with stimuli whose features are NaN or infinite.",
)
@click.option(
    "--drop-failed", is_flag=True, help="Leave out stimuli whose images could not be decoded."
)
@click.option(
    "-o",
    "--out",
    type=click.Path(),
    metavar="OUT",
    help="File to write, .npz or .csv, or .npy, which holds no ids but may be larger than memory; "
    "or a folder, for several modules.",
)
@click.option(
    "--plot",
    type=click.Path(),
    metavar="PNG",
    help="Figure to draw, .png, .pdf or .svg; or a folder, for several modules.",
)
@click.option(
    "--images",
    type=click.Path(),
    metavar="IMAGES",
    help="Folder of the photographs, or HDF5 file, to show them along the figure's edges.",
)
@click.option("--dataset", metavar="NAME", help="Name of the images, if --images is an HDF5 file.")
@network_options
@table_options
@click.pass_context
def rdm(
    ctx: click.Context,
    /,
    source: str,
    images_of_network: str | None,
    modules: tuple[str, ...],
    dissimilarity: str,
    bandwidth: float | None,
    covariance: str | None,
    repeats: str | None,
    nan: str,
    drop_failed: bool,
    out: str | None,
    plot: str | None,
    images: str | None,
    dataset: str | None,
    style: str | None,
    **options: Any,
) -> None:
    """Compute RDMs, of features or in one pass over images.

    DIR is what 'thingsvision extract' wrote. With NETWORK and IMAGES, as 'thingsvision extract'
    takes them, activations are not kept: one pass gives the RDMs of all modules, in bounded memory.
    Without -o and --plot the RDMs are only summed up.
    """
    if images is not None and plot is None:
        raise click.UsageError("--images shows photographs in a figure; say which with --plot.")
    from ..store.disk import without_empty_folders

    made = [Path(path).expanduser() for path in (out, plot) if path is not None]
    ctx.with_resource(without_empty_folders(*made))
    if images_of_network is not None:
        if repeats is not None or covariance is not None:
            raise click.UsageError(
                "--repeats and --covariance need all activations at once: write them first, with "
                "thingsvision extract … -o DIR, and give DIR."
            )
        written: list[Path] = []
        ctx.meta[AFTER_INTERRUPT] = lambda: f"{STAY if written else NOTHING} {AGAIN}"
        rows, n_failed = stream(
            source, images_of_network, modules, options, dissimilarity=dissimilarity, nan=nan,
            drop_failed=drop_failed, out=out, plot=plot, photographs=images, dataset=dataset,
            bandwidth=bandwidth, written=written,
        )  # fmt: skip
        before = ["model"] if options["others"] else []
        show_rdms(rows, style, before, ["projected"] if options["project"] else [])
        if n_failed:
            ctx.exit(1)
        return
    refuse_network_options(ctx)
    if dataset is not None and images is None:
        raise click.UsageError("--dataset names the images in an HDF5 file; give it as --images.")
    from ..rsa.rdm import compute_rdm
    from ..rsa.rdm_set import save_whole
    from ..stimuli import load_stimuli
    from ..store import open_features

    features = open_features(source)
    names = _chosen(features, modules, source)
    files, plots = targets("--out", out, names), targets("--plot", plot, names)
    pictures = None if images is None else load_stimuli(images, dataset=dataset)
    given: dict[str, Any] = {"bandwidth": bandwidth, "covariance": covariance}
    if repeats is not None:
        given |= labels(Path(repeats), features[names[0]].ids)
    given = {option: value for option, value in given.items() if value is not None}
    rows = []
    for name in names:
        path = files.get(name)
        streamed = path if path is not None and path.suffix == ".npy" else None
        result = compute_rdm(
            features[name], dissimilarity, nan=nan, drop_failed=drop_failed, out=streamed, **given
        )
        if path is not None and streamed is None:
            save_whole(result, path)
        if name in plots:
            draw(result, plots[name], pictures)
        rows.append(record(result, name, path, plots.get(name)))
    show_rdms(rows, style)


def labels(path: Path, ids: Sequence[str]) -> dict[str, list[str]]:
    """Read the condition, and the fold if there is one, of each stimulus from a CSV file.

    Raises
    ------
    InvalidArgument
        If there is no such table, or it lacks a column or a stimulus.
    """
    from ..errors import InvalidArgument, listing
    from ..text_files import read_text

    next_step = "It is a CSV table with the columns id and condition."
    lines = io.StringIO(read_text(path, "table of --repeats", next_step), newline="")
    table = {row.get("id"): row for row in csv.DictReader(lines)}
    columns = list(next(iter(table.values()), {}))
    if not {"id", "condition"} <= set(columns):
        raise InvalidArgument(
            f"{path} has the columns {listing(columns)}; needed are id and condition, and fold for "
            "crossnobis and poisson_cv."
        )
    missing = [name for name in ids if name not in table]
    if missing:
        raise InvalidArgument(
            f"{path} says nothing about {len(missing)} of the {len(ids)} stimuli: "
            f"{listing(missing)}."
        )
    found = {"conditions": [table[name]["condition"] for name in ids]}
    if "fold" in columns:
        found["folds"] = [table[name]["fold"] for name in ids]
    return found


def _chosen(features: FeatureSet, patterns: Sequence[str], source: str) -> list[str]:
    """Find the modules that patterns match, in their order, each once."""
    from ..errors import unknown
    from ..registry import matching

    names = list(features)
    chosen: dict[str, None] = {}
    for pattern in patterns or ["*"]:
        found = [pattern] if pattern in names else matching(pattern, names)
        if not found:
            raise unknown("module", pattern, names, listed_by=f"thingsvision modules {source}")
        chosen.update(dict.fromkeys(found))
    return list(chosen)
