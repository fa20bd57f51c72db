"""The contract between the toolbox and a deep-learning framework.

A survey tells what a network's modules give back; addresses are resolved against it into
captures; a backend runs a batch and returns the captures.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol, runtime_checkable

from numpy.typing import NDArray

from ..reduction import Reduce
from .survey import Capture, Survey


class Backend(Protocol):
    """What a framework must be able to do.

    ``modules`` tells what can be had; ``run`` gets it. A model is left as it was found.
    """

    @property
    def name(self) -> str:
        """Name the framework, e.g. ``"torch"``."""

    @property
    def device(self) -> str:
        """Name where it computes, e.g. ``"cpu"``."""

    def modules(self, model: Any, size: tuple[int, ...]) -> Survey:
        """Find names, types, calls and output shapes.

        `size` is the height and width of images, or the shape of one text's tokens.
        """

    def run(
        self,
        model: Any,
        batch: NDArray[Any],
        captures: Sequence[Capture],
        reductions: Mapping[str, Reduce],
        *,
        seed: int = 0,
        full: bool = False,
    ) -> dict[str, NDArray[Any]]:
        """Run one batch and return the captures by address, one row per stimulus.

        A batch holds preprocessed images, shape ``(n_stimuli, height, width, 3)``, or the
        tokens of texts, shape ``(n_stimuli, ...)``. A reduction is called with the private copy
        of an output, its rows the stimuli; a missing one keeps the shape.
        """

    def digest(self, model: Any) -> str:
        """Compute the SHA-256 of all weights."""

    def structure(self, model: Any) -> str:
        """Describe the modules and their settings, in the same words in every process."""


class Way(Protocol):
    """How a forward pass is made; equal ways are the same, and print in words."""

    def in_precision(self, precision: str) -> Way:
        """Give the same way in ``"float32"``, ``"bfloat16"`` or ``"float16"``."""


@runtime_checkable
class FastBackend(Protocol):
    """What a backend may be able to do besides: a faster way through a network.

    Its ``run`` takes such a way as the argument ``way``; without it, or with ``plain_way``, it
    computes as the network's own library does.
    """

    @property
    def plain_way(self) -> Way:
        """The way of the network's own library."""

    def faster(
        self, model: Any, batch: NDArray[Any], captures: Sequence[Capture], *, seed: int = 0
    ) -> Way:
        """Find a faster way, whose results differ in the last bits; the plain one if none is."""

    def check_precision(self, precision: str) -> None:
        """Refuse, with the reason, a precision in which nothing is gained here."""
