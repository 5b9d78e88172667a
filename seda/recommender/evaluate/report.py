"""An evaluation as text: rows for a table, and one self-contained HTML page with its figures."""

from collections.abc import Mapping, Sequence
from html import escape

from seda.recommender.evaluate.figures import (
    accuracy_figure,
    cohorts_figure,
    data_uri,
    tradeoff_figure,
)
from seda.recommender.evaluate.intervals import Estimate
from seda.recommender.evaluate.measures import Evaluation
from seda.recommender.evaluate.pipeline import EvaluationReport

COLUMNS = (
    "method", "NDCG@10", "95 % interval", "Recall@20", "MAP@10", "NDCG@100", "coverage@10",
    "Gini", "novelty (bits)", "distance@10", "distance@50", "miscalibration",
)  # fmt: skip
"""Header of `rows`."""

_STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; max-width: 72rem; margin: 2rem auto; padding: 0 1rem }
table { border-collapse: collapse; margin: 1rem 0; font-variant-numeric: tabular-nums }
th, td { padding: .25rem .7rem; text-align: right; border-bottom: 1px solid #ddd }
th:first-child, td:first-child { text-align: left }
img { max-width: 100%; display: block; margin: 1rem 0 }
.leak { color: #a00000; font-weight: 600 } .note { color: #555 }
"""


def rows(report: EvaluationReport) -> list[tuple[str, ...]]:
    """One row of text per method, as `COLUMNS`, the published lists first."""
    return [_row(method.name, method.overall) for method in report.methods]


def summary(report: EvaluationReport) -> str:
    """One sentence on what was measured."""
    how = (
        "their newest plays hidden by time"
        if report.split == "time"
        else "a fifth of each one's plays hidden"
    )
    return (
        f"{report.users:,} people with something hidden, {how}: {report.held_out:,} plays; fitted "
        f"on {report.people:,} people and {report.items:,} items."
    )


def html_page(title: str, reports: Mapping[str, EvaluationReport], *, made: str) -> str:
    """A whole page without outside resources: tables, paired differences, cohorts, figures.

    `reports` by heading; `made` says when and by what.
    """
    sections = "".join(_section(heading, report) for heading, report in reports.items())
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        f"<title>{escape(title)}</title><style>{_STYLE}</style></head><body>"
        f'<h1>{escape(title)}</h1><p class="note">{escape(made)}</p>{sections}</body></html>\n'
    )


def _section(heading: str, report: EvaluationReport) -> str:
    leaks = "".join(f'<p class="leak">Leak: {escape(leak)}</p>' for leak in report.leaks)
    differences = [
        (each.against, _signed(each.ndcg), _signed(each.recall), _signed(each.list_distance))
        for each in report.differences
    ]
    cohorts = [
        _row(name, evaluation, str(evaluation.users))
        for name, evaluation in report.methods[0].cohorts.items()
    ]
    images = "".join(
        f'<img alt="{alt}" src="{data_uri(draw(report))}">'
        for alt, draw in (
            ("NDCG@10 by method", accuracy_figure),
            ("accuracy against variety", tradeoff_figure),
            ("NDCG@10 by cohort", cohorts_figure),
        )
    )
    return (
        f"<h2>{escape(heading)}</h2><p>{escape(summary(report))}</p>{leaks}"
        f"{_table(COLUMNS, rows(report))}"
        "<h3>The published lists minus each other method, paired by person</h3>"
        f"{_table(('against', 'NDCG@10', 'Recall@20', 'distance@50'), differences)}"
        f"<h3>The published lists by cohort</h3>{_table((*COLUMNS, 'people'), cohorts)}{images}"
    )


def _row(name: str, evaluation: Evaluation, *more: str) -> tuple[str, ...]:
    ndcg = evaluation.ndcg
    return (
        name,
        f"{ndcg.value:.4f}",
        f"{ndcg.low:.4f} – {ndcg.high:.4f}",
        f"{evaluation.recall.value:.4f}",
        f"{evaluation.average_precision.value:.4f}",
        f"{evaluation.ndcg_100.value:.4f}",
        f"{evaluation.coverage:.3f}",
        f"{evaluation.gini:.3f}",
        f"{evaluation.novelty.value:.2f}",
        f"{evaluation.distance.value:.3f}",
        f"{evaluation.list_distance.value:.3f}",
        f"{evaluation.miscalibration.value:.3f}",
        *more,
    )


def _signed(estimate: Estimate) -> str:
    return f"{estimate.value:+.4f} [{estimate.low:+.4f}, {estimate.high:+.4f}]"


def _table(header: Sequence[str], body: Sequence[Sequence[str]]) -> str:
    head = "".join(f"<th>{escape(cell)}</th>" for cell in header)
    lines = "".join(
        "<tr>" + "".join(f"<td>{escape(cell)}</td>" for cell in row) + "</tr>" for row in body
    )
    return f"<table><thead><tr>{head}</tr></thead><tbody>{lines}</tbody></table>"
