"""Features that stay in memory, written like those that go to disk."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import StoreError
from ..features import Features, FeatureSet
from ..provenance import plain
from ..stimuli import StimulusSet
from .failures import failures, refuse_nothing
from .records import in_order, with_content


class MemoryStore:
    """Arrays in memory, filled batch by batch; a `Sink`."""

    def __init__(self) -> None:
        self._arrays: dict[str, NDArray[Any]] = {}
        self._axes: dict[str, tuple[str, ...]] = {}
        self._written: dict[int, list[str]] = {}
        self._features: FeatureSet | None = None

    def begin(
        self, request: Mapping[str, Any], provenance: Mapping[str, Any], stimuli: StimulusSet
    ) -> bool:
        """Make ready; a new memory is always empty."""
        self._provenance, self._stimuli = plain(provenance), stimuli
        return False

    def note(self, provenance: Mapping[str, Any]) -> None:
        """Add to the provenance."""
        self._provenance |= plain(provenance)

    def has(self, start: int) -> bool:
        """Tell whether the batch that starts at a row is here already."""
        return start in self._written

    def write(
        self,
        start: int,
        arrays: Mapping[str, NDArray[Any]],
        axes: Mapping[str, tuple[str, ...]],
        digests: Sequence[str],
    ) -> None:
        """Keep a batch of all modules."""
        for address, rows in arrays.items():
            if address not in self._arrays:
                shape = (len(self._stimuli), *rows.shape[1:])
                self._arrays[address] = np.empty(shape, rows.dtype)
                self._axes[address] = axes[address]
            self._arrays[address][start : start + len(rows)] = rows
        self._written[start] = list(digests)

    def finish(self) -> None:
        """Give the arrays their ids and provenance."""
        stimuli = self._stimuli
        digests = in_order(self._written, len(stimuli))
        refuse_nothing(stimuli.ids, digests)
        provenance = with_content(self._provenance, self._written, len(stimuli))
        failed = failures(stimuli.ids, digests)
        self._features = FeatureSet(
            {
                address: Features(
                    array, stimuli.ids, address, self._axes[address], stimuli.targets, provenance,
                    failed,
                )
                for address, array in self._arrays.items()
            }
        )  # fmt: skip

    def read(self) -> FeatureSet:
        """Give the features."""
        if self._features is None:
            raise StoreError("These features are unfinished.")
        return self._features

    def close(self) -> None:
        """Do nothing: there are no files."""
