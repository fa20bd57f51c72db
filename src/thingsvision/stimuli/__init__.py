"""Stimuli: images or texts in a stated order, with names."""

from .loading import load_stimuli
from .stimulus_set import StimulusSet
from .texts import load_texts

__all__ = ["StimulusSet", "load_stimuli", "load_texts"]
