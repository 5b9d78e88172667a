"""A replay's report as rows of a table and as one page."""

import math
from base64 import b64encode
from html import escape

from seda.sandbox.replay.drawing import draw
from seda.sandbox.replay.figures import SATURATED, Latencies, Report, latencies


def rows(report: Report) -> list[tuple[str, str]]:
    """What was measured, and its value, in the order of interest."""
    sent, heard, difference = report.sent, report.heard, report.difference
    lag = _lag(report)
    return [
        ("moves sent", f"{sent.moves:,} and {sent.repeats:,} of them twice, {sent.rate():,.0f}/s"),
        ("clients", f"{heard.connected:,} of {report.clients:,} among {report.people:,} people"),
        ("delivery from the oldest move", _text(report.delivery)),
        ("changes expected / delivered", f"{difference.expected:,} / {difference.delivered:,}"),
        ("lost / duplicated", f"{difference.lost:,} / {difference.duplicated:,}"),
        ("messages", f"{len(heard.messages.viewers):,}, {_per_message(report):.1f} changes each"),
        (
            "toasts",
            f"{len(heard.toasts.viewers):,}: {_per_client(report):.2f} per client, at most "
            f"{report.most_toasts}; caps violated: {report.caps_violated:,}",
        ),
        ("toast after its decision", _text(report.toast_latency)),
        ("intake refused", f"{sent.refused:,}"),
        ("connections lost", f"{heard.lost_connections:,}"),
        ("moves sent late by", f"p99 {lag:.0f} ms"),
        ("clients' loop late by", f"p99 {_late(report):.0f} ms"),
        ("cores used", "; ".join(f"{load.name} {load.cores:.2f}" for load in report.loads)),
    ]


def verdict(report: Report) -> str:
    """One sentence or two."""
    if report.difference.expected == 0:
        said = "Nobody had to hear of anything: ask for more clients or moves."
    elif report.faithful:
        said = "Everybody heard of every move of their visible friends exactly once."
    else:
        difference = report.difference
        said = (
            f"{difference.lost:,} changes were lost and {difference.duplicated:,} came twice, "
            f"{report.caps_violated:,} toasts broke a cap, {report.sent.refused:,} moves were not "
            f"taken once, {report.heard.lost_connections:,} connections were lost."
        )
    if report.saturated:
        said += (
            f" The replayer used {SATURATED:.0%} of a core or more, so its latencies are partly "
            "its own: use --processes, or ask for less."
        )
    return said


def html_page(report: Report, made: str) -> str:
    """A page of its own, the figures inside."""
    table = "".join(
        f"<tr><th>{escape(name)}</th><td>{escape(value)}</td></tr>" for name, value in rows(report)
    )
    picture = b64encode(draw(report)).decode()
    return (
        "<!doctype html><meta charset=utf-8><title>Replay</title>"
        "<style>body{font:15px sans-serif;max-width:60em;margin:2em auto}"
        "th{text-align:left;padding-right:2em;font-weight:normal;color:#555}</style>"
        f"<h1>Replay: {escape(title(report))}</h1><p>{escape(verdict(report))}</p>"
        f"<table>{table}</table><img alt='Latencies' src='data:image/png;base64,{picture}'>"
        f"<p>{escape(made)}</p>"
    )


def title(report: Report) -> str:
    """What was asked for."""
    plan = report.plan
    burst = f", bursts of {plan.burst:,.0f}/s" if plan.scenario == "burst" else ""
    return (
        f"{plan.scenario}, {plan.rate:,.0f} moves/s{burst}, {plan.seconds:,.0f} s, "
        f"{report.clients:,} clients, seed {plan.seed}"
    )


def _lag(report: Report) -> float:
    """P99 of how long after its first move was due a batch was committed, in milliseconds."""
    lag = latencies(report.sent.done - report.sent.due).p99
    return 0.0 if math.isnan(lag) else lag


def _late(report: Report) -> float:
    late = latencies(report.heard.late).p99
    return 0.0 if math.isnan(late) else late


def _per_message(report: Report) -> float:
    return report.difference.delivered / max(1, len(report.heard.messages.viewers))


def _per_client(report: Report) -> float:
    return len(report.heard.toasts.viewers) / max(1, report.clients)


def _text(found: Latencies) -> str:
    if not found.count:
        return "none"
    return (
        f"p50 {found.p50:,.0f}, p95 {found.p95:,.0f}, p99 {found.p99:,.0f}, "
        f"max {found.most:,.0f} ms"
    )
