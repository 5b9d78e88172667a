"""Sensors that tell people: a run failed, money is running out, a model's lists are to be computed.

Each gives a notice under a key that makes a second look at the same thing no second notice, and
shows it on an asset's page. The row comes first: whatever is killed after it, it stays.
"""

from collections.abc import Iterable, Mapping

import dagster as dg

from seda.database.regions import Region
from seda.embeddings.spend import BudgetStatus, budget_status
from seda.observability.notices import Notice, NoticeKind, give
from seda_assets.backfills import PUBLISHED, RANKED, active_versions, outdated_shards
from seda_assets.resources import Platform

SPEND_SHARES = (80, 100)
"""Percents of the month's cap at which somebody is told."""
_RANKING_JOBS = ("nightly", "model_backfill")
_UNFINISHED = [
    dg.DagsterRunStatus.QUEUED,
    dg.DagsterRunStatus.NOT_STARTED,
    dg.DagsterRunStatus.STARTING,
    dg.DagsterRunStatus.STARTED,
    dg.DagsterRunStatus.CANCELING,
]


def given(platform: Platform, notices: Iterable[Notice]) -> list[Notice]:
    """Of these notices, those that had not been given before; all are given now."""
    with platform.databases[Region.GLOBAL].transaction() as connection:
        return [each for each in notices if give(connection, each, now=platform.now())]


# --- A new model version --------------------------------------------------------------------------


def proposed_backfill(versions: Mapping[Region, str], outdated: Mapping[str, str]) -> Notice | None:
    """What is to be run so that every shard serves lists of the active version; None if all do."""
    if not outdated:
        return None
    active = ", ".join(f"{version} ({region})" for region, version in sorted(versions.items()))
    shards = ", ".join(outdated)
    assets = ", ".join(key.to_user_string() for key in (RANKED, *PUBLISHED))
    command = "seda backfill " + " ".join(f"--shards {key}" for key in outdated)
    return Notice(
        NoticeKind.MODEL_VERSION,
        key=f"{active}/{shards}",
        said=f"{active} ranks now, and {len(outdated)} shards serve lists of another version: run "
        "`seda backfill`.",
        facts={"active": active, "shards": shards, "assets": assets, "command": command},
    )


@dg.sensor(
    target=None,
    minimum_interval_seconds=30,
    default_status=dg.DefaultSensorStatus.RUNNING,
)
def new_model_version(
    context: dg.SensorEvaluationContext, platform: dg.ResourceParam[Platform]
) -> dg.SensorResult | dg.SkipReason:
    """Another version ranks than the one that made the served lists: propose the backfill, once,
    on the page of `ranked_recommendations` and as a notice. Nothing runs by itself."""
    for job in _RANKING_JOBS:
        if context.instance.get_runs_count(dg.RunsFilter(job_name=job, statuses=_UNFINISHED)):
            return dg.SkipReason(f"A run of {job} is under way; what it leaves is looked at then.")
    proposal = proposed_backfill(active_versions(platform), outdated_shards(platform))
    if proposal is None:
        return dg.SkipReason("Every served list is the active version's.")
    if not given(platform, [proposal]):
        return dg.SkipReason(f"Proposed before: {proposal.said}")
    context.log.warning(proposal.said)
    seen = dg.AssetObservation(RANKED, description=proposal.said, metadata={**proposal.facts})
    return dg.SensorResult(asset_events=[seen])


# --- Spend ----------------------------------------------------------------------------------------


def reached_shares(status: BudgetStatus, month: str) -> list[Notice]:
    """A notice for each of the thresholds that the month's spend has reached."""
    return [
        Notice(
            NoticeKind.SPEND,
            key=f"{month}/{share}",
            said=f"Embeddings have taken {share} % of {month}'s cap: ${status.committed_usd:,.2f} "
            f"of ${status.budget.cap_usd:,.2f}, ${status.projected_usd:,.2f} by its end."
            + (
                " What is not critical waits."
                if share < 100
                else " Nothing more that costs is embedded."
            ),
            facts={
                "share": share,
                "committed_usd": float(status.committed_usd),
                "cap_usd": float(status.budget.cap_usd),
            },
        )
        for share in SPEND_SHARES
        if 0 < status.budget.cap_usd * share / 100 <= status.committed_usd
    ]


@dg.sensor(
    target=None,
    minimum_interval_seconds=60,
    default_status=dg.DefaultSensorStatus.RUNNING,
)
def spend_thresholds(
    context: dg.SensorEvaluationContext, platform: dg.ResourceParam[Platform]
) -> dg.SensorResult | dg.SkipReason:
    """80 % and 100 % of the month's embedding budget, each told once a month. Only the global
    region has providers that cost money."""
    now, database = platform.now(), platform.databases[Region.GLOBAL]
    budget = platform.embeddings(Region.GLOBAL).policy.rules.budget
    with database.transaction() as connection:
        status = budget_status(connection, budget, now=now)
    new = given(platform, reached_shares(status, f"{now:%Y-%m}"))
    if not new:
        return dg.SkipReason(f"{status.share:.0%} of the month's cap; nothing new to tell.")
    events = []
    for notice in new:
        context.log.warning(notice.said)
        events.append(
            dg.AssetObservation("embedding_spend", description=notice.said, metadata=notice.facts)
        )
    return dg.SensorResult(asset_events=events)


# --- Failed runs ----------------------------------------------------------------------------------


def run_failure(run: dg.DagsterRun, step: str | None, problem: str) -> Notice:
    """What broke: the job, the step that failed first, and why."""
    part = f" at {step}" if step else ""
    covered = run.tags.get("dagster/asset_partition_range_start")
    facts = {"job": run.job_name, "run": run.run_id, "step": step or ""}
    if covered:
        facts["shards"] = f"{covered} to {run.tags['dagster/asset_partition_range_end']}"
    return Notice(
        NoticeKind.RUN_FAILURE, run.run_id, f"{run.job_name} failed{part}: {problem}", facts
    )


@dg.run_failure_sensor(
    minimum_interval_seconds=10,
    default_status=dg.DefaultSensorStatus.RUNNING,
)
def run_failures(
    context: dg.RunFailureSensorContext, platform: dg.ResourceParam[Platform]
) -> dg.SkipReason | None:
    """What broke, in which step and why, as a notice for each run; Dagster hands over a few of
    them a tick, in order."""
    step, problem = None, context.failure_event.message or "no reason was given"
    for event in context.get_step_failure_events()[:1]:
        step, error = event.step_key, event.step_failure_data.error
        while error and error.cause:
            error = error.cause
        problem = error.message if error else problem
    notice = run_failure(context.dagster_run, step, problem)
    if not given(platform, [notice]):
        return dg.SkipReason("Told before.")
    context.log.error(notice.said)
    return None


notices = [new_model_version, spend_thresholds, run_failures]
