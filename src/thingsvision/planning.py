"""Planning: from what is asked for to a plan, and the refusal of what cannot be done."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from operator import index
from typing import Any

from .backends.base import FastBackend
from .batches import input_size
from .errors import InvalidArgument, ThingsvisionWarning, counted, listing, unknown
from .plans import Plan
from .preprocessing import Preprocessing
from .projection import bind_projections
from .reduction import Activation, Reduction, bind_reductions, reductions_for
from .stimuli import StimulusSet, load_stimuli
from .trial import choose_batch_size
from .zoo import Network

PRECISIONS = ("float32", "bfloat16", "float16")
# Stands for the batch size that is found to be the quickest; and the size where none is named.
AUTO, BATCH_SIZE = "auto", 32


def plan(
    network: Network,
    stimuli: StimulusSet | Any,
    modules: str | Sequence[str],
    *,
    reduction: Reduction = None,
    flatten: bool = False,
    project: int | Mapping[str, int] | None = None,
    batch_size: int | str = 32,
    seed: int = 0,
    exact: bool = False,
    precision: str = "float32",
    decode: str | None = None,
) -> Plan:
    """Find out what an extraction will do, without a forward pass over the stimuli.

    Parameters
    ----------
    network, stimuli, modules, reduction, flatten, project, batch_size, seed, exact, precision, \
decode
        As in `extract_features`.

    Returns
    -------
    Plan
        With the shape and size of each array. `estimate_cost` tries its first batch and tells time,
        memory and disk. With ``batch_size="auto"`` it holds the one that was found.

    Raises
    ------
    InvalidArgument, StimulusError, ModuleError
        As in `extract_features`.
    """
    if not isinstance(stimuli, StimulusSet):
        stimuli = load_stimuli(stimuli)
    is_auto = batch_size == AUTO
    batch_size = BATCH_SIZE if is_auto else _whole("batch_size", batch_size)
    seed = _whole("seed", seed)
    if batch_size < 1:
        raise InvalidArgument(f"batch_size is {batch_size}; it is at least 1.")
    if flatten and reduction not in (None, "flatten"):
        raise InvalidArgument(
            f"flatten=True is short for reduction='flatten', but reduction is {reduction!r}."
        )
    if not 0 <= seed < 2**32:
        raise InvalidArgument(f"seed is {seed}; it is from 0 to {2**32 - 1}.")
    patterns = _patterns(modules)
    network = network.for_modality(stimuli.modality)
    if decode is not None:
        network = network.preprocessed(decode=decode)
    _check_precision(network, precision)
    # Without a faster way all is exact, whatever was asked for.
    exact = bool(exact) or not isinstance(network.backend, FastBackend)
    size = input_size(network.preprocessing, stimuli)
    if isinstance(network.preprocessing, Preprocessing):
        _warn_of_padding(network.preprocessing, stimuli)
    survey = network.modules(size)
    captures = survey.resolve(patterns)
    if left_out := survey.left_out(patterns):
        warnings.warn(
            f"Left out: {listing(left_out, 5)} ({counted(len(left_out), 'module')} without an "
            "array that has a row per stimulus of its own).",
            ThingsvisionWarning,
            stacklevel=3,
        )
    wanted = "flatten" if flatten else reduction
    activations = {c.address: Activation(c.axes, c.shape, survey.tokens) for c in captures}
    bound = bind_reductions(activations, reductions_for(list(activations), wanted))
    reductions, projections = bind_projections(bound, project, seed)
    work = Plan(
        network, stimuli, tuple(captures), reductions, projections, survey.tokens, size,
        batch_size, seed, exact, precision,
    )  # fmt: skip
    return replace(work, batch_size=choose_batch_size(work)) if is_auto else work


def _check_precision(network: Network, precision: str) -> None:
    if precision not in PRECISIONS:
        raise unknown("precision", precision, PRECISIONS)
    if isinstance(network.backend, FastBackend):
        network.backend.check_precision(precision)
    elif precision != "float32":
        raise InvalidArgument(
            f"precision is {precision!r}, but {network.backend.name} networks are run in float32 "
            "only. PyTorch networks can be run in bfloat16, and on a GPU in float16."
        )


def _whole(name: str, value: Any) -> int:
    try:
        return index(value)
    except TypeError:
        raise InvalidArgument(f"{name} is {value!r}; it is a whole number.") from None


def _patterns(modules: Any) -> list[str]:
    patterns = [modules] if isinstance(modules, str) else modules
    if not isinstance(patterns, Iterable) or not all(isinstance(p, str) for p in patterns):
        raise InvalidArgument(
            f"modules is {modules!r}; allowed is a module's name, or a list of names."
        )
    return list(patterns)


def _warn_of_padding(preprocessing: Preprocessing, stimuli: StimulusSet) -> None:
    padded = [
        name
        for name, size in zip(stimuli.ids, stimuli.sizes, strict=True)
        if preprocessing.pads(*size)
    ]
    if padded:
        warnings.warn(
            f"{len(padded)} images are smaller than the crop {preprocessing.crop} when they are "
            f"resized, and are padded: {listing(padded, 3)}. If that is not wanted, give "
            "a larger resize or a smaller crop.",
            ThingsvisionWarning,
            stacklevel=4,
        )
