"""``thingsvision extract``: from images to activations."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ..errors import counted
from .modules import surveyed
from .output import duration_text, results_alone, say, show_record, show_table, size_text
from .verb import AFTER_INTERRUPT, Verb, one_of, read_folder, read_rows, require_name, table_options

if TYPE_CHECKING:
    from ..engines.shard import ShardResult
    from ..estimate import Estimate
    from ..features import FeatureSet
    from ..planning import Plan
    from ..zoo import Network

GOES_ON = "What was finished is kept: run the same command again, and it goes on from there."
# Exit code of a run that went through, but for images that could not be decoded.
SOME_FAILED = 3


def read_size(ctx: click.Context, param: click.Parameter, value: str | None) -> Any:
    """Read a number of pixels, or ``HEIGHTxWIDTH``; ``none`` stays a word."""
    if value in (None, "none"):
        return value
    parts = str(value).split("x")
    if not all(part.isdecimal() and int(part) for part in parts) or len(parts) > 2:
        raise click.BadParameter(f"{value!r} is no size; allowed are 224, 224x288 and none.")
    numbers = tuple(map(int, parts))
    return numbers[0] if len(numbers) == 1 else numbers


def read_reductions(
    ctx: click.Context, param: click.Parameter, values: tuple[str, ...]
) -> str | dict[str, str] | None:
    """Read ``NAME`` for all modules, and ``PATTERN=NAME`` for those that match."""
    from ..reduction import REDUCTIONS

    rules = _rules(values)
    for name in rules.values():
        require_name("reduction", name, REDUCTIONS)
    return rules["*"] if list(rules) == ["*"] else rules or None


def read_projections(
    ctx: click.Context, param: click.Parameter, values: tuple[str, ...]
) -> int | dict[str, int] | None:
    """Read ``K`` for all modules, and ``PATTERN=K`` for those that match."""
    rules = {}
    for pattern, number in _rules(values).items():
        if not number.isdecimal() or not int(number):
            raise click.BadParameter(f"{number!r} is no number of features; it is at least 1.")
        rules[pattern] = int(number)
    return rules["*"] if list(rules) == ["*"] else rules or None


def _rules(values: tuple[str, ...]) -> dict[str, str]:
    """Split ``PATTERN=VALUE``; a lone value is for all that is left."""
    rules: dict[str, str] = {}
    for value in sorted(values, key=lambda value: "=" not in value):
        pattern, _, wanted = value.rpartition("=")
        pattern = pattern or "*"
        if rules.setdefault(pattern, wanted) != wanted:
            raise click.BadParameter(f"{pattern!r} is to be {rules[pattern]!r} and {wanted!r}.")
    return rules


def read_device(ctx: click.Context, param: click.Parameter, value: str) -> str:
    """Refuse what is no device anywhere; whether it is here is known when it is used."""
    if not re.fullmatch(r"auto|cpu|mps|(cuda|gpu)(:\d+)?", value):
        require_name("device", value, ("auto", "cpu", "cuda", "cuda:1", "mps"))
    return value


def _formats() -> Iterable[str]:
    from ..store import STORES

    return STORES


def _precisions() -> Iterable[str]:
    from ..planning import PRECISIONS

    return PRECISIONS


def _initialisations() -> Iterable[str]:
    from ..zoo.source import INITIALISATIONS

    return INITIALISATIONS


def _interpolations() -> Iterable[str]:
    from ..preprocessing import INTERPOLATIONS

    return INTERPOLATIONS


def read_count(ctx: click.Context, param: click.Parameter, value: int | None) -> int | None:
    """Refuse a number below one."""
    if value is not None and value < 1:
        raise click.BadParameter(f"{value} is too few; it is at least 1.")
    return value


def read_shard_option(ctx: click.Context, param: click.Parameter, value: str | None) -> Any:
    """Read ``K/N``."""
    if value is None:
        return None
    from ..engines.shard import read_shard
    from ..errors import InvalidArgument

    try:
        return read_shard(value)
    except InvalidArgument as error:
        raise click.BadParameter(str(error)) from error


def read_batch_size(ctx: click.Context, param: click.Parameter, value: str) -> int | str:
    """Read a number, at least one, or ``auto``."""
    if value == "auto":
        return value
    if not value.isdecimal() or not int(value):
        raise click.BadParameter(f"{value!r} is no batch size; allowed are 32 and auto.")
    return int(value)


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
    callback=one_of("initialisation", _initialisations),
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
    callback=one_of("interpolation", _interpolations),
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
    callback=one_of("precision", _precisions),
    help="float32 or bfloat16, which is faster and has three digits.",
)
@click.option(
    "--format",
    callback=one_of("format", _formats),
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
    format: str | None,
    shard: Any,
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
        ctx.meta[AFTER_INTERRUPT] = GOES_ON
    if Path(name).is_dir() and not Path(images).expanduser().exists():
        raise click.UsageError(
            f"There is no folder or file {images!r}, but {name!r} is a folder. The network comes "
            f"first, NAME IMAGES: thingsvision extract {images} {name} …"
        )
    from ..extraction import extract_features
    from ..images import MAX_PIXELS
    from ..planning import plan
    from ..stimuli import load_stimuli
    from ..store import choose_format, recorded_batch_size
    from ..texts import load_texts

    for_images = {"--file-names": file_names, "--dataset": dataset, "--rows": rows,
                  "--max-pixels": max_pixels, "--resize": resize, "--crop": crop,
                  "--interpolation": interpolation}  # fmt: skip
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
            cost = work.estimate(out, format=format, measure=network.backend.device != "meta")
        _show_plan(work, cost, out, weights, random, style)
        return
    if shard is None:
        features: FeatureSet | None = extract_features(
            network, stimuli, list(modules), out=out, format=format, **options
        )
        failures = features.failures if features else {}
    else:
        from ..engines.shard import extract_shard

        part = extract_shard(
            network, stimuli, list(modules), shard, out=out, format=format, **options
        )
        features, failures = part.features, part.failures
        say(_shard_text(part))
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


def show_features(features: FeatureSet, out: str | os.PathLike[str], style: str | None) -> None:
    """Print a line for each module."""
    rows = [
        {
            "module": address,
            "shape": list(item.shape),
            "file": shown_path(getattr(item.array, "filename", None) or out),
            "bytes": int(item.array.nbytes),
            "axes": list(item.axes),
        }
        for address, item in features.items()
    ]
    show_table(rows, style, columns=("module", "shape", "file", "bytes"), cut=("file",))


def shown_path(path: str | os.PathLike[str]) -> str:
    """Spell a path relative to the current folder, if it lies below it."""
    if "://" in os.fspath(path):
        return os.fspath(path)
    path = Path(path).absolute()
    return str(path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path)


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


def _show_plan(
    work: Plan, cost: Estimate, out: str, weights: str | None, random: bool, style: str | None
) -> None:
    card = work.network.card
    record = {
        "network": work.network.name,
        "weights": f"random, seed {work.seed}" if random else weights or card.weights or "your own",
        "images": len(work.stimuli),
        "first, last": f"{work.stimuli.ids[0]}, {work.stimuli.ids[-1]}",
        "preprocessing": str(work.network.preprocessing),
        "input": list(work.size),
        "batches": f"{len(work.starts)} of {counted(work.batch_size, 'image')}",
        "out": out,
        "bytes": f"{work.n_bytes} ({size_text(work.n_bytes)})",
        **_cost(cost),
    }
    arrays = [
        {
            "module": address,
            "shape": list(shape),
            "axes": list(work.axes[address]),
            "bytes": 4 * _product(shape),
        }
        for address, shape in work.shapes.items()
    ]
    if style == "json":
        numbers = {
            "bytes": work.n_bytes,
            "bytes on disk": cost.n_bytes,
            "free disk": cost.free_disk,
            "peak memory": cost.peak_memory,
            "free memory": cost.free_memory,
            "seconds": cost.seconds,
            "advice": list(cost.advice),
        }
        show_record({**record, **numbers, "modules": arrays}, style)
        return
    if style is None:
        show_record(record, style)
        click.echo()
    show_table(arrays, style, columns=("module", "shape", "axes", "bytes"), cut=("axes",))
    for advice in cost.advice:
        say(f"Note: {advice}")
    say("Nothing was written. Run it without --dry-run to extract.")


def _cost(cost: Estimate) -> dict[str, str]:
    """Spell what an extraction costs; what is not known is left out."""
    record = {}
    if cost.free_disk is not None:
        record["free disk"] = size_text(cost.free_disk)
    if cost.peak_memory is not None:
        free = f" ({size_text(cost.free_memory)} free)" if cost.free_memory is not None else ""
        record["peak memory"] = f"{size_text(cost.peak_memory)}{free}"
    if cost.seconds is not None and cost.images_per_second is not None:
        record["time"] = (
            f"about {duration_text(cost.seconds)} ({cost.images_per_second:.3g} a second, from a "
            "short trial)"
        )
    return record


def _product(shape: tuple[int, ...]) -> int:
    product = 1
    for length in shape:
        product *= length
    return product
