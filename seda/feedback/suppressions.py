"""Dismissals: what each kind hides for how long, and which of two counts; nothing is stored here.

A suppression is one row per person and entity. A stronger kind replaces a weaker one; a weaker or
equal one leaves what is there, so a repeated call gets the same answer.
"""

from datetime import datetime, timedelta
from enum import StrEnum
from typing import Final
from uuid import UUID, uuid5


class SuppressionKind(StrEnum):
    """How much a person does not want to see something, weakest first (FBK-1)."""

    DISMISS = "dismiss"
    NOT_INTERESTED = "not_interested"
    NEVER = "never"


KINDS: Final = tuple(SuppressionKind)
UNDO: Final = timedelta(seconds=10)
_DURATIONS: Final = {
    SuppressionKind.DISMISS: timedelta(hours=24),
    SuppressionKind.NOT_INTERESTED: timedelta(days=30),
    SuppressionKind.NEVER: None,
}
_EVENTS: Final = UUID("2a0e6f0c-6f0c-5d0a-8f0e-5d15a1550002")


def suppressed_until(kind: SuppressionKind, now: datetime) -> datetime | None:
    """When the entity may be shown again; None is never, unless it is reversed."""
    duration = _DURATIONS[kind]
    return None if duration is None else now + duration


def dismissal_event_id(suppression_id: UUID, kind: SuppressionKind, since: datetime) -> UUID:
    """The id of the `rec_dismiss` event of a suppression: the same for the same dismissal."""
    return uuid5(_EVENTS, f"{suppression_id} {kind} {since.timestamp():.6f}")
