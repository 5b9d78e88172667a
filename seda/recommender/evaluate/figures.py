"""Figures of an evaluation: drawn in memory with matplotlib, without windows or global state."""

from base64 import b64encode
from io import BytesIO

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from seda.recommender.evaluate.pipeline import POPULARITY, PUBLISHED, EvaluationReport

_PUBLISHED_COLOUR, _OTHER_COLOUR = "#1f6f8b", "#b8c4cc"
DOTS_PER_INCH = 90


def accuracy_figure(report: EvaluationReport) -> Figure:
    """NDCG@10 of every method with its interval, best first."""
    figure = Figure(figsize=(7, 0.5 + 0.4 * len(report.methods)), layout="constrained")
    axes = figure.add_subplot()
    ordered = sorted(report.methods, key=lambda each: each.overall.ndcg.value)
    for place, method in enumerate(ordered):
        estimate = method.overall.ndcg
        axes.barh(place, estimate.value, color=_colour(method.name))
        axes.plot([estimate.low, estimate.high], [place, place], color="black", linewidth=1)
    axes.set_yticks(range(len(ordered)), [each.name for each in ordered])
    axes.set_xlabel("NDCG@10, with its 95 % interval")
    return figure


def tradeoff_figure(report: EvaluationReport) -> Figure:
    """Accuracy against variety: NDCG@10 and the distance within lists of 50."""
    figure = Figure(figsize=(7, 3.6), layout="constrained")
    axes = figure.add_subplot()
    for method in report.methods:
        point = (method.overall.list_distance.value, method.overall.ndcg.value)
        axes.scatter(*point, color=_colour(method.name), s=50)
        axes.annotate(method.name, point, xytext=(5, 4), textcoords="offset points", fontsize=8)
    axes.set_xlabel("intra-list distance (50 places)")
    axes.set_ylabel("NDCG@10")
    axes.margins(x=0.15, y=0.15)
    return figure


def cohorts_figure(report: EvaluationReport) -> Figure:
    """NDCG@10 per cohort, the published lists beside popularity."""
    figure = Figure(figsize=(7, 3), layout="constrained")
    axes = figure.add_subplot()
    shown = [each for each in report.methods if each.name in (PUBLISHED, POPULARITY)]
    for offset, method in enumerate(shown):
        names = list(method.cohorts)
        places = np.arange(len(names)) + 0.4 * offset
        estimates = [method.cohorts[name].ndcg for name in names]
        axes.bar(
            places, [each.value for each in estimates], 0.38, color=_colour(method.name),
            label=method.name,
        )  # fmt: skip
        for place, each in zip(places, estimates, strict=True):
            axes.plot([place, place], [each.low, each.high], color="black", linewidth=1)
        axes.set_xticks(
            np.arange(len(names)) + 0.2,
            [f"{name}\n{method.cohorts[name].users:,} people" for name in names],
        )
    axes.set_ylabel("NDCG@10")
    axes.legend(frameon=False)
    return figure


def data_uri(figure: Figure) -> str:
    """The figure as a PNG that a page can hold within itself."""
    FigureCanvasAgg(figure)
    buffer = BytesIO()
    figure.savefig(buffer, format="png", dpi=DOTS_PER_INCH)
    return f"data:image/png;base64,{b64encode(buffer.getvalue()).decode()}"


def _colour(name: str) -> str:
    return _PUBLISHED_COLOUR if name == PUBLISHED else _OTHER_COLOUR
