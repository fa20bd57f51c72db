"""Random draws of stimuli and subjects, and the checks of numbers and seeds."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ..errors import InvalidArgument


def drawn(
    draws: Mapping[str, ArrayLike] | None,
    resample: str,
    n_stimuli: int,
    n_subjects: int,
    n_resamples: int,
    seed: int,
) -> dict[str, NDArray[Any]]:
    """Count how often each stimulus and each subject occurs in each sample."""
    numbers = {"stimuli": n_stimuli, "subjects": n_subjects}
    wanted = list(numbers) if resample == "both" else [resample]
    counts: dict[str, NDArray[Any]] = {}
    if draws is None:
        check_count(n_resamples, "n_resamples", 2)
        rng = generator(seed)
        found = {
            factor: rng.integers(0, numbers[factor], (n_resamples, numbers[factor]))
            for factor in wanted
        }
    else:
        missing = [factor for factor in wanted if factor not in draws]
        if missing:
            raise InvalidArgument(
                f"draws has {', '.join(draws) or 'nothing'}, but resample={resample!r} needs "
                f"{' and '.join(wanted)}."
            )
        found = {factor: np.asarray(draws[factor]) for factor in wanted}
    for factor, rows in found.items():
        number = numbers[factor]
        if (
            rows.ndim != 2
            or rows.shape[1] != number
            or rows.dtype.kind not in "iu"
            or len(rows) < 2
            or rows.min() < 0
            or rows.max() >= number
        ):
            raise InvalidArgument(
                f"draws[{factor!r}] has shape {rows.shape} and type {rows.dtype}. Give two or "
                f"more rows of {number} whole numbers from 0 to {number - 1}."
            )
        flat = rows + number * np.arange(len(rows))[:, None]
        counted = np.bincount(flat.ravel(), minlength=number * len(rows))
        counts[factor] = counted.reshape(len(rows), number)
    if len({len(counts[factor]) for factor in wanted}) > 1:
        raise InvalidArgument("draws of stimuli and of subjects are of different numbers.")
    return counts


def check_count(value: Any, what: str, least: int) -> None:
    """Refuse what is no whole number, or too small a one."""
    if isinstance(value, bool) or not isinstance(value, (int, np.integer)) or value < least:
        raise InvalidArgument(f"{what}={value!r} is not allowed: a whole number from {least} on.")


def generator(seed: Any) -> np.random.Generator:
    """Make the source of random numbers of a seed, refusing what is none."""
    check_count(seed, "seed", 0)
    return np.random.default_rng(seed)
