"""The other half of ``thingsvision rdm``: from networks and images, without stored activations."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from . import choices
from .output import results_alone
from .rdm_files import check_target, network_targets
from .rdm_shown import draw, record
from .values import read_count, read_device, read_projections, read_reductions, read_size
from .verb import one_of, read_rows, require_name

if TYPE_CHECKING:
    from ..plans import Plan
    from ..zoo import Network

STAY = "RDMs that were written are whole and stay; nothing else is kept."
NOTHING = "No RDM was written yet, and nothing is kept."
AGAIN = (
    "The same command begins anew. To be able to go on, write the activations first: thingsvision "
    "extract … -o DIR, then thingsvision rdm DIR."
)


def read_size_of_memory(
    ctx: click.Context, param: click.Parameter, value: str | None
) -> int | None:
    """Read an amount of memory."""
    from ..errors import InvalidArgument
    from ..memory import read_memory

    try:
        return None if value is None else read_memory(value)
    except InvalidArgument as error:
        raise click.BadParameter(str(error)) from error


OPTIONS: dict[str, Callable[..., Any]] = {
    "others": click.option(
        "--model",
        "others",
        multiple=True,
        metavar="NAME[@MODULE]",
        help="One more network on the same images, which are decoded once where preprocessings "
        "agree; with modules of its own, or those of -m. May be given several times.",
    ),
    "random": click.option("--random", is_flag=True, help="Random weights, not trained ones."),
    "seed": click.option(
        "--seed", type=int, default=0, show_default=True, help="Of all that is random."
    ),
    "weights": click.option(
        "--weights", metavar="FILE", help="Weights of your own, or the name of others."
    ),
    "file_names": click.option(
        "--file-names",
        type=click.Path(),
        metavar="LIST",
        help="Text file: which images of the folder, in which order.",
    ),
    "rows": click.option(
        "--rows",
        metavar="ROWS",
        callback=read_rows,
        help="Which images of an HDF5 file: 0-99, 0,5,9 or a text file of numbers.",
    ),
    "reduction": click.option(
        "--reduction",
        multiple=True,
        metavar="NAME",
        callback=read_reductions,
        help="What is kept of an activation, as in 'thingsvision extract'.",
    ),
    "project": click.option(
        "--project",
        multiple=True,
        metavar="K",
        callback=read_projections,
        help="Take K numbers in the place of an activation, by a random projection whose error is "
        "stated; PATTERN=K for modules that match.",
    ),
    "resize": click.option(
        "--resize", callback=read_size, metavar="N", help="Pixels of the shorter side, or none."
    ),
    "crop": click.option(
        "--crop", callback=read_size, metavar="N", help="Pixels of the centre crop, or none."
    ),
    "decode": click.option(
        "--decode",
        metavar="WAY",
        callback=one_of("way to decode", choices.decoders),
        help="exact, or fast for an approximation that decodes JPEGs no larger than is needed.",
    ),
    "batch_size": click.option(
        "--batch-size",
        type=int,
        callback=read_count,
        default=32,
        show_default=True,
        help="Images in one forward pass.",
    ),
    "device": click.option(
        "--device",
        default="auto",
        show_default=True,
        callback=read_device,
        help="cpu, cuda, cuda:1, mps.",
    ),
    "memory": click.option(
        "--memory",
        metavar="SIZE",
        callback=read_size_of_memory,
        help="Budget beyond networks and a batch, e.g. 2GB; by default half of what is free.",
    ),
    "scratch": click.option(
        "--scratch",
        type=click.Path(file_okay=False),
        metavar="DIR",
        help="Folder on a disk for what the memory does not hold; by default the system's for "
        "temporary files.",
    ),
}


def network_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """Add the options that only go with a network and images."""
    for add in reversed(OPTIONS.values()):
        function = add(function)
    return function


def refuse_network_options(ctx: click.Context) -> None:
    """Refuse options that say how to extract where the activations are there already."""
    given = [
        max(param.opts, key=len)
        for param in ctx.command.params
        if param.name in OPTIONS
        and ctx.get_parameter_source(param.name) is click.core.ParameterSource.COMMANDLINE
    ]
    if given:
        raise click.UsageError(
            f"{', '.join(given)}: only with a network and images, thingsvision rdm NETWORK IMAGES; "
            "the activations in a folder are as they were extracted."
        )


def load_networks(
    name: str,
    modules: Sequence[str],
    others: Sequence[str],
    *,
    random: bool,
    weights: str | None,
    seed: int,
    device: str,
    changes: Mapping[str, Any],
) -> tuple[list[Network], list[list[str]]]:
    """Load the networks, and read the modules that are wanted of each."""
    from ..zoo import load_model

    networks, wanted = [], []
    for one in (name, *others):
        spelled, sign, module = one.partition("@") if not Path(one).exists() else (one, "", "")
        if not sign and not modules:
            raise click.UsageError(
                f"Say which modules of {spelled} with -m: their names, or -m '*' for all."
            )
        with results_alone():
            network = load_model(
                spelled, not random, weights=weights if one == name else None, seed=seed,
                device=device,
            )  # fmt: skip
        networks.append(network.preprocessed(**changes) if changes else network)
        wanted.append([module] if sign else list(modules))
    return networks, wanted


def stream(
    name: str,
    images: str,
    modules: Sequence[str],
    options: Mapping[str, Any],
    *,
    dissimilarity: str,
    out: str | None,
    plot: str | None,
    photographs: str | None,
    dataset: str | None,
    bandwidth: float | None,
    written: list[Path],
    **given: Any,
) -> tuple[list[dict[str, Any]], int]:
    """Compute, write and draw the RDMs of networks, and add to `written` what was.

    Returns
    -------
    rows : list of dict
        What the table shows of each RDM.
    n_failed : int
        Modules whose RDM is not defined.
    """
    from ..rsa import DISSIMILARITIES
    from ..rsa.rdm_set import save_whole
    from ..stimuli import load_stimuli
    from ..streaming import iterate_rdms, warn_of_failed

    require_name("dissimilarity", dissimilarity, DISSIMILARITIES)
    for option, given_path in {"--out": out, "--plot": plot}.items():
        check_target(option, given_path, 1 + len(options["others"]))
    stimuli = load_stimuli(
        images, file_names=options["file_names"], dataset=dataset, rows=options["rows"]
    )
    pictures = None if photographs is None else load_stimuli(photographs, dataset=dataset)
    changes = {key: None if options[key] == "none" else options[key]
               for key in ("resize", "crop") if options[key] is not None}  # fmt: skip
    networks, wanted = load_networks(
        name, modules, options["others"], random=options["random"], weights=options["weights"],
        seed=options["seed"], device=options["device"], changes=changes,
    )  # fmt: skip
    files: list[dict[str, Path]] = []
    plots: list[dict[str, Path]] = []

    def check(works: Sequence[Plan]) -> None:
        addresses = [[capture.address for capture in work.captures] for work in works]
        files.extend(network_targets("--out", out, networks, addresses))
        plots.extend(network_targets("--plot", plot, networks, addresses))

    kept = ("reduction", "project", "seed", "decode", "batch_size", "memory", "scratch")
    passed: dict[str, Any] = {key: options[key] for key in kept} | given
    if bandwidth is not None:
        passed["bandwidth"] = bandwidth
    coming = iterate_rdms(
        networks, stimuli, wanted, dissimilarity=dissimilarity, check=check, **passed
    )
    rows: list[dict[str, Any]] = []
    failed: list[tuple[str, dict[str, Any]]] = [(network.name, {}) for network in networks]
    with closing(coming):
        for one in coming:
            if one.rdm is None:
                failed[one.number][1][one.module] = one.problem
                continue
            path, figure = files[one.number].get(one.module), plots[one.number].get(one.module)
            rows.append(
                record(one.rdm, one.module, path, figure, networks[one.number].name)
                | ({"projected": _error(one.rdm)} if options["project"] else {})
            )
            if path is not None:
                written.append(save_whole(one.rdm, path))
            if figure is not None:
                draw(one.rdm, figure, pictures)
    warn_of_failed(failed)
    return rows, sum(len(found) for _, found in failed)


def _error(rdm: Any) -> str:
    """Spell the error to expect of a projection."""
    found = rdm.provenance.get("rdm", {}).get("projected", {})
    return next((f"{key} {value:.2g}" for key, value in found.items() if "error" in key), "no")
