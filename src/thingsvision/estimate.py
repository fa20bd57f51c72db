"""What an extraction will cost: time, memory and disk; and what would make it cheaper."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from .memory_use import free_on
from .plans import Plan
from .store import STORES, choose_format, location
from .store.remote import is_remote
from .store.staged import StagedStore
from .trial import Trial, try_batch

# Numbers of features that a projection is proposed to leave, the largest that fits.
PROJECTED = (5000, 2000, 1000, 500, 200)
# Room that a disk should keep beyond what is written, and bytes of a stimulus's row in the tables.
SPARE, TABLES = 1.02, 300
GB = 1e9


@dataclass(frozen=True)
class Estimate:
    """What an extraction will cost.

    Parameters
    ----------
    images : int
        Number of stimuli.
    n_bytes : int
        Bytes that are written, with what turning into another format needs meanwhile.
    free_disk : int or None
        Bytes that are free where they are to be written; None if they stay in memory.
    seconds : float or None
        Estimated time, from the first batch; None if there was no trial or it did not fit.
    peak_memory : int or None
        Bytes that the process, or the device, takes at most; None where it cannot be told.
    free_memory : int or None
        Bytes that can be had beyond what the loaded network has taken.
    trial : Trial or None
        What the first batch took.
    advice : tuple of str
        What does not fit, and what would.
    """

    images: int
    n_bytes: int
    free_disk: int | None
    seconds: float | None
    peak_memory: int | None
    free_memory: int | None
    trial: Trial | None
    advice: tuple[str, ...]

    @property
    def images_per_second(self) -> float | None:
        """Estimated speed."""
        return self.images / self.seconds if self.seconds else None


def estimate_cost(
    work: Plan,
    out: str | os.PathLike[str] | None = None,
    *,
    format: str | None = None,
    measure: bool = True,
) -> Estimate:
    """Estimate what an extraction will cost, from a short trial of its first batch.

    Parameters
    ----------
    work : Plan
        From `plan`.
    out : path, optional
        Where it will be written; None for memory.
    format : str
        Of the files.
    measure : bool
        Run the first batch; without it there is neither time nor memory.

    Returns
    -------
    Estimate

    Raises
    ------
    UnknownName
        If there is no such format.
    StimulusError
        If the first images cannot be read.

    Examples
    --------
    >>> from thingsvision.planning import plan
    >>> from thingsvision.testing import toy_network
    >>> work = plan(toy_network(), np.zeros((9, 8, 6, 3), np.uint8), "fc")
    >>> found = estimate_cost(work)
    >>> found.images, found.n_bytes, found.advice
    (9, 180, ())
    """
    device = work.network.backend.device
    room = free_on(device)
    trial = try_batch(work) if measure else None
    n_bytes = work.n_bytes if out is None else _on_disk(work, choose_format(out, format))
    where = None if out is None else location(out)
    free = None if where is None or is_remote(where) else _free_disk(where)
    advice = []
    if free is not None and n_bytes * SPARE > free:
        advice += [_too_large(n_bytes, free), *_smaller(work, free)]
    if out is None and room is not None and device == "cpu" and n_bytes > room:
        advice += [
            f"The features take {n_bytes / GB:.3g} GB in memory, where {room / GB:.3g} GB are "
            "free. Write them to a folder with out=.", *_smaller(work, room),
        ]  # fmt: skip
    if measure:
        advice += _about_memory(work, trial, room)
    return Estimate(
        len(work.stimuli), n_bytes, free, _seconds(work, trial), trial.peak if trial else None,
        room, trial, tuple(advice),
    )  # fmt: skip


def _seconds(work: Plan, trial: Trial | None) -> float | None:
    """Scale the time of a batch to all stimuli; an accelerator computes while others decode."""
    if trial is None:
        return None
    is_apart = work.network.backend.device != "cpu"
    each = max(trial.decoding, trial.forward) if is_apart else trial.decoding + trial.forward
    return each / trial.rows * len(work.stimuli)


def _on_disk(work: Plan, format: str) -> int:
    """Count the bytes that a store needs; those that turn arrays in the end need one twice."""
    store = STORES[format]
    is_staged = isinstance(store, type) and issubclass(store, StagedStore)
    largest = max(4 * int(np.prod(shape, dtype=np.int64)) for shape in work.shapes.values())
    tables = TABLES * len(work.stimuli)
    return work.n_bytes + tables + (largest if is_staged else 0)


def _free_disk(out: Path) -> int:
    """Count the bytes that are free, or taken by an unfinished run of the same."""
    there = next(path for path in (out.absolute(), *out.absolute().parents) if path.exists())
    taken = 0
    if out.is_dir():
        taken = sum(path.stat().st_size for path in out.rglob("*") if path.is_file())
    return shutil.disk_usage(there).free + taken


def _too_large(n_bytes: int, free: int) -> str:
    return (
        f"The disk is too small: {n_bytes / GB:.3g} GB are to be written, and "
        f"{free / GB:.3g} GB are free."
    )


def _smaller(work: Plan, free: int) -> Iterator[str]:
    """Propose reductions and projections that fit."""
    pooled = {address: _pooled(work, address) for address in work.shapes}
    size = sum(pooled.values())
    if size < work.n_bytes and size * SPARE < free:
        yield (
            "Means over height and width (reduction='mean'), of tokens over patches "
            f"('mean-of-patches'), make {size / GB:.3g} GB."
        )
    for count in PROJECTED:
        size = sum(
            4 * shape[0] * min(count, int(np.prod(shape[1:], dtype=np.int64)))
            for shape in work.shapes.values()
        )
        if size * SPARE < free and size < work.n_bytes:
            error = 100 / np.sqrt(2 * count)
            yield (
                f"project={count} (a random projection; distances change by {error:.2g} %) makes "
                f"{size / GB:.3g} GB."
            )
            return


def _pooled(work: Plan, address: str) -> int:
    """Count the bytes of a module after its mean over space."""
    shape, axes = work.shapes[address], work.axes[address]
    gone = {"height", "width", "token"}
    kept = [side for side, axis in zip(shape, axes, strict=True) if axis not in gone]
    return 4 * int(np.prod(kept, dtype=np.int64))


def _about_memory(work: Plan, trial: Trial | None, room: int | None) -> Iterator[str]:
    if trial is None:
        yield (
            f"A batch of {work.batch_size} does not fit into memory. It would be run in halves; "
            "batch_size='auto' finds a size that fits."
        )
        return
    if trial.growth is None or room is None or trial.growth <= room:
        return
    size = 1
    while 2 * size < trial.rows and 2 * size * trial.growth / trial.rows < room / 2:
        size *= 2
    yield (
        f"A batch of {trial.rows} takes {trial.growth / GB:.3g} GB, where {room / GB:.3g} GB are "
        f"free. batch_size={size} fits."
    )
