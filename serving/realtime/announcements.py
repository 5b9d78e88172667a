"""What the database announces: presence that changed, circles of friends, feeds that are new.

The formats are those of `seda.announce_presence`, `seda.tell_friends_changed` and the durable
lane; nothing here is believed beyond its form, since whoever reads it looks the rest up.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Final
from uuid import UUID

import orjson

PRESENCE: Final = "seda_presence"
CIRCLES: Final = "seda_circles"
FEED_UPDATED: Final = "seda_feed_updated"
CHANNELS: Final = (PRESENCE, CIRCLES, FEED_UPDATED)

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_change = re.compile(r"([+~-])([0-9a-f]{32})([0-9a-f]{32})(\d{1,17})").fullmatch


@dataclass(frozen=True, slots=True)
class PresenceChange:
    """A person came (`+`) or left (`-`) at a moment, or will have left by then (`~`).

    Ids are 32 hexadecimal digits: what is looked up thousands of times a second hashes once.
    """

    kind: str
    actor_id: str
    room_id: str
    at: datetime


def presence_changes(payload: str) -> Iterator[PresenceChange]:
    """The changes of one transaction, in order; what is none is passed over."""
    for line in payload.split(" ")[1:]:
        found = _change(line)
        if found is not None:
            kind, actor, room, moment = found.groups()
            at = _EPOCH + timedelta(microseconds=int(moment))
            yield PresenceChange(kind, actor, room, at)


@dataclass(frozen=True, slots=True)
class FeedUpdate:
    """New feeds of some people; `document` is what their clients are sent."""

    users: tuple[UUID, ...]
    document: dict[str, Any]


def feed_update(payload: str) -> FeedUpdate | None:
    """A `seda_feed_updated` payload; None where it is none."""
    try:
        told = orjson.loads(payload)
        users = tuple(UUID(each) for each in told["users"])
        document = {name: told[name] for name in ("entity_types", "reason", "at")}
    except (ValueError, KeyError, TypeError, AttributeError):
        return None
    return FeedUpdate(users, document)
