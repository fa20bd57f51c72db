"""Extraction by the workers of a Ray cluster, or of this machine."""

from __future__ import annotations

import logging
import os
import sys
import warnings
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from socket import create_connection
from typing import Any

from tqdm.auto import tqdm

from ..errors import InvalidArgument, StoreError, ThingsvisionError, ThingsvisionWarning
from ..features import FeatureSet
from ..optional import require
from ..planning import AUTO, plan
from ..stimuli import StimulusSet
from ..store import choose_format, location, open_features, recorded_batch_size
from ..store.remote import is_remote
from ..zoo import Network
from .shard import Shard, extract_shard

# Shards for each worker, so that none waits long for the last, and a dead one costs little.
SHARDS_EACH = 8
# How often a shard is given to another worker after its own has died.
RETRIES = 3
# Seconds within which a cluster must answer.
PATIENCE = 10


def extract_with_ray(
    network: Network,
    stimuli: StimulusSet | Any,
    modules: str | Sequence[str],
    *,
    out: str | os.PathLike[str],
    address: str | None = None,
    workers: int | None = None,
    shards: int | None = None,
    format: str | None = None,
    progress: bool | None = None,
    **options: Any,
) -> FeatureSet:
    """Extract activations by several workers of Ray, which fill the same folder.

    Each worker holds the network once and computes shards, see `extract_shard`, with as many
    threads as this process has, or with one GPU if the network lies on one. The bytes are those of
    `extract_features`. If a worker dies, its shard is given to a new one.

    Parameters
    ----------
    network : Network
        Is sent to the workers, with its weights.
    stimuli, modules
        As in `extract_features`. Images are read by the workers, under the same paths.
    out : path
        Folder to write to, under the same path for all workers.
    address : str, optional
        Of the cluster, such as ``"auto"`` or ``"ray://head:10001"``. By default the one that this
        process is connected to, or that ``RAY_ADDRESS`` names, or else one of this machine alone
        that ends with the work.
    workers : int, optional
        As many as the cluster has room for by default.
    shards : int, optional
        Eight for each worker by default, and never more than there are batches.
    format, progress, **options
        As in `extract_features`. ``batch_size="auto"`` needs a folder that was begun with a number.

    Returns
    -------
    FeatureSet
        Module address → `Features`.

    Raises
    ------
    InvalidArgument
        If the network cannot be sent, the cluster cannot be reached, or as in `extract_features`.
    StoreError
        If a shard's workers died again and again; what was finished is kept.

    Examples
    --------
    >>> import thingsvision as tv
    >>> network = tv.load_model("torchvision/resnet50")  # doctest: +SKIP
    >>> tv.extract_with_ray(network, "images", "layer?", out="features")  # doctest: +SKIP
    """
    ray: Any = require("ray")
    format = choose_format(out, format)
    out = _for_workers(out)
    if options.get("batch_size") == AUTO:
        options["batch_size"] = recorded_batch_size(out) or AUTO
    if options.get("batch_size") == AUTO:
        raise InvalidArgument(
            "Workers must agree on the batch size, which 'auto' would try out in each of them. "
            "Give a number; --batch-size auto with --dry-run shows a good one."
        )
    # What cannot be done is refused here, before anything is started.
    work = plan(network, stimuli, modules, **options)
    names = [capture.address for capture in work.captures]
    with _connected(ray, address):
        needs = _needs(network)
        room = _room(ray, needs)
        workers = min(workers or room, len(work.starts))
        count = min(shards or SHARDS_EACH * workers, len(work.starts))
        options |= {"out": out, "format": format, "progress": False}
        crew = _Crew(ray, (network, work.stimuli, names, options), needs, workers)
        told: set[str] = set()
        bar = tqdm(
            total=len(work.stimuli), unit=f" {work.stimuli.modality}s", dynamic_ncols=True,
            disable=None if progress is None else not progress,
        )  # fmt: skip
        with bar:
            for n_stimuli, messages in crew.run([Shard(k, count) for k in range(1, count + 1)]):
                bar.update(n_stimuli)
                for message in messages:
                    if message not in told:
                        told.add(message)
                        warnings.warn(message, ThingsvisionWarning, stacklevel=2)
    return open_features(out)


def _for_workers(out: str | os.PathLike[str]) -> str:
    """Spell a folder so that processes elsewhere find it."""
    if os.fspath(out).startswith("memory://"):
        raise InvalidArgument(
            f"{os.fspath(out)!r} is in the memory of this process, where the workers of Ray cannot "
            "write. Give a folder, or a URL such as s3://bucket/features."
        )
    # Workers have another current folder.
    where = location(out)
    return str(where if is_remote(where) else where.absolute())


class Worker:
    """Holds a network, and computes shards one after the other; lives in a process of Ray."""

    def __init__(self, job: tuple[Network, StimulusSet, list[str], dict[str, Any]]) -> None:
        self.network, self.stimuli, self.modules, self.options = job

    def compute(self, shard: Shard) -> tuple[int, list[str]]:
        """Compute a shard; give its number of stimuli, and warnings."""
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("ignore")
            warnings.simplefilter("always", ThingsvisionWarning)
            result = extract_shard(self.network, self.stimuli, self.modules, shard, **self.options)
        return result.n_stimuli, [str(warning.message) for warning in caught]


class _Crew:
    """Gives shards to workers, and the shard of a worker that died to another one."""

    def __init__(self, ray: Any, job: Any, needs: dict[str, Any], size: int) -> None:
        self.ray, self.size = ray, size
        self.job = _sent(ray, job)
        self.kind = ray.remote(**needs)(Worker)

    def run(self, shards: Sequence[Shard]) -> Iterator[tuple[int, list[str]]]:
        """Give the result of each shard, as they come."""
        waiting = deque(shards)
        deaths = dict.fromkeys(shards, 0)
        idle = [self.kind.remote(self.job) for _ in range(self.size)]
        busy: dict[Any, tuple[Any, Shard]] = {}
        try:
            while waiting or busy:
                while waiting and idle:
                    worker, shard = idle.pop(), waiting.popleft()
                    busy[worker.compute.remote(shard)] = worker, shard
                [done, *_], _ = self.ray.wait(list(busy))
                worker, shard = busy.pop(done)
                try:
                    result = self.ray.get(done)
                except self.ray.exceptions.RayActorError as error:
                    deaths[shard] += 1
                    if deaths[shard] > RETRIES:
                        raise StoreError(
                            f"The workers of shard {shard} died {deaths[shard]} times, the last "
                            f"one so: {_first_line(error)} What was finished is kept: run the same "
                            "again, with smaller batches if memory was short."
                        ) from None
                    logging.getLogger("thingsvision").warning(
                        "A worker died; shard %s is computed by another one.", shard
                    )
                    waiting.appendleft(shard)
                    idle.append(self.kind.remote(self.job))
                    continue
                except self.ray.exceptions.RayTaskError as error:
                    if isinstance(error.cause, ThingsvisionError):
                        raise error.cause from None
                    raise
                idle.append(worker)
                yield result
        finally:
            for worker in [*idle, *(worker for worker, _ in busy.values())]:
                self.ray.kill(worker)


def _needs(network: Network) -> dict[str, Any]:
    """Say what a worker takes: a GPU, or the threads of this process, which decide the bits."""
    torch: Any = sys.modules.get("torch")
    threads = torch.get_num_threads() if torch is not None else os.cpu_count() or 1
    here = str(network.backend.device).partition(":")[0]
    # Ray would give a worker one thread, whatever it has room for.
    environment = {"env_vars": {"OMP_NUM_THREADS": str(threads)}}
    return {
        "num_cpus": 1 if here == "cuda" else threads, "num_gpus": int(here == "cuda"),
        "runtime_env": environment, "max_restarts": 0,
    }  # fmt: skip


def _room(ray: Any, needs: dict[str, Any]) -> int:
    """Count the workers that the cluster has room for.

    Raises
    ------
    InvalidArgument
        If there is none.
    """
    there = ray.cluster_resources()
    wanted = {"CPU": needs["num_cpus"], "GPU": needs["num_gpus"]}
    room = min(int(there.get(kind, 0) // number) for kind, number in wanted.items() if number)
    if not room:
        listed = ", ".join(f"{int(there.get(kind, 0))} {kind}" for kind in wanted)
        raise InvalidArgument(
            f"The Ray cluster has {listed}, but a worker takes {wanted['CPU']} CPU"
            + (" and a GPU" if wanted["GPU"] else "")
            + ". Start a cluster with more, or set OMP_NUM_THREADS to fewer threads."
        )
    return room


def _sent(ray: Any, job: Any) -> Any:
    """Put what all workers need into Ray's object store.

    Raises
    ------
    InvalidArgument
        If it cannot be pickled.
    """
    try:
        return ray.put(job)
    except Exception as error:
        if isinstance(error, ray.exceptions.RayError):
            raise
        raise InvalidArgument(
            f"{job[0].name} cannot be sent to workers: {_first_line(error)} Use --shard k/n, whose "
            "jobs load the network themselves."
        ) from error


@contextmanager
def _connected(ray: Any, address: str | None) -> Iterator[None]:
    """Connect to a cluster unless this process already is, and let go of it.

    Raises
    ------
    InvalidArgument
        If it cannot be reached.
    """
    if ray.is_initialized():
        yield
        return
    try:
        _knock(address)
        ray.init(address=address, log_to_driver=False, logging_level=logging.ERROR,
                 include_dashboard=False if address is None else None)  # fmt: skip
    except (OSError, ValueError, RuntimeError) as error:
        raise InvalidArgument(
            f"The Ray cluster {address or ''} cannot be reached: {_first_line(error)} Leave "
            "--address out to use this machine alone, or start one: ray start --head."
        ) from error
    try:
        yield
    finally:
        ray.shutdown()


def _knock(address: str | None) -> None:
    """Fail at once where nobody answers; Ray itself would try for minutes.

    Raises
    ------
    OSError
        If the address cannot be reached.
    """
    host, _, port = (address or "").removeprefix("ray://").rpartition(":")
    if port.isdecimal():
        with create_connection((host.strip("[]"), int(port)), timeout=PATIENCE):
            pass


def _first_line(error: BaseException) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0].rstrip(".") + "."
