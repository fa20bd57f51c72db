"""Encoding models: from features to the responses of voxels, channels and neurons."""

from __future__ import annotations

from .model import fit_encoding, linear_predictivity
from .partition import partition_variance
from .result import EncodingResult
from .scores import normalised_pearson, normalised_r2, pearson_score, r2_score

__all__ = [
    "EncodingResult",
    "fit_encoding",
    "linear_predictivity",
    "normalised_pearson",
    "normalised_r2",
    "partition_variance",
    "pearson_score",
    "r2_score",
]
