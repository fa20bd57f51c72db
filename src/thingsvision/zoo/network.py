"""Network: a model card, the native model, and the backend that runs it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

from ..backends.base import Backend
from ..backends.survey import Survey
from ..errors import InvalidArgument
from ..preprocessing import Preprocessing
from ..tokenization import Tokenization
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
    preprocessing : Preprocessing or Tokenization
        What the network expects of an image, or of a text.
    card : ModelCard
        Everything else that is known of it.
    weights : dict
        Where the weights come from; goes into the provenance.
    aliases : dict of str to str
        Further names of modules, e.g. ``{"text": "output"}``.
    text : Network or None
        The same vision–language model, entered by its texts.
    """

    name: str
    model: Any
    backend: Backend
    preprocessing: Preprocessing | Tokenization
    card: ModelCard
    weights: Mapping[str, Any] = field(default_factory=dict)
    aliases: Mapping[str, str] = field(default_factory=dict)
    text: Network | None = None

    def for_modality(self, modality: str) -> Network:
        """Give the network that takes stimuli of a kind: images, or texts.

        Parameters
        ----------
        modality : {"image", "text"}

        Raises
        ------
        InvalidArgument
            If it takes no texts.
        """
        if modality != "text" or isinstance(self.preprocessing, Tokenization):
            return self
        if self.text is None:
            raise InvalidArgument(
                f"The stimuli are texts, but {self.name} takes images only. Networks that take "
                "both: thingsvision models 'openclip/*'."
            )
        return self.text

    @cached_property
    def _surveys(self) -> dict[tuple[tuple[int, ...], str], Survey]:
        return {}

    def modules(self, size: tuple[int, ...] | None = None) -> Survey:
        """Find the names, types, calls and output shapes of all modules.

        Parameters
        ----------
        size : tuple of int, optional
            Height and width of the input; by default what the preprocessing gives.

        Returns
        -------
        Survey
            Found once for each size, as long as the model stays as it is.
        """
        size = size or self.example_size
        key = (size, self.structure)
        if key not in self._surveys:
            survey = self.backend.modules(self.model, size)
            self._surveys[key] = replace(survey, aliases={**survey.aliases, **self.aliases})
        return self._surveys[key]

    @property
    def example_size(self) -> tuple[int, ...]:
        """Shape of the input without channels, or an example of it where any size will do."""
        if isinstance(self.preprocessing, Tokenization):
            return self.preprocessing.shape
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
        if isinstance(chosen, Tokenization):
            raise InvalidArgument("Texts are tokenized; resize, crop and the like are for images.")
        weights = dict(self.weights)
        if preprocessing or values.keys() - {"decode"}:
            # What was assumed of the weights' preprocessing no longer holds.
            weights.pop("preprocessing", None)
        chosen = chosen.override(**values) if values else chosen
        return replace(self, preprocessing=chosen, weights=weights)

    def __repr__(self) -> str:
        return f"Network({self.name!r}: {self.preprocessing})"
