"""``thingsvision modules``: what can be extracted from a network."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from .output import results_alone, say, shape_text, show_features, show_table
from .verb import Verb, table_options

if TYPE_CHECKING:
    from ..backends.survey import Output, Survey
    from ..zoo import Network

META = "meta.json"  # which a folder of features has
NEVER = "never called"
NO_ROWS = "no row per stimulus"


@click.command(
    cls=Verb,
    examples=(
        "thingsvision modules torchvision/alexnet",
        'thingsvision modules checkpoints/efficientnet_lite0 "blocks.?"',
        "thingsvision modules networks.py:make_network",
    ),
)
@click.argument("name")
@click.argument("pattern", default="*")
@click.option("--text", is_flag=True, help="Those that a text goes through, not an image.")
@table_options
def modules(name: str, pattern: str, text: bool, style: str | None) -> None:
    """List the modules of the network NAME.

    With their types, calls and output shapes. NAME is one of 'thingsvision models', or
    FILE.py:FUNCTION for a network of your own; or a folder of features, whose modules are listed.

    PATTERN may hold the wildcards * and ?; put it in quotes. Shapes are for one image, without
    the axis of the stimuli; neither weights nor images are needed. A module that is called
    several times in one pass gives its last output; NAME:0 is the first.
    """
    from ..errors import unknown
    from ..registry import matching

    if (Path(name).expanduser() / META).is_file():
        _show_stored(name, pattern, style)
        return
    network, survey = surveyed(name, text=text)
    rows = list(_rows(survey))
    wanted = set(matching(pattern, [row["module"] for row in rows]))
    if not wanted:
        raise unknown(
            "module", pattern, [row["module"] for row in rows],
            listed_by=f"thingsvision modules {name}",
        )  # fmt: skip
    rows = [row for row in rows if row["module"] in wanted]
    shown = [
        {**row, "shape": shape_text(row["shape"]) if row["shape"] else row["note"],
         "axes": row["note"] if row["shape"] and row["note"] else " ".join(row["axes"])}
        for row in rows
    ]  # fmt: skip
    show_table(
        rows if style == "json" else shown,
        style,
        columns=("module", "type", "calls", "shape", "axes"),
        cut=("type", "axes"),
    )
    unit = "tokens" if text else "pixels"
    say(f"{network.name}: shapes for an input of {shape_text(network.example_size)} {unit}.")


def _show_stored(folder: str, pattern: str, style: str | None) -> None:
    """List the modules of stored features."""
    from ..errors import unknown
    from ..features import FeatureSet
    from ..registry import matching
    from ..store import open_features

    features = open_features(folder)
    found = matching(pattern, list(features))
    if not found:
        raise unknown("module", pattern, features, listed_by=f"thingsvision modules {folder}")
    show_features(FeatureSet({name: features[name] for name in found}), folder, style)


def surveyed(
    name: str, weights: str | None = None, *, text: bool = False
) -> tuple[Network, Survey]:
    """Build a network without weights and survey it; with random ones where it must be run.

    Parameters
    ----------
    name : str
        As `load_model` takes it.
    weights : str, optional
        Name of the source's weights, whose preprocessing decides the size of the input.
    text : bool
        Enter it by its texts.

    Returns
    -------
    network : Network
        Without weights.
    survey : Survey
        Of its modules.
    """
    from ..errors import ModuleError
    from ..zoo import Choice, find_model

    source, model, named = find_model(name)

    def survey(device: str) -> tuple[Network, Survey]:
        with results_alone():
            network = source.load(model, Choice(False, weights or named, device=device))
        if text:
            network = _by_texts(network)
        return network, network.modules()

    try:
        return survey("meta")
    except (ModuleError, NotImplementedError):
        return survey("cpu")


def _by_texts(network: Network) -> Network:
    from ..errors import InvalidArgument

    if network.text is None:
        raise InvalidArgument(
            f"--text was given, but {network.name} takes images only. Networks that take texts "
            "too: thingsvision models 'openclip/*'."
        )
    return network.text


def _rows(survey: Survey) -> Iterator[dict[str, Any]]:
    """Yield one record for each array of each module's last call, and the two general addresses."""
    for module in survey.modules:
        if not module.last:
            yield _row(module.name, module.type, module.calls, None)
        for output in module.last:
            yield _row(module.address(output), module.type, module.calls, output)
    if survey.classifier is not None and survey.classifier_input is not None:
        kind = f"input of {survey.classifier}"
        yield _row("penultimate", kind, 1, survey.classifier_input)
    for output in survey.root.last:
        element = "".join(f"[{key}]" for key in output.path)
        yield _row(f"output{element}", survey.root.type, survey.root.calls, output)


def _row(address: str, kind: str, calls: int, output: Output | None) -> dict[str, Any]:
    note = ""
    if output is None:
        note = "no array" if calls else NEVER
    elif output.batch_axis is None:
        note = NO_ROWS
    return {
        "module": address,
        "type": kind,
        "calls": calls,
        "shape": list(output.shape) if output else [],
        "axes": list(output.axes) if output else [],
        "note": note,
    }
