"""One of several parts of an extraction, all of which fill the same folder."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from typing import Any

from ..errors import InvalidArgument
from ..extraction import run, warn_of_failures
from ..features import FeatureSet
from ..planning import AUTO, plan
from ..stimuli import StimulusSet
from ..store import choose_format, make_store, recorded_batch_size
from ..store.lock import hold
from ..zoo import Network


@dataclass(frozen=True)
class Shard:
    """One of several parts of whole batches.

    Parameters
    ----------
    number : int
        From 1 on.
    count : int
        How many parts there are.

    Examples
    --------
    >>> str(Shard(2, 5)), Shard(2, 5).of(range(0, 70, 10)), Shard(5, 5).of(range(0, 70, 10))
    ('2/5', range(10, 20, 10), range(50, 70, 10))
    """

    number: int
    count: int

    def __str__(self) -> str:
        return f"{self.number}/{self.count}"

    @property
    def part(self) -> str:
        """Its name in file names."""
        return f"{self.number}-of-{self.count}"

    def of(self, starts: range) -> range:
        """Take the batches of this part: neighbours, and as many as the other parts, or one more.

        Parameters
        ----------
        starts : range
            First row of each batch of the whole.
        """
        first, last = ((k * len(starts)) // self.count for k in (self.number - 1, self.number))
        return starts[first:last]


def read_shard(value: str | tuple[int, int] | Shard) -> Shard:
    """Read which part of how many is meant.

    Parameters
    ----------
    value : str, tuple of int, or Shard
        ``"2/5"`` or ``(2, 5)`` is the second of five parts.

    Raises
    ------
    InvalidArgument
        If it is anything else.

    Examples
    --------
    >>> read_shard("2/5")
    Shard(number=2, count=5)
    """
    if isinstance(value, Shard):
        return value
    numbers: Any = value
    if isinstance(value, str):
        match = re.fullmatch(r"\s*(\d+)\s*/\s*(\d+)\s*", value)
        numbers = match and (int(match[1]), int(match[2]))
    try:
        number, count = map(int, numbers)
    except (TypeError, ValueError):
        number, count = 0, 0
    if not 1 <= number <= count:
        raise InvalidArgument(
            f"{value!r} is no shard. Give its number, from 1 on, and how many there are: '1/8' to "
            "'8/8'."
        )
    return Shard(number, count)


@dataclass(frozen=True)
class ShardResult:
    """What a shard left behind.

    Parameters
    ----------
    shard : Shard
        Which part this is.
    n_stimuli : int
        How many stimuli it has.
    missing : int
        How many batches of the whole nobody has computed yet.
    failures : dict of str to str
        Stimuli of this part that could not be decoded: id → reason.
    features : FeatureSet or None
        Those of all stimuli, once none is missing.
    """

    shard: Shard
    n_stimuli: int
    missing: int
    failures: Mapping[str, str]
    features: FeatureSet | None


def extract_shard(
    network: Network,
    stimuli: StimulusSet | Any,
    modules: str | Sequence[str],
    shard: str | tuple[int, int] | Shard,
    *,
    out: str | os.PathLike[str],
    format: str | None = None,
    progress: bool | None = None,
    **options: Any,
) -> ShardResult:
    """Extract one of several parts of the activations, into the folder that all parts fill.

    Parts may run at the same time, on several machines with a common file system, or one after the
    other, in any order. The last one finishes the folder; its bytes are those of a run without
    parts. A part that was interrupted is started again; so is one after its broken images are
    mended. A run without parts computes whatever is missing.

    Parameters
    ----------
    network, stimuli, modules
        As in `extract_features`, and the same for all parts.
    shard : str or tuple of int
        ``"2/5"`` or ``(2, 5)`` is the second of five parts. They are made of whole batches that
        follow each other.
    out : path or URL
        Folder to write to, the same for all parts.
    format, progress, **options
        As in `extract_features`, and the same for all parts. ``batch_size="auto"`` needs a folder
        that was begun with a number.

    Returns
    -------
    ShardResult
        What was done, how many batches are missing, and the features once none is.

    Raises
    ------
    InvalidArgument
        If there is no such part, or as in `extract_features`.
    StoreError
        If `out` holds other features, or the same part or the whole is being written.

    Examples
    --------
    >>> import numpy as np, tempfile
    >>> from thingsvision.testing import toy_network
    >>> folder, images = tempfile.mkdtemp(), np.zeros((5, 8, 6, 3), np.uint8)
    >>> parts = [
    ...     extract_shard(toy_network(), images, "fc", (k, 2), out=folder, batch_size=2)
    ...     for k in (1, 2)
    ... ]
    >>> [part.missing for part in parts], parts[-1].features
    ([2, 0], FeatureSet(5 stimuli; fc: 5 × 5))
    """
    shard = read_shard(shard)
    format = choose_format(out, format)
    if options.get("batch_size") == AUTO:
        options["batch_size"] = recorded_batch_size(out)
        if options["batch_size"] is None:
            raise InvalidArgument(
                "Shards must agree on the batch size, which 'auto' would try out in each of them. "
                "Give a number; --batch-size auto with --dry-run shows a good one."
            )
    work = plan(network, stimuli, modules, **options)
    starts = shard.of(work.starts)
    store = make_store(out, format)
    store.take_part(shard.part)
    with hold(out, shard.part), closing(store):
        if not store.begin(work.request, work.provenance, work.stimuli):
            run([(work, store)], progress, starts)
            store.finish()
        missing = len(store.missing())
        features = None if missing else store.read()
    failures = store.failures() if features is None else features.failures
    rows = range(starts.start, min(starts.stop, len(work.stimuli))) if starts else range(0)
    mine = {work.stimuli.ids[row] for row in rows}
    failures = {name: reason for name, reason in failures.items() if name in mine}
    if failures:
        warn_of_failures(failures, len(mine), out)
    return ShardResult(shard, len(mine), missing, failures, features)
