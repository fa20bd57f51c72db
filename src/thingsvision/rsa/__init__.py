"""Representational similarity analysis: from features to RDMs, and from RDMs to their likeness."""

from __future__ import annotations

from .comparison import COMPARISONS, compare_rdms
from .dissimilarity import DISSIMILARITIES
from .rdm import RDM, compute_rdm, load_rdm

__all__ = [
    "COMPARISONS",
    "DISSIMILARITIES",
    "RDM",
    "compare_rdms",
    "compute_rdm",
    "load_rdm",
]
