"""Responses: what voxels, channels or neurons answered to stimuli."""

from .records import Responses, load_responses

__all__ = ["Responses", "load_responses"]
