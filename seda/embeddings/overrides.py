"""Caps above the configured one: who approved them, why, and until when (EMB-5).

The database refuses an approver who is no super_admin, and a record without an end.
"""

from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from decimal import Decimal
from uuid import UUID

import psycopg

from seda.embeddings.budget import Budget
from seda.errors import SedaError

LONGEST = timedelta(days=7)
SHORTEST_REASON = 10


class OverrideRefusedError(SedaError):
    """An override lacks an approver, a reason, or an end."""


@dataclass(frozen=True, slots=True)
class Override:
    """A cap that holds until `expires_at`."""

    cap_usd: Decimal
    approver: UUID
    reason: str
    expires_at: datetime


def record_override(connection: psycopg.Connection, override: Override, *, now: datetime) -> None:
    """Store the override and its audit row, in the caller's transaction.

    Raises:
        OverrideRefusedError: no super_admin, no reason, or not within the next seven days.
    """
    if len(override.reason.strip()) < SHORTEST_REASON:
        raise OverrideRefusedError(
            f"Give a reason of at least {SHORTEST_REASON} characters: it stands in the audit log."
        )
    if not now < override.expires_at <= now + LONGEST:
        raise OverrideRefusedError("An override ends within seven days: give fewer hours.")
    try:
        with connection.transaction():
            connection.execute(
                "insert into seda.embedding_budget_overrides "
                "(approver_id, reason, cap_usd, created_at, expires_at) "
                "values (%s, %s, %s, %s, %s)",
                [override.approver, override.reason, override.cap_usd, now, override.expires_at],
            )
    except psycopg.errors.CheckViolation as problem:
        raise OverrideRefusedError(
            f"{override.approver} is no super_admin of this region: name one, by the user's id."
        ) from problem
    connection.execute(
        "insert into seda.audit_log (occurred_at, actor, action, subject, details) "
        "values (%s, %s, 'embedding_budget_override', 'embedding_spend', "
        "jsonb_build_object('cap_usd', %s::numeric, 'reason', %s::text, 'until', %s::timestamptz))",
        [now, str(override.approver), override.cap_usd, override.reason, override.expires_at],
    )


def current_override(connection: psycopg.Connection, *, now: datetime) -> Override | None:
    """The override with the highest cap that is in force."""
    row = connection.execute(
        "select cap_usd, approver_id, reason, expires_at from seda.embedding_budget_overrides "
        "where created_at <= %(now)s and expires_at > %(now)s order by cap_usd desc limit 1",
        {"now": now},
    ).fetchone()
    return Override(*row) if row else None


def cap_in_force(connection: psycopg.Connection, budget: Budget, *, now: datetime) -> Budget:
    """The budget with the cap that holds now: an override never lowers it."""
    override = current_override(connection, now=now)
    if override is None or override.cap_usd <= budget.cap_usd:
        return budget
    return replace(budget, cap_usd=override.cap_usd)
