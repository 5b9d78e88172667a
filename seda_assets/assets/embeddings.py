"""Reports on embeddings: what they cost, how the providers do, whether a shadow space agrees.

They read the ledger, the breakers' log and stored vectors; nothing is embedded here.
"""

from datetime import datetime, timedelta
from itertools import pairwise
from typing import Any

import dagster as dg
from matplotlib.dates import ConciseDateFormatter
from matplotlib.figure import Figure

from seda.database.regions import Region, RegionalDatabase
from seda.embeddings.breaker import Phase
from seda.embeddings.breaker_rows import LoggedTransition, breakers, transitions
from seda.embeddings.budget import SpendVerdict
from seda.embeddings.shadow import Agreement
from seda.embeddings.spend import BudgetStatus, DailySpend, budget_status, daily_spend
from seda.embeddings.waiting import queue_depths
from seda.vectorstore.shadow_sample import shadow_agreements
from seda_assets.automation.freshness import HOURLY, NIGHTLY
from seda_assets.plots import new_figure, png
from seda_assets.resources import Platform

REPORTED_DAYS = 31
_PHASE_LEVELS = {Phase.CLOSED: 0, Phase.HALF_OPEN: 1, Phase.OPEN: 2}
_VECTORS = [dg.AssetKey(["seda", f"{kind}s_vectors"]) for kind in ("artist", "playlist", "room")]


def _report(name: str, freshness: dg.FreshnessPolicy, **more: Any) -> dict[str, Any]:
    """What the reports' decorators share."""
    return {
        "name": name,
        "deps": _VECTORS,
        "group_name": "embeddings",
        "owners": ["team:recommendations"],
        "kinds": {"python", "postgres"},
        "tags": {"seda/layer": "reports"},
        "freshness_policy": freshness,
        "code_version": "1",
        **more,
    }


@dg.asset(
    **_report("embedding_spend", HOURLY),
    check_specs=[
        dg.AssetCheckSpec(
            "within_budget",
            asset="embedding_spend",
            description="The month is below 80 % of the cap (a warning), and below it (an error).",
        )
    ],
)
def embedding_spend(platform: dg.ResourceParam[Platform]) -> dg.MaterializeResult:
    """What embeddings cost by day, provider and job, the month's projection, and the caps.

    The ledger is per region; only the global region has providers that cost money."""
    now = platform.now()
    metadata: dict[str, Any] = {}
    statuses: dict[Region, BudgetStatus] = {}
    spent: list[DailySpend] = []
    for database in platform.databases:
        budget = platform.embeddings(database.region).policy.rules.budget
        with database.transaction() as connection:
            status = statuses[database.region] = budget_status(connection, budget, now=now)
            spent += daily_spend(connection, days=REPORTED_DAYS, now=now)
        metadata |= _budget_facts(database.region, status)
    metadata["plot"] = png(_spend_figure(spent, statuses[Region.GLOBAL], now))
    metadata["by_provider_and_job"] = dg.MetadataValue.md(_spend_table(spent))
    return dg.MaterializeResult(
        metadata=metadata, check_results=[_within_budget(statuses[Region.GLOBAL])]
    )


@dg.asset(**_report("embedding_breakers", HOURLY))
def embedding_breakers(platform: dg.ResourceParam[Platform]) -> dg.MaterializeResult:
    """Each provider's circuit breaker: its phase now, its timeline, and the texts that wait."""
    now = platform.now()
    metadata: dict[str, Any] = {}
    for database in platform.databases:
        with database.transaction() as connection:
            present = breakers(connection)
            log = transitions(connection, since=now - timedelta(days=REPORTED_DAYS))
            waiting = queue_depths(connection)
        for provider, breaker in present.items():
            metadata[f"{provider}_{database.region}"] = str(breaker.phase)
        metadata[f"transitions_{database.region}"] = len(log)
        metadata[f"waiting_texts_{database.region}"] = sum(depth.texts for depth in waiting)
        if log:
            metadata[f"timeline_{database.region}"] = png(_timeline_figure(log, now))
            metadata[f"log_{database.region}"] = dg.MetadataValue.md(_log_table(log))
    return dg.MaterializeResult(metadata=metadata)


@dg.asset(**_report("shadow_agreement", NIGHTLY))
def shadow_agreement(platform: dg.ResourceParam[Platform]) -> dg.MaterializeResult:
    """How far a shadow space sees the same neighbours as the active one: recall@10 overlap, and
    the drift of similarities, over the shadow-written sample."""
    metadata: dict[str, Any] = {"spaces": 0}
    for database in platform.databases:
        agreements = _agreements(platform, database)
        metadata["spaces"] += len({space for space, _ in agreements})
        for (space, kind), found in agreements.items():
            name = f"{space.replace(':', '_')}_{kind}"
            metadata[f"{name}_entities"] = found.entities
            metadata[f"{name}_overlap_at_{found.neighbours}"] = found.overlap
            metadata[f"{name}_correlation"] = found.correlation
            metadata[f"{name}_drift"] = found.drift
        if agreements:
            metadata[f"plot_{database.region}"] = png(_agreement_figure(agreements))
    return dg.MaterializeResult(metadata=metadata)


def _agreements(platform: Platform, database: RegionalDatabase) -> dict[tuple[str, str], Agreement]:
    with database.transaction() as connection:
        return shadow_agreements(connection, platform.active_space(database.region))


def _budget_facts(region: Region, status: BudgetStatus) -> dict[str, Any]:
    facts: dict[str, Any] = {
        f"month_usd_{region}": float(status.committed_usd),
        f"projected_month_usd_{region}": float(status.projected_usd),
        f"cap_usd_{region}": float(status.budget.cap_usd),
    }
    if status.override:
        facts[f"override_until_{region}"] = status.override.expires_at.isoformat()
    return facts


def _within_budget(status: BudgetStatus) -> dg.AssetCheckResult:
    is_over = status.committed_usd >= status.budget.cap_usd > 0
    is_high = status.committed_usd >= status.budget.pause_usd > 0
    said = SpendVerdict.STOPPED if is_over else SpendVerdict.PAUSED if is_high else "ok"
    return dg.AssetCheckResult(
        check_name="within_budget",
        passed=not is_high,
        severity=dg.AssetCheckSeverity.ERROR if is_over else dg.AssetCheckSeverity.WARN,
        metadata={"share_of_cap": status.share, "state": str(said)},
    )


def _spend_table(spent: list[DailySpend]) -> str:
    sums: dict[tuple[str, str], list[float]] = {}
    for each in spent:
        amounts = sums.setdefault((each.provider, each.job), [0.0, 0, 0, 0])
        added = (float(each.usd), each.tokens, each.requests, each.failures)
        amounts[:] = [one + other for one, other in zip(amounts, added, strict=True)]
    lines = ["| provider | job | usd | tokens | requests | failed |", "| --- " * 6 + "|"]
    for (provider, job), (usd, tokens, requests, failures) in sorted(sums.items()):
        lines.append(
            f"| {provider} | {job} | {usd:.4f} | {tokens:,.0f} | {requests:,.0f} "
            f"| {failures:,.0f} |"
        )
    return "\n".join(lines)


def _spend_figure(spent: list[DailySpend], status: BudgetStatus, now: datetime) -> Figure:
    figure = new_figure()
    days_axes, month_axes = figure.subplots(1, 2, width_ratios=(3, 1))
    bottoms: dict[Any, float] = {}
    for label in sorted({(each.provider, each.job) for each in spent if each.usd}):
        mine = [each for each in spent if (each.provider, each.job) == label]
        heights = [float(each.usd) for each in mine]
        floors = [bottoms.get(each.day, 0.0) for each in mine]
        days_axes.bar([each.day for each in mine], heights, bottom=floors, label=" ".join(label))
        for each, height in zip(mine, heights, strict=True):
            bottoms[each.day] = bottoms.get(each.day, 0.0) + height
    days_axes.set_title("USD per day, by provider and job")
    days_axes.set_xlim(now.date() - timedelta(days=REPORTED_DAYS), now.date() + timedelta(days=1))
    days_axes.xaxis.set_major_formatter(ConciseDateFormatter(days_axes.xaxis.get_major_locator()))
    if bottoms:
        days_axes.legend(fontsize="small", loc="upper left")
    amounts = [float(status.committed_usd), float(status.projected_usd)]
    bars = month_axes.bar(["so far", "projected"], amounts)
    month_axes.bar_label(bars, [f"${amount:,.2f}" for amount in amounts])
    month_axes.axhline(float(status.budget.cap_usd), color="tab:red", label="cap")
    month_axes.axhline(float(status.budget.pause_usd), color="tab:orange", label="80 %")
    month_axes.set_title("This month, USD")
    month_axes.legend(fontsize="small")
    return figure


def _timeline_figure(log: list[LoggedTransition], now: datetime) -> Figure:
    providers = sorted({entry.provider for entry in log})
    figure = new_figure(height=1 + 1.2 * len(providers))
    for axes, provider in zip(
        figure.subplots(len(providers), squeeze=False)[:, 0], providers, strict=True
    ):
        mine = [entry for entry in log if entry.provider == provider]
        moments = [entry.happened_at for entry in mine] + [now]
        for entry, (start, end) in zip(mine, pairwise(moments), strict=True):
            axes.hlines(_PHASE_LEVELS[entry.after], start, end, linewidth=4)
        axes.set_yticks(list(_PHASE_LEVELS.values()), [str(phase) for phase in _PHASE_LEVELS])
        axes.set_ylim(-0.5, 2.5)
        axes.set_title(provider, fontsize="small")
        axes.xaxis.set_major_formatter(ConciseDateFormatter(axes.xaxis.get_major_locator()))
    return figure


def _log_table(log: list[LoggedTransition]) -> str:
    lines = ["| when | provider | from | to | why |", "| --- " * 5 + "|"]
    for entry in log[-50:]:
        lines.append(
            f"| {entry.happened_at:%Y-%m-%d %H:%M:%S} | {entry.provider} | {entry.before} "
            f"| {entry.after} | {entry.reason} |"
        )
    return "\n".join(lines)


def _agreement_figure(agreements: dict[tuple[str, str], Agreement]) -> Figure:
    figure = new_figure(width=6)
    axes = figure.subplots()
    labels = [f"{kind}\n{space.split(':')[0]}" for space, kind in agreements]
    axes.bar(labels, [found.overlap for found in agreements.values()], label="overlap@10")
    axes.plot(labels, [found.expected_overlap for found in agreements.values()], "_", color="black",
              markersize=30, label="by chance")  # fmt: skip
    axes.set_ylim(0, 1)
    axes.set_title("Shadow and active space: shared neighbours")
    axes.legend(fontsize="small")
    return figure
