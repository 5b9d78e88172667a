"""Dagster's own event log and runs, which nothing else ever removes (dagster #33785).

What goes: everything that is old of runs that have ended. What stays whatever its age: the newest
event of each type of every asset and partition, because Dagster derives from it what exists and is
stale; the newest result of every check; runs that are under way, and runs that a kept event is of.
`delete_run`, in contrast, makes the partitions that the run materialised missing again. Ticks are
kept by `retention` in dagster.yaml. Postgres only: any other storage is a test's or a throw-away.
"""

import time
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, Final

import dagster as dg
import psycopg

IDS: Final = 5_000
"""Ids of events, and runs, in one step."""

# Timestamps of events are UTC without a zone; ends of runs are seconds since 1970.
_ENDED: Final = "('SUCCESS', 'FAILURE', 'CANCELED')"
_NEWEST_OLD: Final = "select max(id) from event_logs where timestamp < %(before)s"
_NEXT: Final = """
    select max(id) + 1 from (
        select id from event_logs where id >= %(first)s order by id limit %(most)s) step
"""
_EVENTS: Final = f"""
    with gone as (
        delete from event_logs e
        where e.id >= %(first)s and e.id < %(end)s and e.timestamp < %(before)s
          and not exists (select from runs r where r.run_id = e.run_id
                          and r.status not in {_ENDED})
          and (e.asset_key is null or exists (
              select from event_logs n
              where n.asset_key = e.asset_key and n.dagster_event_type = e.dagster_event_type
                and n.partition is not distinct from e.partition and n.id > e.id))
        returning e.id, octet_length(e.event) as size
    ), untagged as (
        delete from asset_event_tags t using gone where t.event_id = gone.id
    )
    select count(*), coalesce(sum(size), 0) from gone
"""  # noqa: S608 - constants alone
_CHECKS: Final = """
    with gone as (
        delete from asset_check_executions c
        where c.id in (
            select o.id from asset_check_executions o
            where o.create_timestamp < %(before)s and exists (
                select from asset_check_executions n
                where n.asset_key = o.asset_key and n.check_name = o.check_name
                  and n.partition is not distinct from o.partition and n.id > o.id)
            order by o.id limit %(most)s)
        returning coalesce(octet_length(c.evaluation_event), 0) as size)
    select count(*), coalesce(sum(size), 0) from gone
"""
_RUNS: Final = f"""
    with gone as (
        delete from runs r
        where r.id in (
            select o.id from runs o
            where o.status in {_ENDED} and o.end_time < %(ended)s
              and not exists (select from event_logs e where e.run_id = o.run_id)
            order by o.id limit %(most)s)
        returning r.run_id, octet_length(r.run_body) as size)
    select count(*), coalesce(sum(size), 0), coalesce(array_agg(run_id::text), '{{}}') from gone
"""  # noqa: S608 - constants alone


@dataclass
class Pruned:
    """What went from one table: rows, bytes of their text, seconds, and the longest step's."""

    table: str
    rows: int = 0
    bytes: int = 0
    seconds: float = 0.0
    longest: float = 0.0
    runs: list[str] = field(default_factory=list)

    def add(self, row: tuple[Any, ...], seconds: float) -> None:
        """Count one step."""
        self.rows += int(row[0])
        self.bytes += int(row[1])
        self.seconds += seconds
        self.longest = max(self.longest, seconds)


def prune(
    instance: dg.DagsterInstance, *, now: datetime, kept: timedelta, step: int = IDS
) -> list[Pruned]:
    """Remove what is older than `kept`; nothing where the instance is not on Postgres."""
    url = getattr(instance.event_log_storage, "postgres_url", None)
    if url is None:
        return []
    before = now - kept
    with psycopg.connect(url.replace("+psycopg2", ""), autocommit=True) as connection:
        pruned = [
            _prune_events(connection, before, step),
            _prune_in_steps(connection, "asset_check_executions", _CHECKS, before, step),
            _prune_in_steps(connection, "runs", _RUNS, before, step),
        ]
    for run_id in pruned[-1].runs:
        instance.compute_log_manager.delete_logs(prefix=[run_id])
    return pruned


def _prune_events(connection: psycopg.Connection, before: datetime, step: int) -> Pruned:
    pruned = Pruned("event_logs")
    newest = _number(connection, _NEWEST_OLD, {"before": _naive(before)})
    first = 0
    while newest is not None and first <= newest:
        # Kept events lie far apart: a step is so many rows, not so many numbers.
        end = _number(connection, _NEXT, {"first": first, "most": step}) or newest + 1
        _run(connection, pruned, _EVENTS, {"first": first, "end": end, "before": _naive(before)})
        first = end
    return pruned


def _prune_in_steps(
    connection: psycopg.Connection, table: str, statement: str, before: datetime, step: int
) -> Pruned:
    pruned = Pruned(table)
    values = {"before": _naive(before), "ended": before.timestamp(), "most": step}
    while _run(connection, pruned, statement, values) == step:
        pass
    return pruned


def _run(
    connection: psycopg.Connection, pruned: Pruned, statement: str, values: dict[str, Any]
) -> int:
    began = time.perf_counter()
    row = connection.execute(statement.encode(), values).fetchone()
    assert row is not None
    pruned.add(row, time.perf_counter() - began)
    pruned.runs += row[2] if len(row) > 2 else []
    return int(row[0])


def _number(connection: psycopg.Connection, query: str, values: dict[str, Any]) -> int | None:
    row = connection.execute(query.encode(), values).fetchone()
    return None if row is None or row[0] is None else int(row[0])


def _naive(moment: datetime) -> datetime:
    return moment.astimezone(UTC).replace(tzinfo=None)
