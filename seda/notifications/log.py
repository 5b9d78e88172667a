"""Every decision about a notification, in `notification_log` (NTF-3), many at once.

The statement numbers its values, so that both drivers run it: asyncpg, and psycopg's raw cursor.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Literal
from uuid import UUID

# Somebody who was erased meanwhile is left out, and does not fail the others' rows.
RECORD = """
    insert into seda.notification_log (user_id, channel, decision, reason, entity_type, entity_id,
                                       session_id, score, decided_at)
    select l.user_id, l.channel, l.decision, l.reason, l.entity_type, l.entity_id, l.session_id,
           l.score, l.decided_at
    from unnest($1::uuid[], $2::text[], $3::text[], $4::text[], $5::text[], $6::uuid[],
                $7::text[], $8::float8[], $9::timestamptz[])
        as l (user_id, channel, decision, reason, entity_type, entity_id, session_id, score,
              decided_at)
    join seda.users u on u.id = l.user_id
"""


@dataclass(frozen=True, slots=True)
class Logged:
    """One decision; the fields are the columns."""

    user_id: UUID
    channel: Literal["toast", "push"]
    decision: Literal["sent", "merged", "suppressed", "failed"]
    reason: str
    entity_type: str | None
    entity_id: UUID | None
    session_id: str | None
    score: float | None
    decided_at: datetime


def record_values(entries: Sequence[Logged]) -> list[list[object]]:
    """The nine arrays that `RECORD` takes, in its order."""
    return [[getattr(entry, name) for entry in entries] for name in Logged.__dataclass_fields__]
