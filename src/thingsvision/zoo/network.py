"""Network: a model card, the native model, and the backend that runs it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

from ..backends.base import Backend, Survey
from ..preprocessing import Preprocessing
from .card import ModelCard

# For networks that take images of any size, where shapes are to be shown.
EXAMPLE_SIZE = 224


@dataclass(frozen=True, eq=False)
class Network:
    """A vision network that is ready to be run.

    Parameters
    ----------
    name : str
        Full spelling, ``source/name.weights``.
    model : object
        The native model, e.g. a ``torch.nn.Module``.
    backend : Backend
        What runs it.
    preprocessing : Preprocessing
        What the network expects of an image.
    card : ModelCard
        Everything else that is known of it.
    weights : dict
        Where the weights come from; goes into the provenance.
    """

    name: str
    model: Any
    backend: Backend
    preprocessing: Preprocessing
    card: ModelCard
    weights: Mapping[str, Any] = field(default_factory=dict)

    @cached_property
    def _surveys(self) -> dict[tuple[tuple[int, int], str], Survey]:
        return {}

    def modules(self, size: tuple[int, int] | None = None) -> Survey:
        """Find the names, types, calls and output shapes of all modules.

        Parameters
        ----------
        size : (int, int), optional
            Height and width of the input; by default what the preprocessing gives.

        Returns
        -------
        Survey
            Found once for each size, as long as the model stays as it is.
        """
        size = size or self.example_size
        key = (size, self.structure)
        if key not in self._surveys:
            self._surveys[key] = self.backend.modules(self.model, size)
        return self._surveys[key]

    @property
    def example_size(self) -> tuple[int, int]:
        """Height and width of the input, or an example of it where any size will do."""
        side = self.preprocessing.resize
        side = side if isinstance(side, int) else EXAMPLE_SIZE
        return self.preprocessing.shape(side, side)

    @property
    def structure(self) -> str:
        """The modules and their settings, in words."""
        return self.backend.structure(self.model)

    @property
    def digest(self) -> str:
        """SHA-256 of the weights, as they are now."""
        return self.backend.digest(self.model)

    def preprocessed(self, preprocessing: Preprocessing | None = None, **values: Any) -> Network:
        """Give the same network with other preprocessing, which is recorded.

        Parameters
        ----------
        preprocessing : Preprocessing, optional
            Used in place of the network's own.
        **values
            Fields of `Preprocessing` to replace, e.g. ``resize=224, crop=None``.

        Returns
        -------
        Network
            Shares the model with this one.
        """
        chosen = preprocessing or self.preprocessing
        return replace(self, preprocessing=chosen.override(**values) if values else chosen)

    def __repr__(self) -> str:
        return f"Network({self.name!r}: {self.preprocessing})"
