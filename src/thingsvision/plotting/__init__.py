"""Figures, fit to be printed."""

from __future__ import annotations

from .bars import plot_models
from .grid import plot_rdm_grid
from .profile import plot_profile
from .rdm import plot_rdm
from .show import show_figure

__all__ = ["plot_models", "plot_profile", "plot_rdm", "plot_rdm_grid", "show_figure"]
