"""Planning: what an extraction will do, and the refusal of what cannot be done."""

from __future__ import annotations

import os
import warnings
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from operator import index
from typing import Any

import numpy as np

from .backends.base import FastBackend
from .backends.survey import Capture
from .batches import input_size
from .errors import InvalidArgument, ThingsvisionWarning, listing, unknown
from .estimate import Estimate, estimate_cost
from .stimuli.origins import describe_origin
from .preprocessing import Preprocessing
from .projection import Projection, bind_projections
from .provenance import digest, digest_items, versions
from .reduction import (
    Activation,
    BoundReduction,
    Reduce,
    Reduction,
    TokenLayout,
    bind_reductions,
    flatten,
    reductions_for,
)
from .stimuli import StimulusSet, load_stimuli
from .trial import choose_batch_size
from .zoo import Network

PRECISIONS = ("float32", "bfloat16", "float16")
# Stands for the batch size that is found to be the quickest; and the size where none is named.
AUTO, BATCH_SIZE = "auto", 32


@dataclass(frozen=True)
class Plan:
    """What an extraction will do.

    Parameters
    ----------
    network : Network
        The network.
    stimuli : StimulusSet
        The stimuli, in order.
    captures : tuple of Capture
        The modules, resolved.
    reductions : dict of str to BoundReduction
        What happens to each module's activation, by address.
    projections : dict of str to Projection
        Those that are among the reductions.
    tokens : TokenLayout or None
        Which tokens come before those of patches, as reductions of tokens take them.
    size : tuple of int
        Height and width of the network's input, or the shape of a text's tokens.
    batch_size : int
        Batches lie on a fixed grid of this size.
    seed : int
        For networks that are random in evaluation mode.
    exact : bool
        Compute as the network's own library does, to the bit.
    precision : {"float32", "bfloat16", "float16"}
        Of convolutions and matrix products.
    """

    network: Network
    stimuli: StimulusSet
    captures: tuple[Capture, ...]
    reductions: Mapping[str, BoundReduction]
    projections: Mapping[str, Projection]
    tokens: TokenLayout | None
    size: tuple[int, ...]
    batch_size: int
    seed: int
    exact: bool = False
    precision: str = "float32"

    @property
    def starts(self) -> range:
        """First row of each batch."""
        return range(0, len(self.stimuli), self.batch_size)

    @property
    def axes(self) -> dict[str, tuple[str, ...]]:
        """Names of the axes of each array."""
        return {address: bound.axes for address, bound in self.reductions.items()}

    @property
    def functions(self) -> dict[str, Reduce]:
        """What a backend applies to each array; those that keep all numbers are left out."""
        return {address: bound.apply for address, bound in self.reductions.items()
                if bound.apply and bound.apply is not flatten}  # fmt: skip

    @property
    def flattened(self) -> set[str]:
        """Modules whose arrays are flattened when they are here, where it costs nothing."""
        return {address for address, bound in self.reductions.items() if bound.apply is flatten}

    @property
    def shapes(self) -> dict[str, tuple[int, ...]]:
        """Shape of each array, ``(n_stimuli, ...)``."""
        count = len(self.stimuli)
        return {address: (count, *bound.shape) for address, bound in self.reductions.items()}

    @property
    def n_bytes(self) -> int:
        """Size of all arrays, in bytes, as float32."""
        return sum(4 * int(np.prod(shape, dtype=np.int64)) for shape in self.shapes.values())

    def estimate(
        self, out: str | os.PathLike[str] | None = None, *, format: str | None = None,
        measure: bool = True,
    ) -> Estimate:  # fmt: skip
        """Estimate time, memory and disk; see `thingsvision.estimate.estimate_cost`."""
        return estimate_cost(self, out, format=format, measure=measure)

    @cached_property
    def request(self) -> dict[str, Any]:
        """What decides the features, in plain values."""
        made = {address: one.to_dict() for address, one in self.projections.items()}
        projected = {"projections": made} if made else {}
        return {
            "model": self.network.name,
            "weights": {"kind": self.network.weights.get("kind"), "digest": self.network.digest},
            "structure": digest(self.network.structure.encode()),
            "preprocessing": self.network.preprocessing.to_dict(),
            "modules": {address: bound.name for address, bound in self.reductions.items()},
            **projected,
            "stimuli": {
                "count": len(self.stimuli),
                "ids": digest_items(self.stimuli.ids),
                "classes": None if self.stimuli.targets is None
                else digest_items([*self.stimuli.classes, *self.stimuli.targets.tolist()]),
            },
            "batch_size": self.batch_size,
            "seed": self.seed,
            "exact": self.exact,
            "precision": self.precision,
        }  # fmt: skip

    @property
    def provenance(self) -> dict[str, Any]:
        """What made the features: enough to write the methods paragraph."""
        card = self.network.card
        is_trained = self.network.weights.get("kind") == "pretrained"
        return {
            **self.request,
            "weights": {**self.network.weights, "digest": self.request["weights"]["digest"]},
            "task": card.task,
            "training_data": card.training_data if is_trained else "",
            "licence": card.licence,
            "citation": card.citation,
            "input_size": list(self.size),
            "origin": describe_origin(self.stimuli),
            "framework": self.network.backend.name,
            "device": self.network.backend.device,
            "tokens": asdict(self.tokens) if self.tokens else None,
            "versions": versions(),
        }


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
        With the shape and size of each array; ``plan(…).estimate(out)`` tries the first batch and
        gives time, memory and disk. With ``batch_size="auto"`` it holds the one that was found.

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
            f"{len(left_out)} modules return no array with a row per stimulus of their own and "
            f"were left out: {listing(left_out, 5)}.",
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
