"""Toasts across processes: the caps are one row per person, compared and swapped by one statement.

`announce` is what a real-time process calls: it decides, claims, and logs, with a fixed number of
statements however many people are concerned. A toast is emitted after its claim is committed: a
process that dies between the two loses that toast, and no cap is ever passed.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Literal
from uuid import UUID

import asyncpg

from seda.notifications.log import RECORD, Logged, record_values
from seda.social.toasts import (
    APART,
    TOASTS_PER_SESSION,
    Candidate,
    Decision,
    Drop,
    DropReason,
    History,
    Merge,
    Moment,
    Preferences,
    Toast,
    decide,
)

_HISTORIES = """
    select w.user_id, w.session_id, coalesce(p.toasts_enabled, true) as enabled, cap.last_sent_at,
           coalesce(cardinality(array_positions(
               cap.sessions, hashtextextended(w.session_id, 0))), 0) as sent,
           array(select l.entity_id::text || ' ' || l.reason from seda.notification_log l
                 where l.user_id = w.user_id and l.session_id = w.session_id
                   and l.channel = 'toast' and l.decision = 'sent') as told,
           array(select s.entity_id from seda.suppressions s
                 where s.user_id = w.user_id and s.entity_type = 'room'
                   and s.entity_id = any ($3::uuid[])
                   and (s.suppressed_until is null or s.suppressed_until > $4)) as suppressed
    from unnest($1::uuid[], $2::text[]) as w (user_id, session_id)
    join seda.users u on u.id = w.user_id and u.deleted_at is null
    left join seda.notification_preferences p on p.user_id = w.user_id
    left join seda.toast_caps cap on cap.user_id = w.user_id
"""
# The row's lock makes claims of one person follow each other. The newest 432 sessions are kept: at
# ten minutes apart that is three days, longer than any session. In order, against deadlocks.
_CLAIM = """
    insert into seda.toast_caps as cap (user_id, last_sent_at, sessions)
    select w.user_id, $3, array[hashtextextended(w.session_id, 0)]
    from unnest($1::uuid[], $2::text[]) as w (user_id, session_id)
    join seda.users u on u.id = w.user_id and u.deleted_at is null
    order by w.user_id
    on conflict (user_id) do update
    set last_sent_at = excluded.last_sent_at,
        sessions = (cap.sessions || excluded.sessions)
                   [greatest(1, cardinality(cap.sessions) - 430):]
    where cap.last_sent_at <= excluded.last_sent_at - $4::interval
      and cardinality(array_positions(cap.sessions, excluded.sessions[1])) < $5
    returning cap.user_id
"""

_MOMENTS = frozenset(str(moment) for moment in Moment)


@dataclass(frozen=True, slots=True)
class Session:
    """One session of a connected person."""

    user_id: UUID
    session_id: str


@dataclass(frozen=True, slots=True)
class Announcement:
    """A toast that may go out to a session now."""

    session: Session
    toast: Toast


async def announce(
    connection: asyncpg.Connection,
    candidates: Sequence[tuple[Session, Candidate]],
    now: datetime,
) -> tuple[Announcement, ...]:
    """The toasts that are to be emitted once the caller's transaction is committed.

    Candidates of one session and room are merged; every candidate has one row in the log.
    """
    if not candidates:
        return ()
    standing = await _standing(connection, candidates, now)
    drafts, decisions = _decide(candidates, standing, now)
    claimed = await claim(connection, drafts, now)
    lost = [session for session in drafts if session.user_id not in claimed]
    reasons = await _reasons(connection, lost, now)
    entries = _entries(candidates, decisions, drafts, reasons, now)
    await connection.execute(RECORD, *record_values(entries))
    return tuple(
        Announcement(session, toast) for session, toast in drafts.items() if session not in reasons
    )


async def claim(
    connection: asyncpg.Connection, sessions: Iterable[Session], now: datetime
) -> frozenset[UUID]:
    """Take a toast's slot for each session, one per person; the people who got theirs.

    Raises:
        asyncpg.CardinalityViolationError: two sessions of one person.
    """
    wanted = list(sessions)
    if not wanted:
        return frozenset()
    rows = await connection.fetch(_CLAIM, *_columns(wanted), now, APART, TOASTS_PER_SESSION)
    return frozenset(row["user_id"] for row in rows)


@dataclass(slots=True)
class _Standing:
    """Where a session stands while a batch is decided."""

    history: History
    preferences: Preferences


async def _standing(
    connection: asyncpg.Connection,
    candidates: Sequence[tuple[Session, Candidate]],
    now: datetime,
) -> dict[Session, _Standing]:
    sessions = list(dict.fromkeys(session for session, _ in candidates))
    rooms = list({candidate.room_id for _, candidate in candidates})
    rows = await connection.fetch(_HISTORIES, *_columns(sessions), rooms, now)
    found = {}
    for row in rows:
        pairs = (each.split(" ", 1) for each in row["told"])
        told = frozenset((UUID(room), Moment(word)) for room, word in pairs if word in _MOMENTS)
        found[Session(row["user_id"], row["session_id"])] = _Standing(
            History(row["sent"], row["last_sent_at"], told),
            Preferences(row["enabled"], frozenset(row["suppressed"])),
        )
    return found


def _decide(
    candidates: Sequence[tuple[Session, Candidate]],
    standing: dict[Session, _Standing],
    now: datetime,
) -> tuple[dict[Session, Toast], list[Decision | None]]:
    """The toasts to claim, one per person, and what became of each candidate."""
    drafts: dict[Session, Toast] = {}
    decisions: list[Decision | None] = []
    addressed: set[UUID] = set()
    for session, candidate in candidates:
        own = standing.get(session)
        if own is None:  # the person is gone
            decisions.append(None)
            continue
        if session.user_id in addressed and session not in drafts:
            own.history = replace(own.history, last_sent_at=now)  # told in another session
        decision = decide(candidate, own.history, own.preferences, now)
        own.history = own.history.after(decision, now)
        if not isinstance(decision, Drop):
            drafts[session] = decision.toast
            addressed.add(session.user_id)
        decisions.append(decision)
    return drafts, decisions


async def _reasons(
    connection: asyncpg.Connection, lost: Sequence[Session], now: datetime
) -> dict[Session, DropReason]:
    """Why another process's claim stood in the way, as it is now."""
    if not lost:
        return {}
    rows = await connection.fetch(_HISTORIES, *_columns(lost), [], now)
    sent = {(row["user_id"], row["session_id"]): row["sent"] for row in rows}
    return {
        session: DropReason.SESSION_CAP
        if sent.get((session.user_id, session.session_id), 0) >= TOASTS_PER_SESSION
        else DropReason.TOO_SOON
        for session in lost
    }


def _entries(
    candidates: Sequence[tuple[Session, Candidate]],
    decisions: Sequence[Decision | None],
    drafts: dict[Session, Toast],
    reasons: dict[Session, DropReason],
    now: datetime,
) -> list[Logged]:
    entries = []
    for (session, candidate), decision in zip(candidates, decisions, strict=True):
        if decision is None:
            continue
        word, reason = _outcome(decision, drafts.get(session), reasons.get(session))
        entries.append(
            Logged(
                session.user_id,
                "toast",
                word,
                reason,
                "room",
                candidate.room_id,
                session.session_id,
                None,
                now,
            )
        )
    return entries


def _outcome(
    decision: Decision, draft: Toast | None, lost: DropReason | None
) -> tuple[Literal["sent", "merged", "suppressed"], str]:
    """The log's words; a toast is logged with the moment that it ended up with."""
    if isinstance(decision, Drop):
        return "suppressed", str(decision.reason)
    if lost is not None or draft is None:
        return "suppressed", str(lost or DropReason.TOO_SOON)
    return "merged" if isinstance(decision, Merge) else "sent", str(draft.moment)


def _columns(sessions: Sequence[Session]) -> tuple[list[UUID], list[str]]:
    return [each.user_id for each in sessions], [each.session_id for each in sessions]
