"""Extraction: the only loop over batches.

`plan` finds out what is to be done and refuses what cannot be; `extract_features` does it.
"""

from __future__ import annotations

import logging
import os
import warnings
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import asdict, dataclass
from functools import cached_property
from operator import index
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tqdm.auto import tqdm

from .backends.base import Capture
from .batches import input_size, load_batches
from .errors import InvalidArgument, ThingsvisionWarning, listing
from .features import FeatureSet
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
    reductions_for,
)
from .stimuli import StimulusSet, load_stimuli
from .store import STORES, Sink
from .store.memory import MemoryStore
from .zoo import Network

log = logging.getLogger("thingsvision")

# Batches that are decoded while an accelerator works on another one.
AHEAD = 2


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
        """What a backend applies to each array; those that keep their shape are left out."""
        return {address: bound.apply for address, bound in self.reductions.items() if bound.apply}

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
    batch_size: int = 32,
    seed: int = 0,
) -> Plan:
    """Find out what an extraction will do, without a forward pass over the stimuli.

    Parameters
    ----------
    network, stimuli, modules, reduction, flatten, project, batch_size, seed
        As in `extract_features`.

    Returns
    -------
    Plan
        With the shape and size of each array.

    Raises
    ------
    InvalidArgument, StimulusError, ModuleError
        As in `extract_features`.
    """
    if not isinstance(stimuli, StimulusSet):
        stimuli = load_stimuli(stimuli)
    batch_size, seed = _whole("batch_size", batch_size), _whole("seed", seed)
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
    return Plan(
        network, stimuli, tuple(captures), reductions, projections, survey.tokens, size,
        batch_size, seed,
    )  # fmt: skip


def extract_features(
    network: Network,
    stimuli: StimulusSet | Any,
    modules: str | Sequence[str],
    *,
    out: str | os.PathLike[str] | None = None,
    reduction: Reduction = None,
    flatten: bool = False,
    project: int | Mapping[str, int] | None = None,
    batch_size: int = 32,
    seed: int = 0,
    format: str = "npy",
    progress: bool | None = None,
) -> FeatureSet:
    """Extract the activations of modules of a network for stimuli, in one pass.

    Parameters
    ----------
    network : Network
        From `load_model` or `wrap_model`.
    stimuli : StimulusSet, or what `load_stimuli` takes
        Rows of the result are in their order.
    modules : str or sequence of str
        Module addresses: names, with ``*`` and ``?`` as wildcards; ``name:k`` is the k-th call
        of a module, ``name:*`` every one; ``name[i]`` is an element of a tuple;
        ``penultimate`` is the input of the final classifier, ``output`` the network's output.
    out : path, optional
        Folder to write to, batch by batch; a run that was interrupted goes on where it
        stopped. None keeps the features in memory.
    reduction : str or dict of pattern to str, optional
        What happens to an activation before it is kept: ``"flatten"``; ``"mean"`` or ``"max"``
        over height and width; ``"cls"``, ``"mean-of-patches"`` or ``"cls+mean"`` of tokens.
        None keeps the shape.
    flatten : bool
        Short for ``reduction="flatten"``.
    project : int or dict of pattern to int, optional
        Number of features that a sparse random projection leaves, see
        `thingsvision.projection.Projection`; its error is in the provenance.
    batch_size : int
        Images in one forward pass.
    seed : int
        For networks that are random in evaluation mode, and for projections.
    format : str
        Of the files in `out`.
    progress : bool, optional
        Show a progress bar on standard error; by default in a terminal.

    Returns
    -------
    FeatureSet
        Module address → `Features`, shape ``(n_stimuli, ...)``, in the framework's axis order.

    Raises
    ------
    InvalidArgument
        If an argument is not allowed.
    StimulusError
        If images are missing or unreadable, or would give inputs of different sizes.
    ModuleError
        If a module does not exist or cannot be captured.
    StoreError
        If `out` holds other features, or the disk is full.

    Examples
    --------
    >>> import thingsvision as tv
    >>> network = tv.load_model("torchvision/alexnet", pretrained=False, seed=0)
    >>> images = np.zeros((2, 224, 224, 3), np.uint8)
    >>> tv.extract_features(network, images, "features.10")["features.10"].shape
    (2, 256, 13, 13)
    """
    work = plan(
        network, stimuli, modules, reduction=reduction, flatten=flatten, project=project,
        batch_size=batch_size, seed=seed,
    )  # fmt: skip
    sink: Sink = MemoryStore() if out is None else STORES[format](out)
    with closing(sink):
        was_complete = sink.begin(work.request, work.provenance, work.stimuli)
        if not was_complete:
            _run(work, sink, progress)
            sink.finish()
        features = sink.read()
    if was_complete:
        log.info("The features in %s are complete already; nothing was computed.", out)
    return FeatureSet({capture.address: features[capture.address] for capture in work.captures})


def _run(work: Plan, sink: Sink, progress: bool | None) -> None:
    """Send every batch that the sink lacks through the network."""
    backend, model = work.network.backend, work.network.model
    starts = [start for start in work.starts if not sink.has(start)]
    count = len(work.stimuli)
    missing = sum(min(work.batch_size, count - start) for start in starts)
    is_first = True
    bar = tqdm(
        total=count, initial=count - missing, unit=f" {work.stimuli.modality}s", dynamic_ncols=True,
        disable=None if progress is None else not progress,
    )  # fmt: skip
    # On the processor, decoding and the forward pass take turns: each can use all cores, and a
    # core that is missing holds up all threads of a forward pass.
    ahead = 0 if backend.device == "cpu" else AHEAD
    batches = load_batches(
        work.stimuli, work.network.preprocessing, work.size, work.batch_size, starts, ahead
    )
    # Closed here, not when an error's traceback is let go: the threads end with the loop.
    odd: dict[str, list[int]] = {}
    with bar, closing(batches), _telling(odd, work.stimuli):
        for batch in batches:
            if is_first:
                # One image to the end: every module must answer, as often as surveyed. A copy,
                # since a network may work in place on what it is given.
                one = batch.inputs[:1].copy()
                backend.run(model, one, work.captures, work.functions, seed=work.seed, full=True)
                is_first = False
            arrays = backend.run(
                model,
                batch.inputs,
                work.captures,
                work.functions,
                seed=(work.seed + batch.start) % 2**32,
            )
            sink.write(batch.start, arrays, work.axes, batch.digests)
            for address, array in arrays.items():
                if len(rows := _not_finite(array)):
                    odd.setdefault(address, []).extend((batch.start + rows).tolist())
            bar.update(len(batch.inputs))


def _not_finite(array: NDArray[Any]) -> NDArray[np.int64]:
    """Find the rows that hold NaN or infinity."""
    with np.errstate(all="ignore"):
        # A sum is quick, and finite only if all its numbers are; where it is not, each is asked.
        if array.dtype.kind != "f" or np.isfinite(array.sum()):
            return np.empty(0, np.int64)
    finite = np.isfinite(array).reshape(len(array), -1).all(axis=1)
    return np.flatnonzero(~finite)


@contextmanager
def _telling(odd: Mapping[str, list[int]], stimuli: StimulusSet) -> Iterator[None]:
    """Warn, at the end, of stimuli whose activations are not finite; by module."""
    try:
        yield
    finally:
        if odd:
            ids = [stimuli.ids[row] for row in sorted(set().union(*odd.values()))]
            modules = [f"{module} ({len(rows)})" for module, rows in odd.items()]
            warnings.warn(
                f"{len(ids)} of {len(stimuli)} stimuli gave NaN or infinity, kept as they are: "
                f"{listing(ids, 5)}. By module: {listing(modules)}. Leave these stimuli out of "
                "RDMs and regressions with features.select.",
                ThingsvisionWarning,
                stacklevel=5,
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
