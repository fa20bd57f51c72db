"""RDMs of all modules from one pass over the images, without keeping activations.

An exact RDM needs every pair of rows, so rows are kept until the pass is over: in memory while all
modules fit the budget, in nameless files beyond. Then each module's RDM is computed in blocks, and
its rows are let go before the next. Of the budget, half is for rows; a quarter for the rows of one
module once more, prepared; an eighth each for products and for the result, which goes over a file
where it is larger.
"""

from __future__ import annotations

import inspect
import logging
import tempfile
import warnings
from collections.abc import Generator, Mapping, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, overload

import numpy as np

from .errors import InvalidArgument, ThingsvisionWarning, counted, listing, unknown
from .extraction import run
from .features import Features
from .memory import read_memory
from .planning import plan
from .plans import Plan
from .preprocessing import Preprocessing
from .projecting_rows import Projected, projected
from .reduction import Reduction
from .rsa import DISSIMILARITIES
from .rsa.blocked import within
from .rsa.dropping import keep_rows
from .rsa.pairs_file import PairsPlace
from .rsa.rdm import RDM, compute_rdm
from .rsa.rdm_set import RDMSet, save_whole
from .stimuli import StimulusSet, load_stimuli
from .store.disk import without_empty_folders
from .store.naming import file_names
from .store.scratch import Room, ScratchStore
from .zoo import Network

log = logging.getLogger("thingsvision")

Modules = str | Sequence[str] | Sequence[Sequence[str]]


@dataclass(frozen=True)
class Streamed:
    """The RDM of one module, or why there is none.

    Parameters
    ----------
    number : int
        Of the network, from 0.
    module : str
        Address.
    rdm : RDM or None
        Mapped from a file that is removed, where it is too large for the budget: use it at once.
    problem : InvalidArgument or None
        Why the RDM is not defined.
    """

    number: int
    module: str
    rdm: RDM | None
    problem: InvalidArgument | None = None


@overload
def stream_rdms(network: Network, stimuli: Any, modules: Modules, **options: Any) -> RDMSet: ...
@overload
def stream_rdms(
    network: Sequence[Network], stimuli: Any, modules: Modules, **options: Any
) -> list[RDMSet]: ...
def stream_rdms(
    network: Network | Sequence[Network],
    stimuli: StimulusSet | Any,
    modules: Modules,
    *,
    out: str | Path | None = None,
    **options: Any,
) -> RDMSet | list[RDMSet]:
    """Compute the RDMs of modules in one pass over the images, without keeping activations.

    Parameters
    ----------
    network : Network, or sequence of Network
        Several whose preprocessing is the same share one pass: each image is decoded once.
    stimuli : StimulusSet, or what `load_stimuli` takes
        Rows of the RDMs are in their order.
    modules : str, sequence of str, or of sequences of str
        As in `extract_features`, the same for all networks; or a list for each network.
    out : path, optional
        Folder for a file ``MODULE.npz`` each, written as soon as its RDM is there; of several
        networks ``NETWORK/MODULE.npz``. None keeps the RDMs in memory.
    **options
        Of `iterate_rdms`: ``dissimilarity``, ``reduction``, ``project``, ``decode``, ``memory``, ….

    Returns
    -------
    RDMSet, or list of RDMSet
        Module address → `RDM`; of several networks, one each. ``failed`` names the modules whose
        RDM is not defined, of which a warning tells too.

    Raises
    ------
    InvalidArgument, StimulusError, ModuleError, StoreError
        As `iterate_rdms`; or if the RDMs need `out` because the memory would not hold them, or
        networks have the same name, under which their files would lie in one folder.

    Examples
    --------
    >>> from thingsvision.testing import toy_network
    >>> images = np.random.default_rng(0).integers(0, 255, (4, 8, 6, 3), np.uint8)
    >>> stream_rdms(toy_network(), images, ["thin", "fc"])
    RDMSet(thin, fc)
    """
    networks = [network] if isinstance(network, Network) else list(network)
    stimuli = stimuli if isinstance(stimuli, StimulusSet) else load_stimuli(stimuli)
    folders = None if out is None else output_folders(Path(out).expanduser(), networks)
    found: list[dict[str, RDM | Path]] = [{} for _ in networks]
    failed: list[dict[str, InvalidArgument]] = [{} for _ in networks]
    names: list[dict[str, str]] = []

    def check(works: Sequence[Plan]) -> None:
        names.extend(file_names([c.address for c in work.captures]) for work in works)
        pairs = len(stimuli) * (len(stimuli) - 1) // 2
        needed = sum(len(work.captures) * pairs * 4 for work in works)
        if out is None and needed > (most := read_memory(options.get("memory")) // 2):
            raise InvalidArgument(
                f"The RDMs of {sum(len(work.captures) for work in works)} modules take "
                f"{needed / 1e9:.3g} GB, more than half of the memory ({most / 1e9:.3g} GB). Give "
                "a folder as out=…, to which each is written as soon as it is there."
            )

    with closing(iterate_rdms(networks, stimuli, modules, check=check, **options)) as coming:
        for one in coming:
            if one.problem is not None:
                failed[one.number][one.module] = one.problem
            elif one.rdm is not None and folders is not None:
                path = folders[one.number] / f"{names[one.number][one.module]}.npz"
                found[one.number][one.module] = save_whole(one.rdm, path)
            elif one.rdm is not None:
                found[one.number][one.module] = one.rdm
    sets = [RDMSet(rdms, problems) for rdms, problems in zip(found, failed, strict=True)]
    warn_of_failed([(networks[n].name, one.failed) for n, one in enumerate(sets)])
    return sets[0] if isinstance(network, Network) else sets


def iterate_rdms(
    networks: Sequence[Network],
    stimuli: StimulusSet | Any,
    modules: Modules,
    *,
    dissimilarity: str = "correlation",
    reduction: Reduction = None,
    project: int | Mapping[str, int] | None = None,
    nan: str = "refuse",
    drop_failed: bool = False,
    memory: int | str | None = None,
    scratch: str | Path | None = None,
    batch_size: int = 32,
    seed: int = 0,
    exact: bool = False,
    precision: str = "float32",
    decode: str | None = None,
    progress: bool | None = None,
    check: Any = None,
    **options: Any,
) -> Generator[Streamed, None, None]:
    """Yield the RDM of one module after the other, each to be used before the next.

    Parameters
    ----------
    networks, stimuli, modules
        As in `stream_rdms`.
    dissimilarity : str
        ``"correlation"``, ``"cosine"``, ``"euclidean"``, ``"squared_euclidean"`` or
        ``"gaussian"``: those that need no more than two blocks of rows at a time.
    reduction, batch_size, seed, exact, precision, decode, progress
        As in `extract_features`.
    project : int or dict of pattern to int, optional
        Number of features that a sparse random projection leaves; for correlations each row is
        centred before. The error to expect is in the provenance.
    nan, drop_failed
        As in `compute_rdm`. Unless failed images are dropped, the first one ends the pass.
    memory : int or str, optional
        Bytes, or ``"2GB"``: the budget beyond networks and a batch. Half of what is free by
        default.
    scratch : path, optional
        Folder on a disk for rows that the memory does not hold. The system's by default. One that
        is made for it is removed again.
    check : callable, optional
        Is given all plans before the work begins, and may raise.
    **options
        Of the dissimilarity.

    Yields
    ------
    Streamed

    Raises
    ------
    InvalidArgument
        If an argument is not allowed, or there is only one stimulus.
    StimulusError
        If images are missing or cannot be decoded.
    ModuleError
        If a module does not exist or cannot be captured.
    StoreError
        If there is no room in `scratch`.
    """
    networks = list(networks)
    stimuli = stimuli if isinstance(stimuli, StimulusSet) else load_stimuli(stimuli)
    budget = read_memory(memory)
    _check(networks, stimuli, dissimilarity, nan, options)
    folder = Path(tempfile.gettempdir() if scratch is None else scratch).expanduser()
    works = [
        projected(
            plan(network, stimuli, wanted, reduction=reduction,
                 batch_size=batch_size, seed=seed, exact=exact, precision=precision, decode=decode),
            project, dissimilarity,
        )
        for network, wanted in zip(networks, _modules_of(networks, modules), strict=True)
    ]  # fmt: skip
    if check is not None:
        check([one.work for one in works])
    for numbers in _alike([one.work for one in works]):
        with ExitStack() as stack:
            stack.enter_context(without_empty_folders(folder))
            folder.mkdir(parents=True, exist_ok=True)
            room = Room(budget // 2)
            sinks = [
                stack.enter_context(closing(ScratchStore(room, folder, not drop_failed)))
                for _ in numbers
            ]
            jobs = [(works[number].work, sink) for number, sink in zip(numbers, sinks, strict=True)]
            for work, sink in jobs:
                sink.begin(work.request, work.provenance, work.stimuli)
            run(jobs, progress)
            for _, sink in jobs:
                sink.finish()
            _tell_spilled(sinks, folder, budget)
            for number, sink in zip(numbers, sinks, strict=True):
                for capture in works[number].work.captures:
                    place = stack.enter_context(PairsPlace(folder))
                    given = {"nan": nan, "drop_failed": drop_failed, "options": options}
                    with within(budget // 2):
                        found = _one(
                            number, sink.take(capture.address), works[number], dissimilarity,
                            given, budget // 8, place,
                        )  # fmt: skip
                    yield found
                    place.clear()


def _check(
    networks: Sequence[Network],
    stimuli: StimulusSet,
    dissimilarity: str,
    nan: str,
    options: Mapping[str, Any],
) -> None:
    """Refuse, before the pass, what would be refused after it for every module."""
    if not networks:
        raise InvalidArgument("No network was given; give one or several.")
    if len(stimuli) < 2:
        raise InvalidArgument(
            f"{counted(len(stimuli), 'stimulus', 'stimuli')} given; an RDM needs two or more."
        )
    streamed = [
        name
        for name, compute in DISSIMILARITIES.working()
        if "out" in inspect.signature(compute).parameters
    ]
    if dissimilarity not in DISSIMILARITIES:
        raise unknown("dissimilarity", dissimilarity, streamed)
    if dissimilarity not in streamed:
        raise InvalidArgument(
            f"{dissimilarity} needs all features of a module at once, so it cannot be had in one "
            f"pass in bounded memory; {listing(streamed)} can. Extract the features first and "
            "compute it from them."
        )
    compute_rdm(np.eye(3), dissimilarity, nan=nan, **options)  # which also looks at the options


def _modules_of(networks: Sequence[Network], modules: Modules) -> Sequence[Any]:
    """Find the modules wanted of each network."""
    if isinstance(modules, str) or not all(
        isinstance(some, Sequence) and not isinstance(some, str) for some in modules
    ):
        return [modules] * len(networks)
    if len(modules) != len(networks):
        raise InvalidArgument(
            f"modules=… has {counted(len(modules), 'list')} for {len(networks)} networks. Give a "
            "list for each, or one of names for all."
        )
    return modules


def _alike(works: Sequence[Plan]) -> list[list[int]]:
    """Group the plans, by number, whose networks take the same input."""
    groups: dict[Any, list[int]] = {}
    for number, work in enumerate(works):
        steps = work.network.preprocessing
        if isinstance(steps, Preprocessing):
            steps = replace(steps, origin="")
        groups.setdefault((steps, work.size), []).append(number)
    return list(groups.values())


def _one(
    number: int,
    features: Features,
    made: Projected,
    dissimilarity: str,
    given: Mapping[str, Any],
    most: int,
    place: PairsPlace,
) -> Streamed:
    """Compute the RDM of a module; one that is not defined does not end the others."""
    module = features.module
    count = len(features)
    try:
        features, dropped = keep_rows(features, given["nan"], given["drop_failed"])
        size = count * (count - 1) // 2 * max(4, features.dtype.itemsize)
        rdm = compute_rdm(
            features, made.dissimilarity(module, dissimilarity),
            out=place.path() if size > most else None, **given["options"],
        )  # fmt: skip
    except InvalidArgument as error:
        return Streamed(number, module, None, made.explained(module, error))
    done = {**rdm.provenance.get("rdm", {}), **made.record(module)}
    done |= {"dropped": dropped} if dropped else {}
    provenance = {**rdm.provenance, **({"rdm": done} if done else {})}
    return Streamed(
        number, module, replace(rdm, dissimilarity=dissimilarity, provenance=provenance)
    )


def _tell_spilled(sinks: Sequence[ScratchStore], folder: Path, budget: int) -> None:
    sizes = [size for sink in sinks for size in sink.spilled.values()]
    if sizes:
        log.info(
            "Activations of %s (%.3g GB) do not fit the memory of %.3g GB and are in %s until "
            "their RDMs are computed.",
            counted(len(sizes), "module"), sum(sizes) / 1e9, budget / 1e9, folder,
        )  # fmt: skip


def output_folders(out: Path, networks: Sequence[Network]) -> list[Path]:
    """Find the folder of each network's RDMs: the one given, or one each in it.

    Raises
    ------
    InvalidArgument
        If several networks have the same name.
    """
    if len(networks) == 1:
        return [out]
    names = [network.name for network in networks]
    if doubled := sorted({name for name in names if names.count(name) > 1}):
        raise InvalidArgument(
            f"Several networks are called {listing(doubled)}, so their files would lie in one "
            "folder. Call them otherwise, with dataclasses.replace(network, name=…), or stream "
            "them one by one."
        )
    return [
        out.joinpath(*(file_names([part])[part] for part in name.split("/") if part))
        for name in names
    ]


def warn_of_failed(failed: Sequence[tuple[str, Mapping[str, InvalidArgument]]]) -> None:
    """Warn, at the end, of modules whose RDM is not defined, by name, with the reasons."""
    lines = [
        f"{name} {module}: {problem}" for name, found in failed for module, problem in found.items()
    ]
    if lines:
        warnings.warn(
            "\n  ".join([f"The RDMs of {counted(len(lines), 'module')} are not defined:", *lines])
            + "\nThose of all others were computed.",
            ThingsvisionWarning,
            stacklevel=3,
        )
