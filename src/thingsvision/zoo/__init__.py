"""Networks: found by name in sources that are asked what they have."""

from .card import ModelCard
from .catalogue import SOURCES, describe_model, list_models, load_model, wrap_model
from .network import Network
from .source import Choice, Source

__all__ = [
    "SOURCES",
    "Choice",
    "ModelCard",
    "Network",
    "Source",
    "describe_model",
    "list_models",
    "load_model",
    "wrap_model",
]
