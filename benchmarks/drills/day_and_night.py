"""Parts of the data team's day: the night's run, a mistake, the evening, and the readers' count."""

from collections import Counter
from collections.abc import Set

import numpy as np

from benchmarks.drills.canary_audience import everybody
from benchmarks.drills.dagster_ui import AssetHealth, DagsterUiError
from benchmarks.drills.day import EXPERIMENT, SHARE, Day
from benchmarks.drills.feed_readers import Readings
from benchmarks.drills.running_platform import seda
from seda.database.regions import Region

# Of all that was shown to anybody: not of the generation's version, or not of the person's arm.
_UNDUE = """
    select count(*), count(*) filter (where p.model_version <> g.model_version or p.arm <> g.arm
        or (g.arm = 'canary' and seda.arm_of(g.experiment, p.user_id, %s) <> 'canary'))
    from seda.impression_pages p join seda.generations g using (generation)"""


def morning(day: Day) -> None:
    """The first night, which a sensor starts for people who have no lists yet, and its pages."""
    ui, protocol = day.platform.ui, day.protocol
    protocol.part("Morning: the night's run")
    # It looks once in ten minutes: it is started when there is something to see.
    ui.switch("canaries", on=False)
    observed = ui.ended(ui.launch("observe_sources", assets=["seda/model_registry"]))
    protocol.check(observed.status == "SUCCESS", "the registry is observed", observed)
    (night, *_) = ui.awaited(lambda: ui.runs_of("nightly") or None, "the night")
    run = ui.ended(night)
    protocol.check(
        run.status == "SUCCESS", f"the night that `unserved_people` asked for: {run.seconds:.0f} s",
        run,
    )  # fmt: skip
    if run.status != "SUCCESS":
        raise DagsterUiError(f"without a night there is no day: {run}")
    for region in Region:
        (version,) = day.served(region)
        for group in day.groups(region):
            day.terms.begin(group, version, 0.0)
        protocol.say(f"{region} is served {version}")
    day.nightly = frozenset(asset for asset, _ in run.made)
    day.people = everybody(day.platform.databases, experiment=EXPERIMENT, share=SHARE)


def first_look(day: Day) -> None:
    """What the pages of the night's assets say: health, staleness, and what embedding cost."""
    ui, protocol = day.platform.ui, day.protocol
    _healthy(day)
    day.before = ui.stale(day.all_shards)
    protocol.say(f"stale after the night: {day.before or 'nothing'}")
    spent = ui.metadata("embedding_spend")
    costs = {name: spent[name] for name in ("month_usd_global", "projected_month_usd_global")}
    table = spent["by_provider_and_job"].splitlines()[2:]
    protocol.check(bool(table), f"what it cost: {costs}, by provider and job: {table}")


def _healthy(day: Day, red: Set[str] = frozenset()) -> None:
    """Of what the night makes: freshness, once the daemon has looked at it, and every check: those
    that should have failed have, and no other."""
    ui, protocol = day.platform.ui, day.protocol

    def looked_at() -> Counter[str] | None:
        found = Counter(each.freshness for each in _of_the_night(day).values() if each.freshness)
        return found if found and not found["UNKNOWN"] else None

    found = ui.awaited(looked_at, "freshness")
    protocol.check(set(found) == {"HEALTHY"}, f"freshness of what it made: {dict(found)}")
    checks = {
        f"{asset} {name}": status
        for asset, each in ui.health().items()
        for name, status in each.checks.items()
    }
    bad = {each: status for each, status in checks.items() if "FAILED" in status}
    told = f"checks: {dict(Counter(checks.values()))}{', red: ' + ', '.join(red) if red else ''}"
    protocol.check(set(bad) == red, told, bad)
    warned = [each for each, status in checks.items() if status == "WARNED"]
    if warned:
        protocol.say(f"warned: {', '.join(warned)}")


def _of_the_night(day: Day) -> dict[str, AssetHealth]:
    return {asset: each for asset, each in day.platform.ui.health().items() if asset in day.nightly}


def mistake(day: Day) -> None:
    """Somebody promotes what is no canary any more: what broke is told."""
    ui, protocol = day.platform.ui, day.protocol
    protocol.part("Somebody's mistake")
    config = {"ops": {"move_model": {"config": {"step": "promote", "region": "global"}}}}
    id = ui.launch("model_stage", config=config)
    run = ui.ended(id)
    day.broken.append(id)
    step, message = ui.failure(id) if run.status == "FAILURE" else ("", run.status)
    protocol.check("No canary is served here" in message,
                   f"what broke: {run.job} at {step}: {message.splitlines()[-1]}")  # fmt: skip


def evening(day: Day) -> None:
    """The end of the day: everything is up and green, and was told."""
    ui, protocol = day.platform.ui, day.protocol
    protocol.part("Evening")
    said = seda("gate")
    protocol.check(said.count("no canary runs") == len(Region), "seda gate: no canary runs", said)
    seda("audit", "verify")
    protocol.check(True, "seda audit verify: the chain of both regions holds")
    seda("status")
    day.platform.supervisor.check()
    protocol.check(True, "seda status; every service is up")
    failed = [id for id in ui.failed_runs() if id not in day.broken]
    protocol.check(not failed, "no other run failed", [ui.failure(id) for id in failed])
    told = ui.awaited(
        lambda: said if "model_stage failed" in (said := seda("notices")) else None,
        "the notice of the run that failed",
    )
    protocol.check("ranks now" in told, "seda notices: the backfill and the failed run", told)
    # What fell today stays red until the gates are looked at again, which the night does.
    _healthy(day, red={"canary_gate gates_hold"})


def count(day: Day, readings: Readings) -> None:
    """What readers were given, judged by what they should have been."""
    protocol, databases = day.protocol, day.platform.databases
    protocol.part("The readers")
    p50, p95, p99 = np.percentile(readings.milliseconds, [50, 95, 99])
    protocol.say(f"{readings.requests:,} requests, {readings.lists:,} lists from their first page "
                 f"to their last, {readings.dismissals} dismissals; p50 {p50:.0f}, p95 {p95:.0f}, "
                 f"p99 {p99:.0f} ms")  # fmt: skip
    for (group, version), lists in sorted(readings.versions().items(), key=str):
        protocol.say(f"{' '.join(group)}: {lists:,} lists of {version}")
    wrong = readings.wrong + readings.untimely(day.terms) + readings.mixed(databases)
    protocol.check(not wrong, f"{len(wrong)} wrong reads", wrong[:5])
    pages = undue = 0
    for database in databases:
        with database.transaction() as connection:
            of_region = connection.execute(_UNDUE, [SHARE]).fetchone() or (0, 0)
        pages, undue = pages + of_region[0], undue + of_region[1]
    protocol.check(not undue, f"of {pages:,} pages on record {undue} are of another arm or version")
