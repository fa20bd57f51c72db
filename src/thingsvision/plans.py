"""Plans: what an extraction will do."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from functools import cached_property
from typing import Any

import numpy as np

from .backends.survey import Capture
from .projection import Projection
from .provenance import digest, digest_items, versions
from .reduction import BoundReduction, Reduce, TokenLayout, flatten
from .stimuli import StimulusSet
from .stimuli.origins import describe_origin
from .zoo import Network


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
