"""Figures as metadata: a PNG inside Markdown, which the UI shows. What is drawn is the caller's."""

from base64 import b64encode
from io import BytesIO

import dagster as dg
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

DOTS_PER_INCH = 80


def new_figure(width: float = 8, height: float = 3) -> Figure:
    """An empty figure of that size in inches; no global state, no window."""
    return Figure(figsize=(width, height), layout="constrained")


def png(figure: Figure) -> dg.MarkdownMetadataValue:
    """The figure as an image in Markdown, some tens of kilobytes."""
    FigureCanvasAgg(figure)
    buffer = BytesIO()
    figure.savefig(buffer, format="png", dpi=DOTS_PER_INCH)
    return dg.MetadataValue.md(
        f"![figure](data:image/png;base64,{b64encode(buffer.getvalue()).decode()})"
    )
