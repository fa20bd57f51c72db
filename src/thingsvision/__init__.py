"""Activations of any module of any vision network, and their comparison with brains and behaviour.

The names below are imported when first used, so ``import thingsvision`` is quick.
"""

from __future__ import annotations

import sys
from importlib import import_module
from types import ModuleType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .datasets import fetch_dataset, list_datasets
    from .description import describe_methods
    from .diff import diff_features
    from .encoding.model import fit_encoding, linear_predictivity
    from .encoding.partition import partition_variance
    from .encoding.result import EncodingResult
    from .engines.ray import extract_with_ray
    from .engines.shard import extract_shard
    from .estimate import estimate_cost
    from .extraction import extract_features
    from .features import Features, FeatureSet
    from .planning import plan
    from .plotting import plot_models, plot_profile, plot_rdm, plot_rdm_grid
    from .preprocessing import Preprocessing
    from .report import make_set, read_sets, report_rsa
    from .responses import Responses, load_responses
    from .rsa.bootstrap import bootstrap
    from .rsa.ceiling import noise_ceiling
    from .rsa.cka import cka
    from .rsa.clustering import cluster_stimuli
    from .rsa.comparison import compare_rdms
    from .rsa.inference import compare_models, compare_models_pairwise
    from .rsa.loading import load_rdm
    from .rsa.module_choice import choose_module
    from .rsa.partition import partition_rdms
    from .rsa.permutation import permutation_test
    from .rsa.rdm import RDM, compute_rdm
    from .rsa.reweighting import compare_reweighted
    from .rsa.stacks import load_rdms
    from .similarity import image_text_similarity
    from .stimuli import StimulusSet, load_stimuli, load_texts
    from .store import open_features
    from .store.convert import convert_features
    from .streaming import stream_rdms
    from .verification import verify_features
    from .version2 import get_extractor, get_extractor_from_model
    from .zoo import list_models, load_model, load_models, wrap_model

_HOMES = {
    "EncodingResult": "encoding.result",
    "Features": "features",
    "FeatureSet": "features",
    "Preprocessing": "preprocessing",
    "RDM": "rsa.rdm",
    "Responses": "responses",
    "StimulusSet": "stimuli",
    "bootstrap": "rsa.bootstrap",
    "choose_module": "rsa.module_choice",
    "cka": "rsa.cka",
    "cluster_stimuli": "rsa.clustering",
    "compare_models": "rsa.inference",
    "compare_models_pairwise": "rsa.inference",
    "compare_rdms": "rsa.comparison",
    "compare_reweighted": "rsa.reweighting",
    "compute_rdm": "rsa.rdm",
    "convert_features": "store.convert",
    "describe_methods": "description",
    "diff_features": "diff",
    "estimate_cost": "estimate",
    "extract_features": "extraction",
    "extract_shard": "engines.shard",
    "extract_with_ray": "engines.ray",
    "fetch_dataset": "datasets",
    "fit_encoding": "encoding.model",
    "get_extractor": "version2",
    "get_extractor_from_model": "version2",
    "image_text_similarity": "similarity",
    "linear_predictivity": "encoding.model",
    "list_datasets": "datasets",
    "list_models": "zoo",
    "load_model": "zoo",
    "load_models": "zoo",
    "load_rdm": "rsa.loading",
    "load_rdms": "rsa.stacks",
    "load_responses": "responses",
    "load_stimuli": "stimuli",
    "load_texts": "stimuli",
    "make_set": "report",
    "noise_ceiling": "rsa.ceiling",
    "open_features": "store",
    "partition_rdms": "rsa.partition",
    "partition_variance": "encoding.partition",
    "permutation_test": "rsa.permutation",
    "plan": "planning",
    "plot_models": "plotting",
    "plot_profile": "plotting",
    "plot_rdm": "plotting",
    "plot_rdm_grid": "plotting",
    "read_sets": "report",
    "report_rsa": "report",
    "stream_rdms": "streaming",
    "verify_features": "verification",
    "wrap_model": "zoo",
}

__all__ = [
    "RDM",
    "EncodingResult",
    "FeatureSet",
    "Features",
    "Preprocessing",
    "Responses",
    "StimulusSet",
    "bootstrap",
    "choose_module",
    "cka",
    "cluster_stimuli",
    "compare_models",
    "compare_models_pairwise",
    "compare_rdms",
    "compare_reweighted",
    "compute_rdm",
    "convert_features",
    "describe_methods",
    "diff_features",
    "estimate_cost",
    "extract_features",
    "extract_shard",
    "extract_with_ray",
    "fetch_dataset",
    "fit_encoding",
    "get_extractor",
    "get_extractor_from_model",
    "image_text_similarity",
    "linear_predictivity",
    "list_datasets",
    "list_models",
    "load_model",
    "load_models",
    "load_rdm",
    "load_rdms",
    "load_responses",
    "load_stimuli",
    "load_texts",
    "make_set",
    "noise_ceiling",
    "open_features",
    "partition_rdms",
    "partition_variance",
    "permutation_test",
    "plan",
    "plot_models",
    "plot_profile",
    "plot_rdm",
    "plot_rdm_grid",
    "read_sets",
    "report_rsa",
    "stream_rdms",
    "verify_features",
    "wrap_model",
]
__version__ = "3.0.0.dev0"


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f".{_HOMES[name]}", __name__), name)


def __dir__() -> list[str]:
    return sorted([*__all__, "__version__"])


class _Former(ModuleType):
    """A module of version 2 under its former path; `version2` has its names."""

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return getattr(import_module(f"{__name__}.version2"), name)


for _path in ("utils", "utils.data", "utils.storing", "core", "core.rsa", "core.cka",
              "core.extraction"):  # fmt: skip
    _module = sys.modules[f"{__name__}.{_path}"] = _Former(f"{__name__}.{_path}")
    _module.__path__ = []  # others lie below it
