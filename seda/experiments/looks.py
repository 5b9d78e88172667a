"""Looking at a canary: its evidence is judged, noted, and followed by a rollback where it must be.

As often as one likes. A look that only reads (`look`) changes nothing; `conclude` notes it, and
rolls back in the same transaction, so that what is noted is what happened.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any

import psycopg
from psycopg.types.json import Jsonb

from seda.database.regions import RegionalDatabase
from seda.experiments.canaries import Experiment, roll_back, serving_experiment
from seda.experiments.evidence import load_evidence
from seda.experiments.gates import QUALITY, Gate, Judgement, judge
from seda.experiments.operations import Counters, operations_of
from seda.registry.stages import lock_stages

ACTOR = "canary gate"
"""Who rolls back, in the audit log."""


@dataclass(frozen=True, eq=False)
class Look:
    """What one look at a region's canary found; `counters` are the services' then."""

    experiment: Experiment
    judgement: Judgement
    counters: Counters
    looked_at: datetime


def look(database: RegionalDatabase, counters: Counters, *, now: datetime) -> Look | None:
    """Judge the region's running canary; None where none runs.

    The services' figures are of what they counted since the last noted look.
    """
    with database.transaction() as connection:
        found = serving_experiment(connection)
        if found is None or not found.running:
            return None
        since = counters.since(_counters_before(connection, found.name))
        evidence = load_evidence(connection, found.name, found.share, until=now)
    judgement = judge(
        evidence.control, evidence.canary, share=found.share, leaks=evidence.leaks,
        operations=operations_of(since, str(database.region), found.share),
    )  # fmt: skip
    return Look(found, judgement, counters, now)


def conclude(database: RegionalDatabase, found: Look, *, automatic: bool) -> bool:
    """Note a look and, where `automatic` and its judgement asks for it, roll back; whether it did.

    A canary that ended meanwhile is left alone.
    """
    judgement = found.judgement
    with database.transaction() as connection:
        lock_stages(connection)  # what runs now runs until this is noted
        running = serving_experiment(connection)
        same = running is not None and running.running and running.name == found.experiment.name
        goes = same and automatic and judgement.rollback is not None
        connection.execute(
            "insert into seda.canary_looks (experiment, looked_at, decision, rolled_back, gates, "
            "counters) values (%s, %s, %s, %s, %s, %s) on conflict do nothing",
            [found.experiment.name, found.looked_at, judgement.verdict, goes,
             Jsonb([asdict(gate) for gate in judgement.gates]), Jsonb(asdict(found.counters))],
        )  # fmt: skip
        if goes:
            reason = judgement.rollback or ""
            roll_back(connection, actor=ACTOR, reason=reason, now=found.looked_at)
    return goes


def cells(gate: Gate) -> tuple[str, ...]:
    """One row of the table that the command line and the UI show, as `HEADINGS` names it."""
    relative = any(gate.name == each.name and each.relative for each in QUALITY)
    interval = ""
    if gate.low is not None and gate.high is not None:
        interval = f"[{gate.low:+.1%}, {gate.high:+.1%}]"
    return (
        gate.name, str(gate.verdict), _number(gate, gate.control), _number(gate, gate.canary),
        "" if gate.difference is None
        else f"{gate.difference:+.1%}" if relative else f"{100 * gate.difference:+.1f} pts",
        interval, "" if gate.power is None else f"{gate.power:.0%}",
        "" if gate.detectable is None else f"{gate.detectable:.1%}", gate.reason,
    )  # fmt: skip


HEADINGS = (
    "gate", "verdict", "control", "canary", "difference", "95 % always valid", "power at -30 %",
    "80 % power at", "why",
)  # fmt: skip


def _number(gate: Gate, amount: float | None) -> str:
    if amount is None:
        return ""
    if gate.name in ("api_p95", "notification_p99"):
        return f"{1000 * amount:.0f} ms"
    return f"{amount:,.0f}" if gate.name == "privacy" else f"{amount:.2%}"


def _counters_before(connection: psycopg.Connection, experiment: str) -> Counters | None:
    row = connection.execute(
        "select counters from seda.canary_looks where experiment = %s "
        "order by looked_at desc limit 1",
        [experiment],
    ).fetchone()
    known: Mapping[str, Any] = row[0] if row else {}
    return Counters.stored(known) if known else None
