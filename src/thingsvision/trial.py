"""A short trial of an extraction: how long a batch takes, and how much memory."""

from __future__ import annotations

import logging
from contextlib import closing
from dataclasses import dataclass
from statistics import median
from time import perf_counter
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .batches import load_batches
from .forward import Forward, choose_forward
from .memory_use import PeakMemory, free_on, is_out_of_memory
from .plans import Plan

log = logging.getLogger("thingsvision")

# Batch sizes that are tried, from the first on; smaller ones if even that does not fit.
SIZES = (8, 16, 32, 64, 128, 256, 512)
SMALLER = (4, 2, 1)
# Gain in speed for which a larger batch is taken, and share of free memory that one may take.
GAIN, SHARE = 1.05, 0.5
# Seconds that a choice may take, and that a batch is tried for.
PATIENCE, SECONDS = 20.0, 3.0
REPEATS = 3


@dataclass(frozen=True)
class Trial:
    """What one batch took.

    Parameters
    ----------
    rows : int
        Stimuli in the batch.
    decoding, forward : float
        Seconds for decoding and preprocessing, and for the forward pass; medians.
    before, peak : int or None
        Bytes that the process, or the device, had taken before, and at most; None where it
        cannot be told.
    """

    rows: int
    decoding: float
    forward: float
    before: int | None
    peak: int | None

    @property
    def growth(self) -> int | None:
        """Bytes that the batch takes beyond the loaded network."""
        return None if self.peak is None or self.before is None else self.peak - self.before


def try_batch(work: Plan, seconds: float = SECONDS) -> Trial | None:
    """Run the first batch, several times if it is quick; nothing is kept.

    Parameters
    ----------
    work : Plan
        What to extract.
    seconds : float
        After which a batch is not run again.

    Returns
    -------
    Trial or None
        None if memory does not suffice.

    Raises
    ------
    StimulusError
        If the images cannot be read at all.
    """
    try:
        forward = choose_forward(work)
        inputs, decoding = _decoded(work, work.batch_size)
        forward.run(inputs[:1].copy(), work.seed)  # sets up what is set up once
        return _timed(work, forward, inputs, decoding, seconds)
    except Exception as error:
        if not is_out_of_memory(error):
            raise
    return None


def choose_batch_size(work: Plan, patience: float = PATIENCE) -> int:
    """Find the batch size that is fastest here and fits into memory, by trying.

    Sizes are doubled while a stimulus gets at least 5 % quicker, no more than half of the free
    memory is needed, and patience lasts.

    Parameters
    ----------
    work : Plan
        What to extract; its own batch size does not matter.
    patience : float
        Seconds after which no larger one is tried.

    Returns
    -------
    int
        At most the number of stimuli.
    """
    begun, count = perf_counter(), len(work.stimuli)
    best, fastest = 1, float("inf")
    try:
        forward = choose_forward(work)
        few, _ = _decoded(work, SIZES[0])
        forward.run(few[:1].copy(), work.seed)
    except Exception as error:
        if not is_out_of_memory(error):
            raise
        return 1
    for size in SIZES:
        if size > SIZES[0] and size >= 2 * count:
            break
        # The same images over again: their content does not matter here.
        inputs = np.resize(few, (min(size, count), *few.shape[1:]))
        trial = _one(work, forward, inputs)
        if trial is None:
            break
        each = trial.forward / len(inputs)
        if each * GAIN > fastest:
            break
        best, fastest = len(inputs), each
        free = free_on(work.network.backend.device)
        is_large = trial.growth is not None and free is not None and 2 * trial.growth > SHARE * free
        slow = perf_counter() - begun + 2 * trial.forward > patience
        if is_large or slow or len(inputs) == count:
            break
    if fastest == float("inf"):
        best = next((size for size in SMALLER
                     if size <= count and _one(work, forward, few[:size].copy())), 1)  # fmt: skip
    log.info("Batch size %s was chosen: the quickest of those tried.", best)
    return best


def _one(work: Plan, forward: Forward, inputs: NDArray[Any]) -> Trial | None:
    try:
        return _timed(work, forward, inputs, 0.0, 0.0)
    except Exception as error:
        if not is_out_of_memory(error):
            raise
    return None


def _decoded(work: Plan, size: int) -> tuple[NDArray[Any], float]:
    begun = perf_counter()
    stimuli = work.stimuli[:size]
    batches = load_batches(stimuli, work.network.preprocessing, work.size, len(stimuli))
    with closing(batches):
        inputs = next(batches).inputs
    return inputs, perf_counter() - begun


def _timed(
    work: Plan, forward: Forward, inputs: NDArray[Any], decoding: float, seconds: float
) -> Trial:
    times: list[float] = []
    with PeakMemory(work.network.backend.device) as memory:
        while not times or (len(times) < REPEATS and sum(times) < seconds):
            again = inputs.copy()
            begun = perf_counter()
            arrays = forward.run(again, work.seed)
            times.append(perf_counter() - begun)
            del arrays
    return Trial(len(inputs), decoding, median(times), memory.before, memory.peak)
