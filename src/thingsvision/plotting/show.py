"""Figures on the screen."""

from __future__ import annotations

from matplotlib.figure import Figure


def show_figure(figure: Figure) -> None:
    """Open a figure in a window, or below the cell of a notebook."""
    import matplotlib.pyplot as plt

    window = plt.figure().canvas.manager
    assert window is not None  # pyplot's figures have one
    window.canvas.figure = figure
    figure.set_canvas(window.canvas)
    plt.show()
