"""Extraction: the only loop over batches."""

from __future__ import annotations

import logging
import os
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing, contextmanager, nullcontext
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tqdm.auto import tqdm

from .batches import Batch, load_batches
from .errors import ThingsvisionWarning, counted, listing
from .features import FeatureSet
from .forward import choose_forward
from .halving import Halving
from .planning import AUTO, plan
from .plans import Plan
from .reduction import Reduction
from .stimuli import StimulusSet
from .store import Sink, choose_format, make_store, recorded_batch_size
from .store.failures import Failure
from .store.lock import hold
from .store.memory import MemoryStore
from .zoo import Network

log = logging.getLogger("thingsvision")

# Batches that are decoded while an accelerator works on another one.
AHEAD = 2
# Broken images that a warning names; the tables name all.
SHOWN = 10


def extract_features(
    network: Network,
    stimuli: StimulusSet | Any,
    modules: str | Sequence[str],
    *,
    out: str | os.PathLike[str] | None = None,
    reduction: Reduction = None,
    flatten: bool = False,
    project: int | Mapping[str, int] | None = None,
    batch_size: int | str = 32,
    seed: int = 0,
    exact: bool = False,
    precision: str = "float32",
    decode: str | None = None,
    format: str | None = None,
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
    out : path or URL, optional
        Folder to write to, or objects such as ``"s3://bucket/features"``, batch by batch; a run
        that was interrupted goes on where it stopped, and the batches of images that failed are
        computed once they are mended. None keeps the features in memory.
    reduction : str or dict of pattern to str, optional
        What happens to an activation before it is kept: ``"flatten"``; ``"mean"`` or ``"max"``
        over height and width; ``"cls"``, ``"mean-of-patches"`` or ``"cls+mean"`` of tokens.
        None keeps the shape.
    flatten : bool
        Short for ``reduction="flatten"``.
    project : int or dict of pattern to int, optional
        Number of features that a sparse random projection leaves, see
        `thingsvision.projection.Projection`; its error is in the provenance.
    batch_size : int or "auto"
        Images in one forward pass. ``"auto"`` tries which is the quickest and records it; a folder
        that was begun keeps its own. A batch that does not fit into memory is run in halves.
    seed : int
        For networks that are random in evaluation mode, and for projections.
    exact : bool
        Compute as the network's own library does, to the bit. By default what changes only the
        last bits is done faster, if the first images show no relative deviation above 1e-5.
    precision : {"float32", "bfloat16", "float16"}
        Of convolutions and matrix products. bfloat16 is several times faster where the processor
        has it; every number is rounded to about three digits on the way, so that single features
        may be off by some per cent of the largest. The arrays are float32 all the same.
    decode : {"exact", "fast"}, optional
        How files become pictures; by default as the network's preprocessing says, exactly.
        ``"fast"`` decodes JPEGs no larger than the resize needs, and resizes only what the crop
        keeps: an approximation, see `Preprocessing`.
    format : str, optional
        Of the files in `out`: by default ``"npy"``, for a URL ``"zarr"``, the only one there.
    progress : bool, optional
        Show a progress bar on standard error; by default in a terminal.

    Returns
    -------
    FeatureSet
        Module address → `Features`, shape ``(n_stimuli, ...)``, in the framework's axis order.
        Rows of images that fail to decode are NaN, with a warning; ``failures`` names them.

    Raises
    ------
    InvalidArgument
        If an argument is not allowed, or this machine has not the precision.
    StimulusError
        If images are missing, headers are broken, inputs would be of different sizes, or no
        image at all can be decoded.
    ModuleError
        If a module does not exist or cannot be captured.
    StoreError
        If `out` holds other features, another process writes to it, or the disk is full.

    Examples
    --------
    >>> import thingsvision as tv
    >>> network = tv.load_model("torchvision/alexnet", pretrained=False, seed=0)
    >>> images = np.zeros((2, 224, 224, 3), np.uint8)
    >>> tv.extract_features(network, images, "features.10")["features.10"].shape
    (2, 256, 13, 13)
    """
    if out is not None:
        format = choose_format(out, format)
    if batch_size == AUTO and out is not None:
        batch_size = recorded_batch_size(out) or AUTO
    work = plan(
        network, stimuli, modules, reduction=reduction, flatten=flatten, project=project,
        batch_size=batch_size, seed=seed, exact=exact, precision=precision, decode=decode,
    )  # fmt: skip
    sink: Sink = MemoryStore() if out is None else make_store(out, format)
    with nullcontext() if out is None else hold(out), closing(sink):
        was_complete = sink.begin(work.request, work.provenance, work.stimuli)
        if not was_complete:
            run([(work, sink)], progress)
            sink.finish()
        features = sink.read()
    if was_complete:
        log.info("The features in %s are complete already; nothing was computed.", out)
    if features.failures:
        warn_of_failures(features.failures, len(work.stimuli), out)
    return FeatureSet({capture.address: features[capture.address] for capture in work.captures})


def run(
    jobs: Sequence[tuple[Plan, Sink]], progress: bool | None = None, part: range | None = None
) -> None:
    """Send every batch that a sink lacks through its network; each image is decoded once.

    Parameters
    ----------
    jobs : sequence of (Plan, Sink)
        What to compute, and what takes it; sinks have begun. Several plans are of the same
        stimuli, preprocessing, size and batches.
    progress : bool, optional
        Show a progress bar on standard error; by default in a terminal.
    part : range, optional
        First rows of the batches that are to be computed; all of them by default.
    """
    first, _ = jobs[0]
    forwards = [choose_forward(work) for work, _ in jobs]
    for forward, (_, sink) in zip(forwards, jobs, strict=True):
        sink.note({"forward": forward.record})
    runs = [Halving(forward.run) for forward in forwards]
    wanted = first.starts if part is None else part
    starts = [start for start in wanted if not all(sink.has(start) for _, sink in jobs)]
    count, missing = (
        sum(min(first.batch_size, len(first.stimuli) - start) for start in batches)
        for batches in (wanted, starts)
    )
    if missing < count:
        log.info("%d of %d are there already; the other %d are computed.", count - missing,
                 count, missing)  # fmt: skip
    is_first = True
    bar = tqdm(
        total=count, initial=count - missing, unit=f" {first.stimuli.modality}s",
        dynamic_ncols=True, disable=None if progress is None else not progress,
    )  # fmt: skip
    # On the processor, decoding and the forward pass take turns: each can use all cores, and a
    # core that is missing holds up all threads of a forward pass.
    takes_turns = any(work.network.backend.device == "cpu" for work, _ in jobs)
    batches = load_batches(
        first.stimuli, first.network.preprocessing, first.size, first.batch_size, starts,
        0 if takes_turns else AHEAD,
    )  # fmt: skip
    odd: dict[str, list[int]] = {}
    # Closed here, not when an error's traceback is let go: the threads end with the loop.
    with bar, closing(batches), _telling(odd, first.stimuli), Behind() as writing:
        for batch in batches:
            for forward, halving, (work, sink) in zip(forwards, runs, jobs, strict=True):
                if sink.has(batch.start):
                    continue
                if takes_turns:
                    writing.wait()
                if is_first:
                    # One image to the end: every module must answer, as often as surveyed. A
                    # copy, since a network may work in place on what it is given.
                    forward.run(batch.inputs[:1].copy(), work.seed, full=True)
                inputs = batch.inputs if len(jobs) == 1 else batch.inputs.copy()
                known = len(halving.parts), halving.rows
                arrays = halving(inputs, (work.seed + batch.start) % 2**32, batch.start)
                writing.wait()
                if known != (len(halving.parts), halving.rows):
                    sink.note({"parts": halving.parts})
                name = "" if len(jobs) == 1 else f"{work.network.name} "
                writing.start(_write, sink, batch, arrays, work.axes, odd, name)
                del arrays  # else they were still here in the next forward pass
            is_first = False
            bar.update(len(batch.inputs))


def _write(
    sink: Sink,
    batch: Batch,
    arrays: Mapping[str, NDArray[Any]],
    axes: Mapping[str, tuple[str, ...]],
    odd: dict[str, list[int]],
    name: str,
) -> None:
    """Write a batch; note in `odd` which rows of which module are not finite."""
    failed = [row for row, digest in enumerate(batch.digests) if isinstance(digest, Failure)]
    for address, array in arrays.items():
        if len(rows := np.setdiff1d(_not_finite(array), failed)):
            odd.setdefault(name + address, []).extend((batch.start + rows).tolist())
    if failed:
        arrays = {address: _blanked(array, failed) for address, array in arrays.items()}
    sink.write(batch.start, arrays, axes, batch.digests)


class Behind:
    """One thing at a time that is done in a thread of its own; its error comes from `wait`."""

    def __enter__(self) -> Behind:
        self._pool = ThreadPoolExecutor(1, thread_name_prefix="write")
        self._running: Future[None] | None = None
        return self

    def start(self, function: Callable[..., None], *args: Any) -> None:
        """Begin; what was begun before has ended."""
        self._running = self._pool.submit(function, *args)

    def wait(self) -> None:
        """Wait until it is done."""
        running, self._running = self._running, None
        if running is not None:
            running.result()

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        try:
            if kind is None:
                self.wait()
        finally:
            self._pool.shutdown()


def _not_finite(array: NDArray[Any]) -> NDArray[np.int64]:
    """Find the rows that hold NaN or infinity."""
    with np.errstate(all="ignore"):
        # A sum is quick, and finite only if all its numbers are; where it is not, each is asked.
        if array.dtype.kind != "f" or np.isfinite(array.sum()):
            return np.empty(0, np.int64)
    finite = np.isfinite(array).reshape(len(array), -1).all(axis=1)
    return np.flatnonzero(~finite)


def _blanked(array: NDArray[Any], rows: Sequence[int]) -> NDArray[Any]:
    """Replace the rows of images that failed: NaN, or 0 where the type has no NaN."""
    array = array.copy()
    array[rows] = np.nan if array.dtype.kind in "fc" else 0
    return array


def warn_of_failures(failures: Mapping[str, str], count: int, out: Any) -> None:
    """Warn of images that could not be decoded, with the reasons of the first ones."""
    reasons = list(failures.values())
    more = [f"and {len(reasons) - SHOWN} more"] if len(reasons) > SHOWN else []
    where = "" if out is None else f"stimuli.csv in {os.fspath(out)!r} names them all. "
    warnings.warn(
        "\n  ".join([f"{len(failures)} of {counted(count, 'image')} could not be decoded; their "
                     "rows are NaN:", *reasons[:SHOWN], *more])
        + f"\n{where}RDMs refuse these rows unless told to drop them (drop_failed). Mend the "
        "images and run the same again: only their batches are computed.",
        ThingsvisionWarning,
        stacklevel=3,
    )  # fmt: skip


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
