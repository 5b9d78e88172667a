"""Page cursors: signed, timed, and of use to one person on one endpoint only.

The cursor of a published list names the generations that the reader started on and the base places
that were served, as bits: so no page repeats or skips anything, however the live order moves and
whatever is dismissed or published between two pages.
"""

import hashlib
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any

import orjson
from itsdangerous import BadData, SignatureExpired, TimestampSigner

from serving.authentication import Caller
from serving.problems import ProblemError

CURSOR_LIFETIME = timedelta(hours=1)
_LONGEST = 4096


class Source(StrEnum):
    """Where a page's items come from, best first (API-5)."""

    PERSONAL = "personal"
    STALE = "stale"
    GENRE = "genre"
    TRENDING = "trending"


@dataclass(frozen=True, slots=True)
class Position:
    """Where a page starts, and what the pages before it held.

    Published lists: `generations` has one number per entity type of the endpoint, 0 where that
    type had no list; bit p of `served` says that base place p was served. Fall-back lists, which
    have neither: `key` is the least position of the next item, `shown` counts what was shown, and
    `seen` are the heads of its entities' ids.
    """

    source: Source
    generations: tuple[int, ...] = ()
    served: int = 0
    key: int = 0
    shown: int = 0
    seen: tuple[str, ...] = ()


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
        served = position.served.to_bytes((position.served.bit_length() + 7) // 8, "little")
        parts = (
            position.source, position.generations, _base64(served), position.key, position.shown,
            "".join(position.seen),
        )  # fmt: skip
        sealed: bytes = self._signer(endpoint, caller).sign(_base64(orjson.dumps(parts)))
        return sealed.decode()

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
            payload = self._signer(endpoint, caller).unsign(
                cursor, max_age=int(CURSOR_LIFETIME.total_seconds())
            )
            # Signed, so ours; but perhaps of a version before this one.
            source, generations, served, key, shown, seen = orjson.loads(_bytes(payload.decode()))
        except SignatureExpired as problem:
            raise expired_cursor() from problem
        except (BadData, ValueError) as problem:
            raise bad from problem
        return Position(
            Source(source), tuple(generations), int.from_bytes(_bytes(served), "little"), key,
            shown, tuple(seen[head : head + SEEN_HEAD] for head in range(0, len(seen), SEEN_HEAD)),
        )  # fmt: skip

    def _signer(self, endpoint: str, caller: Caller) -> _ClockedSigner:
        return _ClockedSigner(
            self.secret,
            salt=f"seda.cursor {endpoint} {caller.sub}",
            clock=self.clock,
            digest_method=hashlib.sha256,
            key_derivation="hmac",
        )


SEEN_HEAD = 8
"""Characters of an entity's id that a cursor keeps."""


def _base64(data: bytes) -> str:
    return urlsafe_b64encode(data).rstrip(b"=").decode()


def _bytes(text: str) -> bytes:
    return urlsafe_b64decode(text + "=" * (-len(text) % 4))


def expired_cursor() -> ProblemError:
    """410: the list that the cursor belongs to is no longer kept."""
    return ProblemError(
        410, "expired_cursor", "The list behind this cursor is gone: start from the first page."
    )
