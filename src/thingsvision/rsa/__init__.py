"""Representational similarity analysis: from features to RDMs, and from RDMs to their likeness."""

from __future__ import annotations

from .bootstrap import Bootstrap, bootstrap
from .cca import cca
from .ceiling import NoiseCeiling, noise_ceiling
from .cka import cka, procrustes, rv
from .comparison import COMPARISONS, compare_rdms
from .dissimilarity import DISSIMILARITIES
from .inference import compare_models, compare_models_pairwise
from .loading import load_rdm
from .module_choice import ModuleChoice, choose_module
from .permutation import permutation_test
from .rdm import RDM, compute_rdm

__all__ = [
    "COMPARISONS",
    "DISSIMILARITIES",
    "RDM",
    "Bootstrap",
    "ModuleChoice",
    "NoiseCeiling",
    "bootstrap",
    "cca",
    "choose_module",
    "cka",
    "compare_models",
    "compare_models_pairwise",
    "compare_rdms",
    "compute_rdm",
    "load_rdm",
    "noise_ceiling",
    "permutation_test",
    "procrustes",
    "rv",
]
