"""Whether a moment is worth a push (NTF-1): a pure decision with an enumerated reason each way.

The rolling day is also held by the database, where it is safe against other workers (`outbox`);
here it spares it the question.
"""

from dataclasses import dataclass
from datetime import datetime, time, timedelta
from enum import StrEnum
from zoneinfo import ZoneInfo

ROLLING_DAY = timedelta(hours=24)
FRIENDS_ENOUGH = 2
HIGH_AFFINITY = 0.7
NOVELTY_SCORE = 0.9


class PushReason(StrEnum):
    """What decided; the first three send, in the order in which they are looked at."""

    FRIENDS_PRESENT = "friends_present"
    CLOSE_FRIEND = "close_friend"
    NOVELTY = "novelty"
    NOT_OPTED_IN = "not_opted_in"
    NO_DEVICE = "no_device"
    ROOM_SUPPRESSED = "room_suppressed"
    LOW_SCORE = "low_score"
    NO_OCCASION = "no_occasion"
    """The score would do, but neither friends nor novelty are there."""
    UNKNOWN_TIME_ZONE = "unknown_time_zone"
    """Quiet hours are asked for, and nobody knows when they are: nothing is sent."""
    QUIET_HOURS = "quiet_hours"
    SENT_RECENTLY = "sent_recently"

    @property
    def sends(self) -> bool:
        """Whether a push goes out."""
        return self in (self.FRIENDS_PRESENT, self.CLOSE_FRIEND, self.NOVELTY)


@dataclass(frozen=True, slots=True)
class Occasion:
    """A moment of one person and one entity, as it is at the event.

    `score` in [0, 1]; `affinities` in [0, 1], one for each *visible* friend who is there: a friend
    who hides never moves a push.
    """

    score: float
    affinities: tuple[float, ...] = ()
    is_new: bool = False
    suppressed: bool = False


@dataclass(frozen=True, slots=True)
class QuietHours:
    """From `start` until before `end` by the wall clock; overnight where `end` is earlier.

    Equal ends are a whole day: from eight until the next eight.
    """

    start: time
    end: time

    def hold(self, wall: time) -> bool:
        """Whether they hold at a wall-clock time."""
        if self.start < self.end:
            return self.start <= wall < self.end
        return wall >= self.start or wall < self.end


@dataclass(frozen=True, slots=True)
class PushPreferences:
    """What the person chose; `time_zone` is an IANA name, as it is at the moment."""

    opted_in: bool = False
    quiet_hours: QuietHours | None = None
    time_zone: str = "UTC"
    has_device: bool = True


def decide_push(
    occasion: Occasion,
    preferences: PushPreferences,
    last_sent_at: datetime | None,
    now: datetime,
    threshold: float,
) -> PushReason:
    """What becomes of an occasion; `now` and `last_sent_at` are aware, `threshold` in [0, 1]."""
    if not preferences.opted_in:
        return PushReason.NOT_OPTED_IN
    if not preferences.has_device:
        return PushReason.NO_DEVICE
    if occasion.suppressed:
        return PushReason.ROOM_SUPPRESSED
    if not occasion.score >= threshold:  # a score that is no number is none
        return PushReason.LOW_SCORE
    cause = _cause(occasion)
    if not cause.sends:
        return cause
    quiet = quiet_reason(preferences, now)
    if quiet is not None:
        return quiet
    if last_sent_at is not None and now - last_sent_at < ROLLING_DAY:
        return PushReason.SENT_RECENTLY
    return cause


def quiet_reason(preferences: PushPreferences, now: datetime) -> PushReason | None:
    """Why the person's clock forbids a push now; None where it does not.

    The wall clock decides: an hour that a change of clocks repeats is quiet twice, one that it
    skips never comes, and who travels takes their quiet hours along.
    """
    if preferences.quiet_hours is None:
        return None
    try:
        zone = ZoneInfo(preferences.time_zone)
    except (KeyError, ValueError, OSError):  # no such zone, no name, or a folder of zones
        return PushReason.UNKNOWN_TIME_ZONE
    wall = now.astimezone(zone).time()
    return PushReason.QUIET_HOURS if preferences.quiet_hours.hold(wall) else None


def _cause(occasion: Occasion) -> PushReason:
    if len(occasion.affinities) >= FRIENDS_ENOUGH:
        return PushReason.FRIENDS_PRESENT
    if len(occasion.affinities) == 1 and occasion.affinities[0] >= HIGH_AFFINITY:
        return PushReason.CLOSE_FRIEND
    if occasion.is_new and occasion.score >= NOVELTY_SCORE:
        return PushReason.NOVELTY
    return PushReason.NO_OCCASION
