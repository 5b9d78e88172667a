"""Notices: what sensors of the pipeline have seen and a person should know, once each.

They are rows of the global region's database, for `seda notices` and whoever pages somebody; the
texts are scrubbed, and of each kind the newest thousand are kept.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

import psycopg
from psycopg.types.json import Jsonb

from seda.observability.scrubbing import scrub

KEPT_OF_A_KIND = 1000
LONGEST = 500


class NoticeKind(StrEnum):
    """What a notice is about."""

    RUN_FAILURE = "run_failure"
    SPEND = "spend"
    MODEL_VERSION = "model_version"


@dataclass(frozen=True)
class Notice:
    """`key` is what makes it the same notice: a run's id, a month's threshold, …

    `facts` are counts and names of ours, nothing of a person.
    """

    kind: NoticeKind
    key: str
    said: str
    facts: Mapping[str, str | int | float]


@dataclass(frozen=True)
class StoredNotice:
    """A notice and when it was first given."""

    notice: Notice
    noticed_at: datetime


def give(connection: psycopg.Connection, notice: Notice, *, now: datetime) -> bool:
    """Store a notice; False where it was given before, and nothing changes."""
    added = connection.execute(
        "insert into seda.notices (kind, key, said, facts, noticed_at) values (%s, %s, %s, %s, %s) "
        "on conflict (kind, key) do nothing",
        [notice.kind, notice.key, shortened(notice.said), Jsonb(dict(notice.facts)), now],
    ).rowcount
    if added:
        connection.execute(
            "delete from seda.notices where kind = %s and id <= (select id from seda.notices "
            "where kind = %s order by id desc offset %s limit 1)",
            [notice.kind, notice.kind, KEPT_OF_A_KIND],
        )
    return bool(added)


def shortened(text: str) -> str:
    """Scrubbed, on one line, of at most `LONGEST` characters."""
    line = " ".join(scrub(text).split())
    return line if len(line) <= LONGEST else line[: LONGEST - 1] + "…"


def newest(connection: psycopg.Connection, limit: int = 20) -> list[StoredNotice]:
    """The newest notices of all kinds, newest first."""
    rows = connection.execute(
        "select kind, key, said, facts, noticed_at from seda.notices order by id desc limit %s",
        [limit],
    )
    return [
        StoredNotice(Notice(NoticeKind(kind), key, said, facts), at)
        for kind, key, said, facts, at in rows
    ]
