"""Verification: whether features in a folder still are what their record says."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import InvalidArgument, StimulusError, StoreError, ThingsvisionError, counted, listing
from ..features import FeatureSet
from ..provenance import differences, digest, digest_items, plain, versions
from ..stimuli.origins import find_again
from ..stimuli.stimulus_set import StimulusSet
from ..store import location, make_store, read_meta
from ..store.records import NAMES, digests_of, read_stimuli
from ..zoo import Network
from .checks import OK, UNCHECKED, WRONG, Check, check_numbers, check_sums
from .recomputation import plan_again, recompute, reload_network, with_recorded_preprocessing

# Largest difference, relative to a module's largest magnitude, between runs of one network on other
# versions, threads or machines; in half precision a last digit is larger.
TOLERANCE = {"float32": 1e-5, "bfloat16": 2e-2, "float16": 2e-2}
# Batches that hold suspicious rows and are computed again, whatever the sample.
SUSPICIOUS = 2


@dataclass(frozen=True)
class Verification:
    """What was found when features were looked at again.

    Parameters
    ----------
    checks : tuple of Check
        In the order in which they were made.
    differences : dict of str to float
        Module address → largest difference between its rows and those that were computed again,
        relative to the largest magnitude among them; empty if none were.
    rows : tuple of int
        Rows that were computed again.
    failed : tuple of str
        Ids of stimuli that have no features, as recorded, since they could not be decoded.
    """

    checks: tuple[Check, ...]
    differences: Mapping[str, float] = field(default_factory=dict)
    rows: tuple[int, ...] = ()
    failed: tuple[str, ...] = ()

    @property
    def is_right(self) -> bool:
        """Whether nothing was found wrong."""
        return all(check.result != WRONG for check in self.checks)

    @property
    def is_complete(self) -> bool:
        """Whether everything could be checked."""
        return all(check.result != UNCHECKED for check in self.checks)

    def __str__(self) -> str:
        width = max(len(check.what) for check in self.checks)
        return "\n".join(f"{c.what:<{width}}  {c.result:<11}  {c.says}" for c in self.checks)


def verify_features(
    folder: str | os.PathLike[str],
    stimuli: StimulusSet | Any = None,
    sample: int = 32,
    *,
    network: Network | None = None,
    seed: int = 0,
) -> Verification:
    """Check features against their record, and compute a sample of them again.

    Ids, counts, digests and the numbers themselves are looked at; then the network is loaded as
    recorded, and whole batches of the recorded grid are computed again from the images. The same
    versions on the same machine, with as many threads, give the same bits; elsewhere the largest
    difference is at most 1e-5 of a module's largest magnitude.

    Parameters
    ----------
    folder : path
        What `extract_features` wrote to, in any format.
    stimuli : StimulusSet, or what `load_stimuli` or `load_texts` take, optional
        Where the images or texts are now; by default where they were. They are found by id, and
        those that have another name by their digest.
    sample : int
        Rows to compute again, rounded up to whole batches; 0 for none. Batches that hold NaN or
        rows of zeros come first.
    network : Network, optional
        The network, if it is one of your own that cannot be loaded by its name.
    seed : int
        Of the choice of batches.

    Returns
    -------
    Verification

    Raises
    ------
    InvalidArgument
        If `sample` is negative.
    StoreError
        If the folder holds no features.

    Examples
    --------
    >>> import tempfile
    >>> from thingsvision.extraction import extract_features
    >>> from thingsvision.testing import toy_network
    >>> images = np.random.default_rng(0).integers(0, 255, (4, 8, 6, 3), np.uint8)
    >>> folder = tempfile.mkdtemp()
    >>> _ = extract_features(toy_network(), images, "fc", out=folder)
    >>> found = verify_features(folder, images, network=toy_network())
    >>> found.is_right, found.differences
    (True, {'fc': 0.0})
    """
    if sample < 0:
        raise InvalidArgument(f"sample is {sample}; it is a number of rows, 0 or more.")
    folder = location(folder)
    meta = read_meta(folder)
    try:
        features = make_store(folder, meta["format"]).read()
        rows = read_stimuli(folder)
    except StoreError as error:
        return Verification((Check("files", WRONG, str(error)),))
    checks = [Check("files", OK, f"{counted(len(features), 'module')}, {meta['format']}")]
    checks.append(_check_ids(folder, meta, rows))
    suspicious, numbers, damaged = check_numbers(meta, features, rows)
    checks += [numbers, check_sums(meta, rows, damaged)]
    sources, images = _check_stimuli(meta, rows, stimuli)
    checks.append(images)
    found = _check_again(meta, features, rows, sources, suspicious, sample, network, seed)
    failed = tuple(row["id"] for row in rows if row.get("status", OK) != OK)
    return Verification((*checks, *found.checks), found.differences, found.rows, failed)


def _check_ids(folder: Path, meta: Mapping[str, Any], rows: list[dict[str, str]]) -> Check:
    """Compare the tables with the request; what reads a store has compared the arrays' shapes."""
    recorded = meta["request"]["stimuli"]
    ids = [row["id"] for row in rows]
    problems = []
    if recorded["count"] != len(ids) or recorded["ids"] != digest_items(ids):
        problems.append("the ids are not those that features were asked for")
    file = folder / NAMES
    lines = [name.replace("\r", "\\r").replace("\n", "\\n") for name in ids]
    if (
        not file.is_file()
        or file.read_text(encoding="utf-8", errors="replace").split("\n")[:-1] != lines
    ):
        problems.append(f"{NAMES} does not name the rows")
    content = meta["provenance"].get("stimuli", {}).get("content")
    if content and content != digest_items(digests_of(rows)):
        problems.append("the digests in stimuli.csv were changed")
    if problems:
        return Check("rows", WRONG, "; ".join(problems))
    return Check("rows", OK, f"{counted(len(ids), 'row')}, ids and their order as recorded")


def _check_stimuli(
    meta: Mapping[str, Any], rows: list[dict[str, str]], where: Any
) -> tuple[dict[int, Any], Check]:
    """Find the stimuli, and keep those that are what they were."""
    digests = [row["digest"] for row in rows]
    ids = [row["id"] for row in rows]
    noun = "text" if "tokenizer" in meta["request"]["preprocessing"] else "image"
    origin = meta["provenance"].get("origin", {})
    help_ = "Say where they are now with --images, in Python stimuli=."
    try:
        found = find_again(ids, digests, origin, where)
    except StimulusError as error:
        return {}, Check("stimuli", UNCHECKED, f"The {noun}s cannot be found: {error} {help_}")
    kept, changed, missing = {}, [], []
    for row, source in enumerate(found):
        if rows[row].get("status", OK) != OK:
            continue
        if source is None:
            missing.append(ids[row])
        elif _digest(ids[row], source) == digests[row]:
            kept[row] = source
        else:
            changed.append(ids[row])
    words = []
    if changed:
        words.append(f"{counted(len(changed), noun)} changed since: {listing(changed, 5)}")
    if missing:
        words.append(f"{counted(len(missing), noun)} not found: {listing(missing, 5)}. {help_}")
    if words:
        return kept, Check("stimuli", WRONG if changed else UNCHECKED, "; ".join(words))
    return kept, Check("stimuli", OK, f"{counted(len(kept), noun)}, all as they were")


def _digest(name: str, source: Any) -> str:
    try:
        return StimulusSet((name,), (source,)).digest(0)
    except StimulusError:
        return ""


def _check_again(
    meta: Mapping[str, Any], features: FeatureSet, rows: list[dict[str, str]],
    sources: Mapping[int, Any], suspicious: NDArray[np.int64], sample: int,
    network: Network | None, seed: int,
) -> Verification:  # fmt: skip
    """Compute a sample of batches again."""
    request, record = meta["request"], {**meta["provenance"], **_identity(meta)}
    if not sample:
        return Verification((Check("features", UNCHECKED, "sample is 0"),))
    starts = _choose(request["batch_size"], len(rows), sources, suspicious, sample, seed)
    if not starts:
        says = "no batch has all its stimuli as they were, so none was computed again"
        return Verification((Check("features", UNCHECKED, says),))
    try:
        network = (
            reload_network(record) if network is None
            else with_recorded_preprocessing(network, record)
        )  # fmt: skip
    except (ThingsvisionError, TypeError) as error:
        says = f"The network cannot be loaded, so no features were computed again. {error}"
        return Verification((Check("network", UNCHECKED, says),))
    checks = [_check_network(request, network), _check_versions(record, network)]
    if checks[0].result == WRONG:
        return Verification(tuple(checks))
    chosen = [row for start in starts for row in _batch(start, request["batch_size"], len(rows))]
    stimuli = StimulusSet(
        tuple(rows[row]["id"] for row in chosen), tuple(sources[row] for row in chosen),
        max_pixels=sys.maxsize,  # their bytes are those that were decoded then
    )  # fmt: skip
    try:
        work = plan_again(network, stimuli, request)
        gaps = _gaps(features, recompute(work, starts))
    except ThingsvisionError as error:
        says = f"The features cannot be computed again. {error}"
        return Verification((*checks, Check("features", WRONG, says)))
    checks += _judged(gaps, TOLERANCE[request.get("precision", "float32")], len(chosen))
    return Verification(tuple(checks), gaps, tuple(chosen))


def _identity(meta: Mapping[str, Any]) -> dict[str, Any]:
    return {key: meta["request"][key] for key in ("model", "preprocessing")}


def _choose(
    size: int, count: int, sources: Mapping[int, Any], suspicious: NDArray[np.int64], sample: int,
    seed: int,
) -> list[int]:  # fmt: skip
    """Choose batches, all of whose stimuli are there; those with suspicious rows first."""
    there = [start for start in range(0, count, size)
             if all(row in sources for row in _batch(start, size, count))]  # fmt: skip
    first = dict.fromkeys(int(row) // size * size for row in suspicious)
    odd = [start for start in first if start in set(there)][:SUSPICIOUS]
    others = [start for start in there if start not in odd]
    wanted = min(len(others), -(-sample // size))
    drawn = np.random.default_rng(seed).choice(len(others), wanted, replace=False)
    return sorted([*odd, *(others[k] for k in drawn)])


def _batch(start: int, size: int, count: int) -> range:
    return range(start, min(start + size, count))


def _check_network(request: Mapping[str, Any], network: Network) -> Check:
    network = network.for_modality("text" if "tokenizer" in request["preprocessing"] else "image")
    now = {
        "weights": network.digest,
        "structure": digest(network.structure.encode()),
        "preprocessing": plain(network.preprocessing.to_dict()),
    }
    was = {
        "weights": request["weights"]["digest"],
        "structure": request["structure"],
        "preprocessing": request["preprocessing"],
    }
    if now["weights"] != was["weights"]:
        says = (
            f"{network.name} has other weights now (SHA-256 {now['weights'][:12]}…, "
            f"was {str(was['weights'])[:12]}…), so no features were computed again"
        )
        return Check("network", WRONG, says)
    if changed := differences(was, now):
        # Both are told by words of libraries, which differ between versions.
        return Check("network", OK, f"the same weights; {listing(changed, 5)}")
    return Check(
        "network", OK, f"{network.name}, the same weights (SHA-256 {network.digest[:12]}…)"
    )


def _check_versions(record: Mapping[str, Any], network: Network) -> Check:
    was = {**record.get("versions", {}), "device": record.get("device")}
    now = {**versions(), "device": network.backend.device}
    changed = differences(was, now)
    if changed:
        return Check("versions", OK, f"{listing(changed, 20)}; last digits may differ")
    return Check("versions", OK, "the same as then")


def _gaps(
    features: FeatureSet, batches: Iterator[tuple[int, dict[str, NDArray[Any]]]]
) -> dict[str, float]:
    """Compute the largest difference of each module, relative to its largest magnitude."""
    largest = dict.fromkeys(features, 0.0)
    scale = dict.fromkeys(features, 0.0)
    for start, arrays in batches:
        for module, now in arrays.items():
            was = features[module][start : start + len(now)]
            if was.shape != now.shape:
                largest[module] = np.inf
                continue
            with np.errstate(all="ignore"):
                same = (was == now) | ((was != was) & (now != now))
                gap = np.abs(was.astype(np.float64) - now)
            gap[same] = 0
            gap[np.isnan(gap)] = np.inf
            largest[module] = max(largest[module], float(gap.max(initial=0)))
            finite = np.abs(now[np.isfinite(now)])
            scale[module] = max(scale[module], float(finite.max(initial=0)))
    return {
        module: gap / scale[module] if gap and scale[module] else (np.inf if gap else 0.0)
        for module, gap in largest.items()
    }


def _judged(gaps: Mapping[str, float], tolerance: float, count: int) -> list[Check]:
    checks = []
    for module, gap in gaps.items():
        if gap == 0:
            says = f"{counted(count, 'row')} computed again: the same to the last bit"
        else:
            word = "within" if gap <= tolerance else "above"
            says = (
                f"{counted(count, 'row')} computed again: largest difference {gap:.2g}, relative "
                f"to the largest magnitude, {word} {tolerance:g}"
            )
        checks.append(Check(module, OK if gap <= tolerance else WRONG, says))
    return checks
