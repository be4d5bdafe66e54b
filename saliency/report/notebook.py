"""A matplotlib figure that a notebook shows, whether or not pyplot is there."""

from matplotlib.figure import Figure

from saliency.report.page import png


class NotebookFigure(Figure):
    def _repr_png_(self) -> bytes:
        return png(self)
