"""The forward pass of an extraction: the faster way where it gives the same, else the plain one."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import closing
from dataclasses import dataclass
from math import isfinite
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .backends.base import FastBackend
from .batches import load_batches
from .errors import InvalidArgument, listing
from .plans import Plan
from .reduction import flatten

# Largest deviation of the faster way from the plain one, relative to a module's largest magnitude.
TOLERANCE = 1e-5
# Images that go both ways before the first batch: the first ones of all, in every part of a run.
# One more than the fewest that go through a network at once.
CHECKED = 5


@dataclass(frozen=True)
class Forward:
    """Runs the batches of an extraction.

    Parameters
    ----------
    work : Plan
        What to extract.
    options : dict
        What the backend's ``run`` is told: the way that was chosen, if there are several.
    record : dict
        How it computes and how far that is from the plain way, for the provenance.
    """

    work: Plan
    options: Mapping[str, Any]
    record: Mapping[str, Any]

    def run(self, inputs: NDArray[Any], seed: int, full: bool = False) -> dict[str, NDArray[Any]]:
        """Run one batch; give the reduced activations by address."""
        return _run(self.work, inputs, seed, full=full, **self.options)


def choose_forward(work: Plan) -> Forward:
    """Choose how to compute, by running the first images of all both ways.

    The choice depends on nothing else, so that all parts of a run, on whatever rows they work,
    choose the same.

    Parameters
    ----------
    work : Plan
        What to extract.

    Returns
    -------
    Forward
        The faster way if no module deviates by more than `TOLERANCE`, else the plain one.

    Raises
    ------
    StimulusError
        If these images cannot be decoded.
    InvalidArgument
        If numbers are too large for the precision that was asked for.
    """
    backend, model = work.network.backend, work.network.model
    if not isinstance(backend, FastBackend) or (work.exact and work.precision == "float32"):
        return Forward(work, {}, {"way": "plain"})
    sample = work.stimuli[:CHECKED]
    batches = load_batches(sample, work.network.preprocessing, work.size, len(sample))
    with closing(batches):
        inputs = next(batches).inputs
    # Copies, since a network may work in place on what it is given.
    way = plain = backend.plain_way
    if not work.exact:
        way = backend.faster(model, inputs[:1].copy(), work.captures, seed=work.seed)
    record: dict[str, Any] = {"way": str(way)}
    if way != plain or work.precision != "float32":
        wanted = _run(work, inputs.copy(), work.seed)
    if way != plain:
        deviations = _deviations(_run(work, inputs.copy(), work.seed, way=way), wanted)
        record["deviation"] = deviations
        if not all(found <= TOLERANCE for found in deviations.values()):
            record = {"way": "plain", "refused": record}
            way = plain
    if work.precision != "float32":
        way = way.in_precision(work.precision)
        deviations = _deviations(_run(work, inputs.copy(), work.seed, way=way), wanted)
        if bad := [name for name, found in deviations.items() if not isfinite(found)]:
            raise InvalidArgument(
                f"In {work.precision} these modules give numbers that are not finite, since they "
                f"are too large for it: {listing(bad)}. Use precision='bfloat16' or 'float32'."
            )
        record |= {"way": str(way), "deviation": deviations}
    return Forward(work, {"way": way}, record)


def _run(work: Plan, inputs: NDArray[Any], seed: int, **options: Any) -> dict[str, NDArray[Any]]:
    backend, model = work.network.backend, work.network.model
    found = backend.run(model, inputs, work.captures, work.functions, seed=seed, **options)
    return {address: flatten(array) if address in work.flattened else array
            for address, array in found.items()}  # fmt: skip


def _deviations(
    found: Mapping[str, NDArray[Any]], wanted: Mapping[str, NDArray[Any]]
) -> dict[str, float]:
    """Compare by module; rounded, so that the figure is short."""
    return {
        address: float(f"{deviation(found[address], array):.2g}")
        for address, array in wanted.items()
    }


def deviation(found: NDArray[Any], wanted: NDArray[Any]) -> float:
    """Compute the largest deviation, relative to the largest magnitude.

    Parameters
    ----------
    found, wanted : array
        Of the same shape.

    Returns
    -------
    float
        ``max |found − wanted| / max |wanted|``; infinity where one is finite and the other not,
        or the wanted ones are all zero and the found ones are not.

    Examples
    --------
    >>> deviation(np.array([1.0, 2.0]), np.array([1.0, -4.0]))
    1.5
    """
    if found.shape != wanted.shape:
        return float("inf")
    with np.errstate(all="ignore"):
        gaps = np.abs(found.astype(np.float64) - wanted)
        is_same = (found == wanted) | (np.isnan(found) & np.isnan(wanted))
        largest = float(np.where(is_same, 0, gaps).max(initial=0))
        scale = float(np.abs(wanted[np.isfinite(wanted)]).max(initial=0))
    if largest == 0:
        return 0.0
    return largest / scale if scale and np.isfinite(largest) else float("inf")
