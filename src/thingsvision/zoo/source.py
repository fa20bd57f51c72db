"""The contract of a model source: a zoo that is asked what it has."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from .card import ModelCard
from .network import Network


@dataclass(frozen=True)
class Choice:
    """Which weights are wanted.

    Parameters
    ----------
    pretrained : bool
        Whether trained weights are wanted; otherwise a random initialisation.
    weights : str or None
        Name of the source's weights; None for the default ones.
    file : str or None
        Path of the user's own weights.
    seed : int
        Of the random initialisation.
    init : str or None
        Initialisation of random weights, one of `INITIALISATIONS`; None for the library's own.
    device : str
        Where to compute; ``"meta"`` gives a network without weights, for its modules' shapes.
    """

    pretrained: bool = True
    weights: str | None = None
    file: str | None = None
    seed: int = 0
    init: str | None = None
    device: str = "auto"


# Initialisations that every framework has, by the names of torch.nn.init. Weights are drawn that
# have two axes or more along which they differ; biases become zero, and what normalises or scales
# channels keeps its values.
INITIALISATIONS = (
    "kaiming_normal", "kaiming_uniform", "orthogonal", "xavier_normal", "xavier_uniform",
)  # fmt: skip


class Source(Protocol):
    """What a file in this folder, or a package with an entry point, provides.

    A source whose models cannot all be listed, such as a hub, also has ``accepts(name)``, which
    tells whether a name may be one of them; it is then taken whole, dots and all.
    """

    def names(self) -> list[str]:
        """List the models, without loading any."""

    def card(self, name: str, weights: str | None = None) -> ModelCard:
        """Describe a model, without loading or downloading it.

        Raises `UnknownName` for a model, or for weights, that it does not have.
        """

    def load(self, name: str, choice: Choice) -> Network:
        """Build a model with the wanted weights."""
