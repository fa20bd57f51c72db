"""Networks: found by name in sources that are asked what they have."""

from .card import ModelCard
from .catalogue import SOURCES, describe_model, find_model, list_models
from .loading import Networks, load_model, load_models
from .local import wrap_model
from .network import Network
from .source import Choice, Source

__all__ = [
    "SOURCES",
    "Choice",
    "ModelCard",
    "Network",
    "Networks",
    "Source",
    "describe_model",
    "find_model",
    "list_models",
    "load_model",
    "load_models",
    "wrap_model",
]
