"""Page cursors: signed, timed, and of use to one person on one endpoint only.

A cursor names the generation of each list that the reader started on and the base position of the
next item. Base positions ignore suppressions, so a dismissal between two pages opens no gap.
"""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any

from itsdangerous import (
    BadData,
    SignatureExpired,
    TimestampSigner,
    URLSafeTimedSerializer,
)

from serving.authentication import Caller
from serving.problems import ProblemError

CURSOR_LIFETIME = timedelta(hours=1)
_LONGEST = 1024


class Source(StrEnum):
    """Where a page's items come from, best first (API-5)."""

    PERSONAL = "personal"
    STALE = "stale"
    GENRE = "genre"
    TRENDING = "trending"


@dataclass(frozen=True, slots=True)
class Position:
    """Where a page starts: `key` is the base position of its first item, from 0.

    `generations` has one number per entity type of the endpoint, 0 where that type had no list,
    and is empty for lists without generations. `shown` is how many items earlier pages held.
    """

    source: Source
    generations: tuple[int, ...]
    key: int
    shown: int


class _ClockedSigner(TimestampSigner):
    def __init__(self, *args: Any, clock: Callable[[], datetime], **options: Any) -> None:
        super().__init__(*args, **options)
        self._clock = clock

    def get_timestamp(self) -> int:
        return int(self._clock().timestamp())


@dataclass(frozen=True)
class Cursors:
    """Seals positions into cursors and opens them again."""

    secret: str
    clock: Callable[[], datetime]

    def seal(self, position: Position, endpoint: str, caller: Caller) -> str:
        """The cursor of a position, URL-safe."""
        parts = (position.source, position.generations, position.key, position.shown)
        return str(self._serializer(endpoint, caller).dumps(parts))

    def open(self, cursor: str, endpoint: str, caller: Caller) -> Position:
        """The position in a cursor.

        Raises:
            ProblemError: 400 if it is not ours, not this endpoint's or not this caller's; 410 if
                it is older than its lifetime.
        """
        bad = ProblemError(
            400, "bad_cursor", "This cursor is not from an earlier page of yours: start again."
        )
        if len(cursor) > _LONGEST:
            raise bad
        try:
            source, generations, key, shown = self._serializer(endpoint, caller).loads(
                cursor, max_age=int(CURSOR_LIFETIME.total_seconds())
            )
        except SignatureExpired as problem:
            raise expired_cursor() from problem
        except BadData as problem:
            raise bad from problem
        return Position(Source(source), tuple(generations), key, shown)

    def _serializer(self, endpoint: str, caller: Caller) -> URLSafeTimedSerializer:
        return URLSafeTimedSerializer(
            self.secret,
            salt=f"seda.cursor {endpoint} {caller.sub}",
            signer=_ClockedSigner,
            signer_kwargs={
                "clock": self.clock,
                "digest_method": hashlib.sha256,
                "key_derivation": "hmac",
            },
        )


def expired_cursor() -> ProblemError:
    """410: the list that the cursor belongs to is no longer kept."""
    return ProblemError(
        410, "expired_cursor", "The list behind this cursor is gone: start from the first page."
    )
