"""The main job on photographs that come with the toolbox, with a trained network, offline.

The photographs lie in ``photographs/``; ``CREDITS.md`` says whose they are.
"""

from .job import NETWORK, PHOTOGRAPHS, Demonstration, make_demo

__all__ = ["NETWORK", "PHOTOGRAPHS", "Demonstration", "make_demo"]
