"""The two commands of version 2, with its options; see ``extract`` and ``modules`` for ours."""

from __future__ import annotations

import json
from typing import Any

import click

from .output import results_alone
from .verb import Verb

FORMAT = "npy, hdf5, mat, txt or pt."


def _model_options(function: Any) -> Any:
    """Add the options that both commands have."""
    for add in (
        click.option("--model-parameters", metavar="JSON", help='E.g. \'{"variant": "RN50"}\'.'),
        click.option("--device", default="auto", show_default=True, help="cpu, cuda, cuda:1."),
        click.option("--source", default="torchvision", show_default=True, help="Of the network."),
        click.option("--model-name", default="alexnet", show_default=True, help="Network."),
    ):
        function = add(function)
    return function


def _parameters(text: str | None) -> dict[str, Any] | None:
    try:
        found = None if text is None else json.loads(text.replace("'", '"'))
    except ValueError as error:
        raise click.UsageError(
            f"--model-parameters is {text!r}; write it as JSON, e.g. "
            '--model-parameters \'{"variant": "ViT-B/32"}\'.'
        ) from error
    if found is not None and not isinstance(found, dict):
        raise click.UsageError(f"--model-parameters is {text!r}; give names with their values.")
    return found


@click.command(
    "show-model",
    cls=Verb,
    hidden=True,
    examples=("thingsvision show-model --model-name alexnet --source torchvision",),
)
@_model_options
def show_model(model_name: str, source: str, device: str, model_parameters: str | None) -> None:
    """Print the architecture of a network, as version 2 did; 'modules' shows more."""
    from ..version2 import get_extractor

    with results_alone():
        # The architecture is the same for random weights, which need no download.
        extractor = get_extractor(
            model_name, source, device, False, model_parameters=_parameters(model_parameters)
        )
    click.echo(extractor.network.structure)


@click.command(
    "extract-features",
    cls=Verb,
    hidden=True,
    examples=(
        "thingsvision extract-features --image-root images --model-name alexnet \\\n"
        "      --module-name features.10 --file-format npy --out-path features",
    ),
)
@_model_options
@click.option("--image-root", default="./images", show_default=True, help="Folder of images.")
@click.option("--module-name", default="features.10", show_default=True, help="Module.")
@click.option("--batch-size", type=int, default=32, show_default=True, help="Images at once.")
@click.option("--flatten-acts", is_flag=True, help="One row of numbers for each image.")
@click.option("--file-format", default="npy", show_default=True, help=FORMAT)
@click.option("--out-path", default="./features", show_default=True, help="Folder to write to.")
@click.option("--output-type", default="ndarray", hidden=True)
def extract_features(
    image_root: str,
    model_name: str,
    source: str,
    device: str,
    model_parameters: str | None,
    module_name: str,
    batch_size: int,
    flatten_acts: bool,
    file_format: str,
    out_path: str,
    output_type: str,
) -> None:
    """Write the features of one module to one file, as version 2 did; 'extract' does more."""
    from ..store.array_files import array_format
    from ..version2 import DataLoader, ImageDataset, get_extractor, save_features

    array_format(file_format)  # before the work, not after it
    with results_alone():
        extractor = get_extractor(
            model_name, source, device, model_parameters=_parameters(model_parameters)
        )
    dataset = ImageDataset(
        image_root, out_path, extractor.get_backend(), extractor.get_transformations()
    )
    features = extractor.extract_features(
        DataLoader(dataset, batch_size), module_name, flatten_acts=flatten_acts
    )
    save_features(features, out_path, file_format)
