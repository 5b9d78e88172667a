"""When a friend's coming is worth a toast (SOC-3), and what it says (SOC-4): a pure decision.

Only visible friends make a toast; those who hide are at most in its count, and whoever asks has
decided whether they may be. The caps are also held by the database, across processes
(`seda.notifications.toast_slots`): here they spare it the question.
"""

from collections.abc import Collection, Hashable, Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import StrEnum
from uuid import UUID

from seda.social.copy import Face, SocialBlock, social_block

THRESHOLDS = (1, 3, 10)
TOASTS_PER_SESSION = 3
APART = timedelta(minutes=10)


class Moment(StrEnum):
    """What is worth telling: the friend who makes it one, three or ten."""

    FIRST_FRIEND = "first_friend"
    THREE_FRIENDS = "three_friends"
    TEN_FRIENDS = "ten_friends"

    @property
    def friends(self) -> int:
        """The threshold, in visible friends."""
        return THRESHOLDS[list(Moment).index(self)]


class DropReason(StrEnum):
    """Why there is no toast."""

    TOASTS_OFF = "toasts_off"
    ROOM_SUPPRESSED = "room_suppressed"
    NOBODY_CAME = "nobody_came"
    """No visible friend who came is still there."""
    NO_MOMENT = "no_moment"
    ALREADY_TOLD = "already_told"
    """The session had this moment of this room, or a greater one."""
    SESSION_CAP = "session_cap"
    TOO_SOON = "too_soon"


@dataclass(frozen=True, slots=True)
class Friend:
    """A visible friend in the room."""

    user_id: UUID
    face: Face


@dataclass(frozen=True, slots=True)
class Candidate:
    """Friends came into a room: `present` are the visible ones there, first comers first.

    `came` are the ids of those who came just now. `hidden` friends are counted, never more: the
    caller knows whether SOC-4 lets them be.
    """

    room_id: UUID
    room_name: str
    present: tuple[Friend, ...]
    came: frozenset[UUID]
    hidden: int = 0


@dataclass(frozen=True, slots=True)
class Toast:
    """What a person is told."""

    candidate: Candidate
    moment: Moment

    def block(self) -> SocialBlock:
        """Its words and faces."""
        candidate = self.candidate
        faces = [friend.face for friend in candidate.present]
        return social_block(faces, len(faces) + candidate.hidden, candidate.room_name)


@dataclass(frozen=True, slots=True)
class Preferences:
    """What the person chose; `suppressed` are the ids of the rooms that they dismissed."""

    toasts_enabled: bool = True
    suppressed: frozenset[UUID] = frozenset()


@dataclass(frozen=True, slots=True)
class History:
    """What a session was told: `sent` toasts, `told` by room, and the person's last in any session.

    `pending` was decided and is not out yet: it counts in `sent` and `last_sent_at` already.
    """

    sent: int = 0
    last_sent_at: datetime | None = None
    told: frozenset[tuple[UUID, Moment]] = frozenset()
    pending: Toast | None = None

    def after(self, decision: "Decision", now: datetime) -> "History":
        """The history once the decision is carried out."""
        if isinstance(decision, Drop):
            return self
        toast = decision.toast
        told = self.told | {(toast.candidate.room_id, toast.moment)}
        if isinstance(decision, Merge):
            return replace(self, told=told, pending=toast)
        return History(self.sent + 1, now, told, toast)


@dataclass(frozen=True, slots=True)
class Send:
    """A toast of its own."""

    toast: Toast


@dataclass(frozen=True, slots=True)
class Merge:
    """The toast that takes the place of the pending one: everybody of both."""

    toast: Toast


@dataclass(frozen=True, slots=True)
class Drop:
    """No toast."""

    reason: DropReason


Decision = Send | Merge | Drop


def decide(
    candidate: Candidate, history: History, preferences: Preferences, now: datetime
) -> Decision:
    """Whether a session is told, at most three times and ten minutes after the person's last."""
    if not preferences.toasts_enabled:
        return Drop(DropReason.TOASTS_OFF)
    if candidate.room_id in preferences.suppressed:
        return Drop(DropReason.ROOM_SUPPRESSED)
    if not candidate.came.intersection(_ids(candidate.present)):
        return Drop(DropReason.NOBODY_CAME)
    if history.pending is not None and history.pending.candidate.room_id == candidate.room_id:
        return Merge(_merged(history.pending, candidate))
    moment = moment_of(candidate)
    if moment is None:
        return Drop(DropReason.NO_MOMENT)
    told = [done for room_id, done in history.told if room_id == candidate.room_id]
    if any(done.friends >= moment.friends for done in told):
        return Drop(DropReason.ALREADY_TOLD)
    if history.sent >= TOASTS_PER_SESSION:
        return Drop(DropReason.SESSION_CAP)
    if history.last_sent_at is not None and now - history.last_sent_at < APART:
        return Drop(DropReason.TOO_SOON)
    return Send(Toast(candidate, moment))


def moment_of(candidate: Candidate) -> Moment | None:
    """The greatest threshold at which one of those who came stands, by order of coming.

    By place and not by a count of before: two processes that each see one of two friends come at
    once agree on who was the first.
    """
    return moment_among([friend.user_id for friend in candidate.present], candidate.came)


def moment_among(present: Sequence[Hashable], came: Collection[Hashable]) -> Moment | None:
    """`moment_of`, by ids of any kind: those who are there, first comers first, and who came."""
    for moment in reversed(Moment):
        place = moment.friends - 1
        if place < len(present) and present[place] in came:
            return moment
    return None


def still_there(toast: Toast, present: Iterable[UUID]) -> Toast | None:
    """The toast without those who left meanwhile; None where nobody who came is left.

    Hidden friends are counted only beside a visible one, so that they go with the last.
    """
    there = frozenset(present)
    candidate = toast.candidate
    left = tuple(friend for friend in candidate.present if friend.user_id in there)
    came = candidate.came & there
    if not came.intersection(_ids(left)):
        return None
    return replace(toast, candidate=replace(candidate, present=left, came=came))


def _merged(pending: Toast, candidate: Candidate) -> Toast:
    """Everybody of both, those of the pending toast first."""
    first = pending.candidate
    known = _ids(first.present)
    newly = tuple(friend for friend in candidate.present if friend.user_id not in known)
    both = replace(
        candidate,
        present=first.present + newly,
        came=first.came | candidate.came,
        hidden=max(first.hidden, candidate.hidden),
    )
    moments = [moment for moment in (pending.moment, moment_of(both)) if moment is not None]
    return Toast(both, max(moments, key=lambda moment: moment.friends))


def _ids(friends: Iterable[Friend]) -> frozenset[UUID]:
    return frozenset(friend.user_id for friend in friends)
