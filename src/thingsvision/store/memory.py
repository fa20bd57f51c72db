"""Features that stay in memory, written like those that go to disk."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..features import Features, FeatureSet
from ..stimuli import StimulusSet


class MemoryStore:
    """Arrays in memory, filled batch by batch."""

    def __init__(self) -> None:
        self._arrays: dict[str, NDArray[Any]] = {}
        self._axes: dict[str, tuple[str, ...]] = {}
        self._features = FeatureSet({})

    def begin(self, request: Mapping[str, Any], stimuli: StimulusSet) -> bool:
        """Claim nothing: a new memory is always empty."""
        return False

    def has(self, start: int) -> bool:
        """Tell whether a batch is there already, which it never is."""
        return False

    def write(
        self,
        start: int,
        arrays: Mapping[str, NDArray[Any]],
        axes: Mapping[str, tuple[str, ...]],
        digests: Sequence[str],
        n_stimuli: int,
    ) -> None:
        """Keep a batch of all modules."""
        for address, rows in arrays.items():
            if address not in self._arrays:
                self._arrays[address] = np.empty((n_stimuli, *rows.shape[1:]), rows.dtype)
                self._axes[address] = axes[address]
            self._arrays[address][start : start + len(rows)] = rows

    def finish(self, stimuli: StimulusSet, provenance: Mapping[str, Any]) -> None:
        """Give the arrays their ids and provenance."""
        self._features = FeatureSet(
            {
                address: Features(
                    array, stimuli.ids, address, self._axes[address], stimuli.targets, provenance
                )
                for address, array in self._arrays.items()
            }
        )

    def read(self) -> FeatureSet:
        """Give the features."""
        return self._features
