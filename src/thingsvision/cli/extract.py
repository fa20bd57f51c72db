"""``thingsvision extract``: from images to activations."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ..errors import counted
from . import choices
from .interrupted import goes_on
from .modules import surveyed
from .output import results_alone, say, show_features
from .plan_shown import show_plan
from .values import (
    read_batch_size,
    read_count,
    read_device,
    read_projections,
    read_reductions,
    read_shard_option,
    read_size,
)
from .verb import AFTER_INTERRUPT, Verb, one_of, read_folder, read_rows, table_options

if TYPE_CHECKING:
    from ..engines.shard import ShardResult
    from ..features import FeatureSet
    from ..zoo import Network

# Exit code of a run that went through, but for images that could not be decoded.
SOME_FAILED = 3


@click.command(
    cls=Verb,
    examples=(
        "thingsvision extract checkpoints/efficientnet_lite0 images -m blocks.5 -o out",
        'thingsvision extract alexnet images -m "*" -o all --random --dry-run',
        "thingsvision extract networks.py:make_network images -m output -o mine",
        'thingsvision extract alexnet images -m "feat*" -o few --random --project 100',
        "thingsvision extract clip-ViT texts.txt --text -m text -o words --random",
    ),
)
@click.argument("name")
@click.argument("images", type=click.Path())
@click.option(
    "-m",
    "--module",
    "modules",
    multiple=True,
    required=True,
    metavar="MODULE",
    help="Module to extract; may be given several times and hold * and ?. "
    "'penultimate' is the input of the classifier, 'output' the network's output.",
)
@click.option(
    "-o",
    "--out",
    required=True,
    type=click.Path(),
    callback=read_folder,
    metavar="DIR",
    help="Folder to write to, or a URL such as s3://bucket/features.",
)
@click.option("--random", is_flag=True, help="Random weights in place of trained ones.")
@click.option(
    "--init",
    metavar="NAME",
    callback=one_of("initialisation", choices.initialisations),
    help="Of random weights, e.g. orthogonal; the library's own by default.",
)
@click.option("--seed", type=int, default=0, show_default=True, help="Of all that is random.")
@click.option("--weights", metavar="FILE", help="Weights of your own, or the name of others.")
@click.option(
    "--file-names",
    type=click.Path(),
    metavar="LIST",
    help="Text file: which images of the folder, in which order.",
)
@click.option("--dataset", metavar="NAME", help="Name of the images in an HDF5 file.")
@click.option(
    "--rows",
    metavar="ROWS",
    callback=read_rows,
    help="Which images of an HDF5 file: 0-99, 0,5,9 or a text file of numbers.",
)
@click.option(
    "--text",
    is_flag=True,
    help="IMAGES are texts: a file with one on each line, or a CSV table with a column 'text'.",
)
@click.option(
    "--max-pixels",
    type=int,
    callback=read_count,
    metavar="N",
    help="Images of more pixels are refused; by default of more than 178,956,970.",
)
@click.option("--flatten", is_flag=True, help="Lay each stimulus's activations out in one row.")
@click.option(
    "--reduction",
    multiple=True,
    metavar="NAME",
    callback=read_reductions,
    help="What is kept of an activation: flatten, mean, max, cls, mean-of-patches or cls+mean; "
    "PATTERN=NAME for modules that match. May be given several times.",
)
@click.option(
    "--project",
    multiple=True,
    metavar="K",
    callback=read_projections,
    help="Keep K numbers of each activation, by a sparse random projection; PATTERN=K for "
    "modules that match.",
)
@click.option(
    "--resize", callback=read_size, metavar="N", help="Pixels of the shorter side, or none."
)
@click.option("--crop", callback=read_size, metavar="N", help="Pixels of the centre crop, or none.")
@click.option(
    "--interpolation",
    metavar="NAME",
    callback=one_of("interpolation", choices.interpolations),
    help="Of the resize: bilinear, bicubic, …",
)
@click.option(
    "--batch-size",
    metavar="N",
    callback=read_batch_size,
    default="32",
    show_default=True,
    help="Images in one forward pass; auto finds the quickest size.",
)
@click.option(
    "--device",
    default="auto",
    show_default=True,
    callback=read_device,
    help="cpu, cuda, cuda:1, mps.",
)
@click.option(
    "--exact", is_flag=True, help="Compute as the network's own library does, to the last bit."
)
@click.option(
    "--precision",
    default="float32",
    show_default=True,
    callback=one_of("precision", choices.precisions),
    help="float32; bfloat16, which is faster and rounds to three digits; or, on GPUs, float16.",
)
@click.option(
    "--decode",
    metavar="WAY",
    callback=one_of("way to decode", choices.decoders),
    help="exact, or fast for an approximation that decodes JPEGs no larger than is needed.",
)
@click.option(
    "--format",
    callback=one_of("format", choices.formats),
    help="npy, hdf5, mat, txt, pt, zarr, csv or parquet; npy by default, for a URL zarr.",
)
@click.option(
    "--shard",
    metavar="K/N",
    callback=read_shard_option,
    help="Compute the K-th of N parts only, into the folder that all parts fill: for the jobs of a "
    "cluster, or for several GPUs.",
)
@click.option(
    "--engine",
    default="local",
    show_default=True,
    callback=one_of("engine", lambda: ("local", "ray")),
    help="local, or ray for workers that share the work.",
)
@click.option("--address", help="Of the Ray cluster; this machine alone by default.")
@click.option(
    "--workers",
    type=int,
    callback=read_count,
    metavar="N",
    help="Of Ray; as many as there is room for by default.",
)
@click.option(
    "--dry-run",
    is_flag=True,
    help="Only show what would be done, and what it costs, from a short trial with random weights.",
)
@table_options
@click.pass_context
def extract(
    ctx: click.Context,
    name: str,
    images: str,
    modules: tuple[str, ...],
    out: str,
    random: bool,
    init: str | None,
    seed: int,
    weights: str | None,
    file_names: str | None,
    dataset: str | None,
    rows: list[int] | None,
    text: bool,
    max_pixels: int | None,
    flatten: bool,
    reduction: str | dict[str, str] | None,
    project: int | dict[str, int] | None,
    resize: Any,
    crop: Any,
    interpolation: str | None,
    batch_size: int | str,
    device: str,
    exact: bool,
    precision: str,
    decode: str | None,
    format: str | None,
    shard: Any,
    engine: str,
    address: str | None,
    workers: int | None,
    dry_run: bool,
    style: str | None,
) -> None:
    """Extract activations of the network NAME for IMAGES.

    NAME is one of 'thingsvision models', or FILE.py:FUNCTION for a network of your own. IMAGES is
    a folder, with or without subfolders, a CSV table with a column 'path', an HDF5 file, or one
    image. A run that was interrupted goes on where it stopped when it is started again; one that
    is complete is not repeated. Images that fail while they are decoded leave rows of NaN, and the
    exit code 3; once they are mended, the same command computes their batches.
    """
    if not dry_run:
        ctx.meta[AFTER_INTERRUPT] = goes_on(out)
    if Path(name).is_dir() and not Path(images).expanduser().exists():
        raise click.UsageError(
            f"There is no folder or file {images!r}, but {name!r} is a folder. The network comes "
            f"first, NAME IMAGES: thingsvision extract {images} {name} …"
        )
    from ..estimate import estimate_cost
    from ..extraction import extract_features
    from ..images import MAX_PIXELS
    from ..planning import plan
    from ..stimuli import load_stimuli, load_texts
    from ..store import choose_format, recorded_batch_size
    from ..store.standing import count_done

    for_ray = {"--address": address, "--workers": workers}
    if engine != "ray" and (given := [name for name, value in for_ray.items() if value]):
        raise click.UsageError(f"{', '.join(given)} cannot go without --engine ray.")
    if engine == "ray" and shard:
        raise click.UsageError("--shard cannot go with --engine ray, which makes its own shards.")
    for_images = {"--file-names": file_names, "--dataset": dataset, "--rows": rows,
                  "--max-pixels": max_pixels, "--resize": resize, "--crop": crop,
                  "--interpolation": interpolation, "--decode": decode}  # fmt: skip
    if text and (given := [option for option, value in for_images.items() if value is not None]):
        raise click.UsageError(f"{', '.join(given)} cannot go with --text: it is for images.")
    # What costs nothing is checked first.
    format = choose_format(out, format)
    stimuli = (
        load_texts(images) if text
        else load_stimuli(images, file_names=file_names, dataset=dataset, rows=rows,
                          max_pixels=max_pixels or MAX_PIXELS)
    )  # fmt: skip
    options: dict[str, Any] = {
        "reduction": reduction,
        "project": project,
        "flatten": flatten,
        "batch_size": batch_size,
        "seed": seed,
        "exact": exact,
        "precision": precision,
        "decode": decode,
    }
    changes = {"resize": resize, "crop": crop, "interpolation": interpolation}
    changes = {key: None if value == "none" else value
               for key, value in changes.items() if value is not None}  # fmt: skip
    with results_alone():
        network = _network(name, random, weights, init, seed, device, dry_run)
    if changes:
        network = network.preprocessed(**changes)
    if dry_run:
        if batch_size == "auto":
            options["batch_size"] = recorded_batch_size(out) or batch_size
        with results_alone():
            work = plan(network, stimuli, list(modules), **options)
            cost = estimate_cost(work, out, format=format, measure=network.backend.device != "meta")
            n_done = count_done(out, format, work.request, work.stimuli)
        show_plan(work, cost, out, weights, random, style, n_done, shard)
        return
    options |= {"out": out, "format": format}
    features: FeatureSet | None
    if shard is not None:
        from ..engines.shard import extract_shard

        part = extract_shard(network, stimuli, list(modules), shard, **options)
        features, failures = part.features, part.failures
        say(_shard_text(part))
    else:
        if engine == "ray":
            from ..engines.ray import extract_with_ray

            options |= {"address": address, "workers": workers}
            features = extract_with_ray(network, stimuli, list(modules), **options)
        else:
            features = extract_features(network, stimuli, list(modules), **options)
        failures = features.failures
    _say_what_was_assumed(network.for_modality(stimuli.modality))
    if features is not None:
        show_features(features, out, style)
    if failures:
        ctx.exit(SOME_FAILED)


def _shard_text(part: ShardResult) -> str:
    """Tell what a shard did and what is left."""
    done = f"Shard {part.shard} is done: {counted(part.n_stimuli, 'image')}. "
    if not part.missing:
        return done + "The features of all images are complete."
    return done + (
        f"Batches that are missing yet, of other shards: {part.missing}. The last shard completes "
        "the folder; the same command without --shard computes what is missing."
    )


def _network(
    name: str,
    random: bool,
    weights: str | None,
    init: str | None,
    seed: int,
    device: str,
    dry_run: bool,
) -> Network:
    """Load the network; for a plan with random weights, unless they are the user's own."""
    from ..errors import ThingsvisionError
    from ..zoo import find_model, load_model
    from ..zoo.catalogue import is_weights_file
    from ..zoo.loading import choose

    source, model, choice = choose(name, not random, weights, seed, init, device)
    if not dry_run or (weights is not None and is_weights_file(weights)):
        return load_model(name, not random, weights=weights, init=init, seed=seed, device=device)
    _, _, named = find_model(name)
    try:  # their values do not matter to time and memory
        return source.load(model, replace(choice, pretrained=False, weights=weights or named))
    except (ThingsvisionError, NotImplementedError):
        return surveyed(name, weights)[0]


def _say_what_was_assumed(network: Network) -> None:
    """Tell that weights which are not the source's own may need other preprocessing."""
    assumed = str(network.weights.get("preprocessing", ""))
    if assumed:
        say(f"Note: The preprocessing was {assumed} ({network.preprocessing}).")
