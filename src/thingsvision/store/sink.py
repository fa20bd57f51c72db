"""The contract of whatever takes the batches of an extraction: a folder, memory, a statistic."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from numpy.typing import NDArray

from ..features import FeatureSet
from ..stimuli import StimulusSet


class Sink(Protocol):
    """Takes batches of activations.

    ``begin`` comes first; then, if it gave False, a ``write`` for each batch that ``has`` denies,
    in any order, then ``finish``; then ``read``. ``close`` comes last, whatever happened.
    """

    def begin(
        self, request: Mapping[str, Any], provenance: Mapping[str, Any], stimuli: StimulusSet
    ) -> bool:
        """Make ready for a request.

        Parameters
        ----------
        request : dict
            What decides the features, in plain values.
        provenance : dict
            What makes them, in plain values.
        stimuli : StimulusSet
            Their stimuli.

        Returns
        -------
        bool
            Whether these very features are there already, complete.

        Raises
        ------
        StoreError
            If this sink holds something else.
        """

    def note(self, provenance: Mapping[str, Any]) -> None:
        """Add to the provenance what is known only when the work has begun.

        Called between ``begin`` and ``finish``. ``"parts"``, which batches were run in parts, is
        joined with what an earlier run noted; anything else is replaced.
        """

    def has(self, start: int) -> bool:
        """Tell whether the batch that starts at a row is here already."""

    def write(
        self,
        start: int,
        arrays: Mapping[str, NDArray[Any]],
        axes: Mapping[str, tuple[str, ...]],
        digests: Sequence[str],
    ) -> None:
        """Take a batch of all modules.

        Parameters
        ----------
        start : int
            Row of its first stimulus.
        arrays : dict of str to array, shape (n_in_batch, ...)
            By module address.
        axes : dict of str to tuple of str
            Names of each array's axes.
        digests : sequence of str
            Of the batch's images.
        """

    def finish(self) -> None:
        """Declare that all batches have been written."""

    def read(self) -> FeatureSet:
        """Give the features; those of a folder are read when they are used."""

    def close(self) -> None:
        """Let go of all files. What was written stays."""
