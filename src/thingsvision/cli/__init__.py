"""The command line: one shell for each verb, thin over the function of the same words."""

from .program import main

__all__ = ["main"]
