"""Tokenization: what happens to a text between its letters and the network."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from jaxtyping import Int64

from .errors import InvalidArgument


@dataclass(frozen=True)
class Tokenization:
    """The step from texts to a network's input.

    Parameters
    ----------
    tokenize : callable
        Takes a list of texts; gives an array of int64, shape ``(n_stimuli, *shape)``.
    shape : tuple of int
        Shape of one text's tokens, e.g. ``(77,)``.
    origin : str
        Name of the tokenizer, e.g. that of its library and its vocabulary.
    """

    tokenize: Callable[[Sequence[str]], Int64[np.ndarray, "n_stimuli ..."]] = field(
        repr=False, compare=False
    )
    shape: tuple[int, ...]
    origin: str

    def __call__(self, texts: Sequence[str]) -> Int64[np.ndarray, "n_stimuli ..."]:
        """Turn texts into tokens.

        Raises
        ------
        InvalidArgument
            If the tokenizer gives another shape than it promised.
        """
        tokens = np.asarray(self.tokenize(list(texts)), np.int64)
        if tokens.shape != (len(texts), *self.shape):
            raise InvalidArgument(
                f"The tokenizer {self.origin} gave tokens of the shape {tokens.shape} for "
                f"{len(texts)} texts, not {(len(texts), *self.shape)}."
            )
        return tokens

    def to_dict(self) -> dict[str, Any]:
        """Give the values as they are written to ``meta.json``."""
        return {"tokenizer": self.origin, "shape": list(self.shape)}

    def __str__(self) -> str:
        return f"{self.origin}, {' × '.join(map(str, self.shape))} tokens"
