"""Draws a replay's latencies: how they are spread, and how they went over the run."""

from io import BytesIO
from typing import Final

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from seda.sandbox.replay.figures import Report

DOTS_PER_INCH: Final = 100
_BINS: Final = 80
_STEP_SECONDS: Final = 0.5


def draw(report: Report) -> bytes:
    """A PNG."""
    figure = Figure(figsize=(9, 6.5), layout="constrained")
    FigureCanvasAgg(figure)
    spread, course, rates = figure.subplots(3, 1)
    messages = report.heard.messages
    at = messages.since - report.sent.started
    latency = (messages.arrived - messages.since) * 1e3
    _spread(spread, latency, report)
    _course(course, at, latency)
    _rates(rates, report)
    for axes in (course, rates):
        axes.axvline(report.plan.seconds, color="grey", linewidth=0.8, linestyle=":")
    buffer = BytesIO()
    figure.savefig(buffer, format="png", dpi=DOTS_PER_INCH)
    return buffer.getvalue()


def _spread(axes: Axes, latency: np.ndarray, report: Report) -> None:
    axes.hist(latency, bins=_BINS, color="tab:blue", alpha=0.8)
    for name in ("p50", "p95", "p99"):
        found = getattr(report.delivery, name)
        if np.isfinite(found):
            axes.axvline(found, color="tab:red", linewidth=0.8)
            axes.text(found, 0.92, f" {name}", transform=axes.get_xaxis_transform(), fontsize=8)
    axes.set(xlabel="ms from the oldest move to its message", ylabel="messages")


def _course(axes: Axes, at: np.ndarray, latency: np.ndarray) -> None:
    for share, color in ((50, "tab:blue"), (99, "tab:red")):
        steps = np.floor(at / _STEP_SECONDS).astype(np.int64)
        seen = np.unique(steps)
        values = [np.percentile(latency[steps == step], share) for step in seen]
        axes.plot((seen + 0.5) * _STEP_SECONDS, values, color=color, label=f"p{share}")
    axes.set(ylabel="ms", ylim=(0, None))
    axes.legend(loc="upper left", fontsize=8)


def _rates(axes: Axes, report: Report) -> None:
    started, messages = report.sent.started, report.heard.messages
    last = max([1.0, *(report.sent.done - started), *(messages.arrived[-1:] - started)])
    edges = np.arange(0, last + _STEP_SECONDS, _STEP_SECONDS)
    heard, _ = np.histogram(messages.arrived - started, edges)
    axes.step(edges[:-1], heard / _STEP_SECONDS, where="post", label="messages/s")
    moved = np.repeat(report.sent.done - started, 1)
    axes.plot(moved, np.full(len(moved), 0), "|", color="grey", label="batches of moves")
    axes.set(xlabel="seconds", ylabel="per second", ylim=(0, None))
    axes.legend(loc="upper left", fontsize=8)
