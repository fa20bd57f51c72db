"""Batches: stimuli decoded and preprocessed, in the order of their rows."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float32

from .errors import ImageError, StimulusError, listing
from .preprocessing import Preprocessing, preprocess
from .stimuli import StimulusSet


@dataclass(frozen=True, eq=False)
class Batch:
    """Preprocessed images of successive rows.

    Parameters
    ----------
    start : int
        Row of the first.
    images : array of float32, shape (n_stimuli, height, width, 3)
    digests : tuple of str
        SHA-256 of what each image was decoded from.
    """

    start: int
    images: Float32[np.ndarray, "n_stimuli height width 3"]
    digests: tuple[str, ...]
