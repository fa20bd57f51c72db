"""Figures, fit to be printed."""

from __future__ import annotations

from .bars import plot_models
from .rdm import plot_rdm
from .show import show_figure

__all__ = ["plot_models", "plot_rdm", "show_figure"]
