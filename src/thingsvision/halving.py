"""Batches that do not fit into memory are run in parts; the grid that is recorded stays."""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .errors import ThingsvisionError, counted
from .memory_use import is_out_of_memory

log = logging.getLogger("thingsvision")

Run = Callable[[NDArray[Any], int], dict[str, NDArray[Any]]]


@dataclass
class Halving:
    """Runs batches whole, or in ever smaller parts once memory does not suffice.

    Parameters
    ----------
    run : callable
        Takes the inputs of a batch and a seed; gives arrays by module address.
    rows : int or None
        Most rows of a part; None for whole batches. Stays as small as it had to become.
    parts : dict of int to int
        Row of the first batch that was run in parts of a size → that size; for the provenance.

    Examples
    --------
    >>> def run(inputs, seed):
    ...     if len(inputs) > 2:
    ...         raise MemoryError
    ...     return {"fc": inputs * 2}
    >>> halving = Halving(run)
    >>> halving(np.ones((7, 1)), 0, start=0)["fc"].shape, halving.parts
    ((7, 1), {0: 1})
    """

    run: Run
    rows: int | None = None
    parts: dict[int, int] = field(default_factory=dict)

    def __call__(self, inputs: NDArray[Any], seed: int, start: int) -> dict[str, NDArray[Any]]:
        """Run one batch.

        Raises
        ------
        ThingsvisionError
            If memory does not suffice for a single stimulus.
        """
        while True:
            size = min(self.rows or len(inputs), len(inputs))
            found = self._tried(inputs, seed, size)
            if found is not None:
                return found
            if size == 1:
                raise ThingsvisionError(
                    "Memory does not suffice for a single stimulus. Ask for fewer or later "
                    "modules, choose a smaller crop or network, or take another machine or device."
                )
            self.rows = self.parts[start] = size // 2
            log.warning(
                "Memory does not suffice for %s at once; going on with %s at a time.",
                counted(size, "stimulus", "stimuli"), self.rows,
            )  # fmt: skip
            _let_go()

    def _tried(self, inputs: NDArray[Any], seed: int, size: int) -> dict[str, NDArray[Any]] | None:
        """Run a batch in parts; give None if memory does not suffice."""
        try:
            if size == len(inputs):
                return self.run(inputs, seed)
            found = [
                # A copy, since a network may work in place on what it is given.
                self.run(inputs[first : first + size].copy(), seed)
                for first in range(0, len(inputs), size)
            ]
            return {
                address: np.concatenate([part[address] for part in found]) for address in found[0]
            }
        except Exception as error:
            if not is_out_of_memory(error):
                raise
        # Here, not in the handler: its traceback would hold the tensors.
        return None


def _let_go() -> None:
    """Give unused memory of accelerators back."""
    torch = sys.modules.get("torch")
    if torch is not None and torch.cuda.is_available():
        torch.cuda.empty_cache()
