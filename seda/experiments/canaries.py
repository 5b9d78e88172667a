"""A canary from its start to its end: the experiment, the stages, the pointers and the audit row.

Each step is one short transaction of one region's database. Readers find the arm of a person and
its pointers there, so a step is in force with the next read; a cursor that is open reads on in the
generation that it started on.
"""

from dataclasses import dataclass
from datetime import datetime
from typing import Any

import psycopg
from psycopg.rows import class_row
from psycopg.types.json import Jsonb

from seda.errors import SedaError
from seda.registry.models import BLEND, get_active, get_registered
from seda.registry.stages import Stage, lock_stages, set_stage


class CanaryError(SedaError):
    """A canary cannot be started or ended like this."""


@dataclass(frozen=True)
class Experiment:
    """A canary: `share` of the people get lists of `canary_version`, the others and everything
    else stay with `control_version`. `serving` says whether reads still ask for the arm."""

    name: str
    model: str
    control_version: str
    canary_version: str
    share: float
    state: str
    serving: bool
    started_at: datetime
    ended_at: datetime | None
    reason: str | None

    @property
    def running(self) -> bool:
        """Whether it is neither promoted nor rolled back yet."""
        return self.state == "running"


_SERVING = "select * from seda.experiments where serving"
_LOCKED = "select * from seda.experiments where serving for update"
_NEWEST = "select * from seda.experiments order by started_at desc limit %s"

# Until a shard is published again the canary's people read what the control's do.
_POINTERS = """
    insert into seda.generation_pointer (shard, entity_type, arm, generation, flipped_at)
    select shard, entity_type, 'canary', generation, %s from seda.generation_pointer
    where arm = 'control'
    on conflict (shard, entity_type, arm)
    do update set generation = excluded.generation, flipped_at = excluded.flipped_at
"""
_CLOSE = """
    update seda.experiments e set serving = false
    where e.serving and e.state = 'promoted' and not exists (
        select from seda.generation_pointer p join seda.generations g using (generation)
        where p.arm = 'control' and g.model_version <> e.canary_version)
"""
_UNREAD = """
    update seda.generations g set state = 'superseded', superseded_at = %s
    where g.state = 'published' and not exists (
        select from seda.generation_pointer p where p.generation = g.generation)
"""


def serving_experiment(connection: psycopg.Connection) -> Experiment | None:
    """The experiment whose arms reads ask for; None where there is none."""
    return connection.cursor(row_factory=class_row(Experiment)).execute(_SERVING).fetchone()


def experiments(connection: psycopg.Connection, most: int = 20) -> list[Experiment]:
    """The newest experiments first."""
    return connection.cursor(row_factory=class_row(Experiment)).execute(_NEWEST, [most]).fetchall()


def start_canary(
    connection: psycopg.Connection, version: str, *, share: float, actor: str, now: datetime,
    name: str | None = None,
) -> Experiment:  # fmt: skip
    """Makes a version in shadow the canary beside the active one, in the caller's transaction.

    Its lists come with the next ranking. The name is the salt of the assignment: another
    experiment draws other people.

    Raises:
        CanaryError: another canary is being served, the share or the name is not usable.
        IllegalStageError: the version is not in shadow.
        NoActiveModelError: there is no control.
    """
    lock_stages(connection)
    _refuse_second(connection)
    control = get_active(connection, BLEND).version
    name = name or f"{version}.{now:%Y%m%dt%H%M%S}".lower()
    set_stage(connection, BLEND, version, Stage.CANARY, actor=actor, now=now)
    try:
        with connection.transaction():
            connection.execute(
                "insert into seda.experiments (name, model, control_version, canary_version, "
                "share, started_at) values (%s, %s, %s, %s, %s, %s)",
                [name, BLEND, control, version, share, now],
            )
    except (psycopg.errors.CheckViolation, psycopg.errors.UniqueViolation) as problem:
        raise CanaryError(
            f"The experiment {name} for {share:.0%} of the people cannot be: a share is 5 to 10 %, "
            "a name has lower-case letters, digits, dots and hyphens and was not used before."
        ) from problem
    connection.execute(_POINTERS, [now])
    _audit(connection, "canary_started", name, actor, now,
           {"control": control, "canary": version, "share": share})  # fmt: skip
    return _serving(connection)


def roll_back(
    connection: psycopg.Connection, *, actor: str, reason: str, now: datetime
) -> Experiment:
    """Ends the canary: from the next read on everybody's lists are the control's, which were kept.

    In the caller's transaction: the experiment's row, the version back in shadow (a version that
    was promoted too, with the control active again), no pointer of its arm, an audit row.

    Raises:
        CanaryError: no canary is being served.
    """
    lock_stages(connection)
    connection.execute("lock table seda.generation_pointer in row exclusive mode")
    running = _serving(connection)
    before, after = running.canary_version, running.control_version
    set_stage(connection, BLEND, before, Stage.SHADOW, actor=actor, now=now, reason=reason)
    if not running.running:
        set_stage(connection, BLEND, after, Stage.ACTIVE, actor=actor, now=now, reason=reason)
    _end(connection, running.name, "rolled_back", serving=False, reason=reason, now=now)
    _forget_arm(connection, now)
    _audit(connection, "canary_rolled_back", running.name, actor, now,
           {"reason": reason, "canary": before, "control": after})  # fmt: skip
    return experiments(connection, 1)[0]


def promote_canary(
    connection: psycopg.Connection, *, actor: str, reason: str, now: datetime
) -> Experiment:
    """Makes the canary's version the active one and retires the control, in the caller's
    transaction. Everybody's lists are its from the next ranking on, and the canary's people keep
    theirs until then.

    Raises:
        CanaryError: no canary is running.
    """
    lock_stages(connection)
    running = _serving(connection)
    if not running.running:
        raise CanaryError(f"{running.canary_version} was promoted already: rank again to serve it.")
    control = running.control_version
    set_stage(connection, BLEND, control, Stage.RETIRED, actor=actor, now=now, reason=reason)
    set_stage(
        connection, BLEND, running.canary_version, Stage.ACTIVE, actor=actor, now=now,
        reason=reason,
    )  # fmt: skip
    _end(connection, running.name, "promoted", serving=True, reason=reason, now=now)
    _audit(connection, "canary_promoted", running.name, actor, now,
           {"reason": reason, "canary": running.canary_version, "control": control})  # fmt: skip
    return experiments(connection, 1)[0]


def move_aside(
    connection: psycopg.Connection, version: str, stage: Stage, *, actor: str, reason: str,
    now: datetime,
) -> None:  # fmt: skip
    """Retires a version in shadow or brings a retired one back to it, in the caller's transaction.

    Raises:
        CanaryError: it ranks for somebody, as the active version or as a canary.
        IllegalStageError: no way leads there from where it is.
    """
    lock_stages(connection)
    current = get_registered(connection, BLEND, version).stage
    if current in (Stage.ACTIVE, Stage.CANARY):
        raise CanaryError(
            f"{version} is {current} and ranks: "
            + ("roll it back first." if current == Stage.CANARY
               else "a version that is promoted takes its place.")
        )  # fmt: skip
    set_stage(connection, BLEND, version, stage, actor=actor, now=now, reason=reason)


def note_assignments(
    connection: psycopg.Connection, experiment: Experiment, buckets: tuple[int, int], *,
    now: datetime,
) -> int:  # fmt: skip
    """Keep who of a shard is in the canary, so that it can be told later; how many are new."""
    return connection.execute(
        "insert into seda.experiment_assignments (user_id, experiment, arm, assigned_at) "
        "select id, %s, 'canary', %s from seda.users "
        "where bucket >= %s and bucket < %s and deleted_at is null "
        "and seda.arm_of(%s, id, %s) = 'canary' on conflict do nothing",
        [experiment.name, now, *buckets, experiment.name, experiment.share],
    ).rowcount


def close_promoted(connection: psycopg.Connection, *, now: datetime) -> bool:
    """Lets go of the arm of a promoted canary, once everybody's lists are its version's.

    In the caller's transaction; False where there is nothing to let go of, or a shard still serves
    lists that another version ranked.
    """
    connection.execute("lock table seda.generation_pointer in row exclusive mode")
    done = connection.execute(_CLOSE)
    if not done.rowcount:
        return False
    _forget_arm(connection, now)
    return True


def _serving(connection: psycopg.Connection) -> Experiment:
    """Locked, so that nobody publishes to an arm that is going."""
    found = connection.cursor(row_factory=class_row(Experiment)).execute(_LOCKED).fetchone()
    if found is None:
        raise CanaryError("No canary is served here: start one with `seda model canary VERSION`.")
    return found


def _refuse_second(connection: psycopg.Connection) -> None:
    if other := serving_experiment(connection):
        raise CanaryError(
            f"{other.canary_version} is a canary here (experiment {other.name}, {other.state}): "
            + ("promote it or roll it back first." if other.running else "rank again first.")
        )


def _end(
    connection: psycopg.Connection, name: str, state: str, *, serving: bool, reason: str,
    now: datetime,
) -> None:  # fmt: skip
    connection.execute(
        "update seda.experiments set state = %s, serving = %s, ended_at = %s, reason = %s "
        "where name = %s",
        [state, serving, now, reason, name],
    )


def _forget_arm(connection: psycopg.Connection, now: datetime) -> None:
    connection.execute("delete from seda.generation_pointer where arm <> 'control'")
    connection.execute(_UNREAD, [now])


def _audit(
    connection: psycopg.Connection, action: str, name: str, actor: str, now: datetime,
    details: dict[str, Any],
) -> None:  # fmt: skip
    connection.execute(
        "insert into seda.audit_log (occurred_at, actor, action, subject, details) "
        "values (%s, %s, %s, %s, %s)",
        [now, actor, action, name, Jsonb(details)],
    )
