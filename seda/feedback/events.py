"""What a person did, as their app reports it: which events there are, and which can be believed.

Two streams: feedback (`fact_events`) says what people made of recommendations; social events move
presence and the social signals. An event is about one entity, and its id makes it happen once.
"""

import json
from dataclasses import dataclass
from datetime import datetime, timedelta
from hashlib import sha256
from struct import Struct
from typing import Any, Final
from uuid import UUID

import orjson

from seda.errors import SedaError

FEEDBACK: Final = frozenset({"rec_click", "listen_30s", "track_skip", "rec_dismiss", "room_join"})
SOCIAL: Final = frozenset({"join", "leave", "vote", "follow", "listen"})
PRESENCE: Final = frozenset({"join", "leave"})
IN_ROOMS: Final = PRESENCE | {"room_join"}

FUTURE: Final = timedelta(seconds=60)
"""How far a client's clock may be ahead."""
PAST: Final = timedelta(days=7)
"""How long a client may hold events back; receipts are kept for longer."""
LARGEST_PROPS: Final = 2048
"""Bytes of JSON."""
_MOMENT: Final = Struct(">q")


class EventRefusedError(SedaError):
    """One event that is not taken, with the reason for its sender."""


@dataclass(frozen=True, slots=True)
class Event:
    """One event; `props` is a JSON object, `body_hash` the SHA-256 of everything but the id."""

    id: UUID
    type: str
    entity_type: str
    entity_id: UUID
    occurred_at: datetime
    props: str
    body_hash: bytes


def checked_event(
    *,
    id: UUID,
    type: str,
    entity_type: str,
    entity_id: UUID,
    occurred_at: datetime,
    props: dict[str, Any],
    now: datetime,
) -> Event:
    """An event that can be believed and stored; `occurred_at` has a time zone.

    Feedback keeps its entity in its props, where its readers look for it.

    Raises:
        EventRefusedError: its time is out of bounds, or it does not fit its type, or its props
            are too large or cannot be stored.
    """
    if occurred_at > now + FUTURE:
        raise EventRefusedError("occurred_at is in the future: set the clock.")
    if occurred_at < now - PAST:
        raise EventRefusedError(f"occurred_at is more than {PAST.days} days ago.")
    if type in IN_ROOMS and entity_type != "room":
        raise EventRefusedError(f"{type} is about a room, and entity_type is {entity_type}.")
    said = _json(props)
    kinds = f"{type} {entity_type}".encode()
    moment = _MOMENT.pack(round(occurred_at.timestamp() * 1e6))
    body_hash = sha256(b"".join((kinds, entity_id.bytes, moment, said))).digest()
    if type in FEEDBACK:
        said = orjson.dumps({**props, "entity_type": entity_type, "entity_id": entity_id})
    return Event(id, type, entity_type, entity_id, occurred_at, said.decode(), body_hash)


def _json(props: dict[str, Any]) -> bytes:
    if not props:
        return b"{}"
    try:
        said = orjson.dumps(props, option=orjson.OPT_SORT_KEYS)
    except TypeError as problem:  # a lone surrogate, a number beyond 64 bits, too deep
        raise EventRefusedError(f"props cannot be stored: {problem}.") from problem
    if len(said) > LARGEST_PROPS:
        raise EventRefusedError(f"props are more than {LARGEST_PROPS} bytes of JSON.")
    if b"\\u0000" in said.replace(b"\\\\", b""):
        raise EventRefusedError("props hold a NUL character.")
    if b"null" in said and _has_no_number(props):
        raise EventRefusedError("props hold NaN or a number without end.")
    return said


def _has_no_number(props: dict[str, Any]) -> bool:
    """Whether NaN or an infinity is among them, which would be stored as null."""
    try:
        json.dumps(props, allow_nan=False)
    except ValueError:
        return True
    return False
