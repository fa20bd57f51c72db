"""What is known of a model before it is loaded."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from ..preprocessing import Preprocessing


@dataclass(frozen=True)
class ModelCard:
    """What is known of a model before it is loaded.

    Parameters
    ----------
    name : str
        Full spelling, ``source/name`` or ``source/name.weights``.
    task : str
        E.g. ``"classification"``.
    weights : str or None
        Name of the weights that the card speaks of: the default ones, if none were named.
    all_weights : tuple of str
        Names of all weights the source has for this model, the default first.
    preprocessing : Preprocessing or None
        As the weights ask for it; None where no single image can be fed.
    parameters : int or None
        Number of parameters.
    classes : tuple of str
        Names of the output's classes, if it has any.
    training_data, licence, citation, url : str
        As far as the source says.
    refusal : str
        Why the model cannot be used here; empty if it can.
    """

    name: str
    task: str = ""
    weights: str | None = None
    all_weights: tuple[str, ...] = ()
    preprocessing: Preprocessing | None = None
    parameters: int | None = None
    classes: tuple[str, ...] = ()
    training_data: str = ""
    licence: str = ""
    citation: str = ""
    url: str = ""
    refusal: str = ""

    def to_dict(self) -> dict[str, Any]:
        """Give the fields as plain values."""
        return asdict(self)
