"""Features computed once more, from what their record says of how they were made."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from typing import Any

from numpy.typing import NDArray

from ..batches import load_batches, refuse_failures
from ..errors import InvalidArgument, ThingsvisionWarning
from ..forward import choose_forward
from ..planning import plan
from ..plans import Plan
from ..preprocessing import Preprocessing
from ..stimuli import StimulusSet
from ..zoo import Network, load_model

# Parts of a request that are arguments of `plan` as they stand.
OPTIONS = ("exact", "precision")


def reload_network(record: Mapping[str, Any]) -> Network:
    """Load the network that a record of features names, with the weights it names.

    Parameters
    ----------
    record : dict
        The provenance of the features.

    Returns
    -------
    Network
        On the processor if the features were computed there, else on the fastest device; with
        the recorded preprocessing.

    Raises
    ------
    InvalidArgument
        If it was a model of the user's own that has no name to load it by.
    WeightsError, UnknownName, MissingPackage
        If it cannot be had any more.
    """
    weights, name = record["weights"], record["model"]
    device = "cpu" if record.get("device") == "cpu" else "auto"
    kind = weights.get("kind")
    if "made_by" in weights:
        network = load_model(
            weights["made_by"], weights.get("pretrained", True), device=device,
            weights=weights.get("file") or weights.get("weights"), seed=weights.get("seed", 0),
            init=weights.get("init"),
        )  # fmt: skip
    elif kind == "random" and not name.startswith("local/"):
        network = load_model(
            name, False, seed=weights["seed"], init=weights.get("init"), device=device
        )
    elif kind == "file":
        network = load_model(name, weights=weights["file"], device=device)
    elif kind == "pretrained":
        network = load_model(name, device=device)
    else:
        raise InvalidArgument(
            f"{name} is a model of your own, which cannot be loaded by its name. In Python give "
            "it: verify_features(folder, network=wrap_model(…))."
        )
    return with_recorded_preprocessing(network, record)


def with_recorded_preprocessing(network: Network, record: Mapping[str, Any]) -> Network:
    """Give a network the preprocessing that a record names; that of texts is the network's own."""
    recorded = record["preprocessing"]
    if "tokenizer" in recorded:
        return network.for_modality("text")
    wanted = Preprocessing(**recorded)
    return network if network.preprocessing == wanted else network.preprocessed(wanted)


def plan_again(network: Network, stimuli: StimulusSet, request: Mapping[str, Any]) -> Plan:
    """Plan what a request asked for, on other stimuli."""
    modules = request["modules"]
    projections = request.get("projections", {})
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ThingsvisionWarning)  # was said the first time
        return plan(
            network, stimuli, list(modules),
            reduction={module: name for module, name in modules.items() if name} or None,
            project={module: made["components"] for module, made in projections.items()} or None,
            batch_size=request["batch_size"], seed=request["seed"],
            **{key: request[key] for key in OPTIONS if key in request},
        )  # fmt: skip


def recompute(work: Plan, starts: Sequence[int]) -> Iterator[tuple[int, dict[str, NDArray[Any]]]]:
    """Run whole batches of an earlier extraction again.

    Parameters
    ----------
    work : Plan
        Its stimuli are those of the batches, one after the other.
    starts : sequence of int
        First rows that the batches had, ascending.

    Yields
    ------
    start : int
        First row that the batch had.
    arrays : dict of str to array, shape (n_in_batch, ...)
        By module address.
    """
    forward = choose_forward(work)
    batches = load_batches(work.stimuli, work.network.preprocessing, work.size, work.batch_size)
    with closing(batches):
        for start, batch in zip(starts, batches, strict=True):
            inputs, seed = refuse_failures(batch).inputs, (work.seed + start) % 2**32
            yield start, forward.run(inputs, seed)
