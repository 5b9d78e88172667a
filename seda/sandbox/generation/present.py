"""The present moment and the days before it: who is in which room, and the latest events."""

from typing import Final

import numpy as np
from numpy.random import Generator

from seda.sandbox.generation.draws import Longs, pick, times_before
from seda.sandbox.identity import entity_ids
from seda.sandbox.world import Events, Memberships, Moments, Plays, Presence

PRESENT_SHARE: Final = 0.03
ANALYTICS_DAYS: Final = 7
SOCIAL_DAYS: Final = 3
ANALYTICS_PER_PERSON: Final = 4
SOCIAL_PER_PERSON: Final = 1
# About what healthy indicators look like: most listens pass thirty seconds, few are skipped.
_ANALYTICS: Final = {
    "listen_30s": 0.60,
    "room_join": 0.14,
    "rec_click": 0.14,
    "track_skip": 0.08,
    "rec_dismiss": 0.04,
}
_SOCIAL: Final = {"join": 0.35, "leave": 0.30, "listen": 0.20, "vote": 0.10, "follow": 0.05}
_IN_ROOMS: Final = frozenset({"room_join", "join", "leave", "vote"})


def make_presence(
    rng: Generator, people: int, members: Memberships, now: np.datetime64
) -> Presence:
    """About `PRESENT_SHARE` of the people, each in one of their rooms, seen in the last minute."""
    order = rng.permutation(len(members.rooms))
    _, first = np.unique(members.members[order], return_index=True)
    one_each = order[first]
    chosen = np.sort(rng.permutation(one_each)[: round(PRESENT_SHARE * people)])
    return Presence(
        rooms=members.rooms[chosen],
        people=members.members[chosen],
        joined_at=times_before(rng, now - np.timedelta64(1, "m"), 1 / 16, len(chosen)),
        last_seen_at=times_before(rng, now, 1 / 1440, len(chosen)),
    )


def analytics_events(
    rng: Generator, prefix: str, people: int, plays: Plays, members: Memberships, now: np.datetime64
) -> Events:
    """Feedback of the last `ANALYTICS_DAYS`, on artists and rooms that the person knows."""
    count = people * ANALYTICS_PER_PERSON
    kinds = pick(rng, list(_ANALYTICS), count, list(_ANALYTICS.values()))
    when = times_before(rng, now, ANALYTICS_DAYS, count, recent=1.3)
    return _events(rng, f"{prefix}:analytics", kinds, plays, members, when)


def social_events(
    rng: Generator,
    prefix: str,
    people: int,
    plays: Plays,
    members: Memberships,
    presence: Presence,
    now: np.datetime64,
) -> Events:
    """Events of the last `SOCIAL_DAYS`, and the joins of those who are present, who did nothing
    after that."""
    count = people * SOCIAL_PER_PERSON
    kinds = pick(rng, list(_SOCIAL), count, list(_SOCIAL.values()))
    # Before anybody who is present now joined, so that their join is their last event.
    ended = now - np.timedelta64(2, "h")
    when = times_before(rng, ended, SOCIAL_DAYS - 0.1, count)
    past = _events(rng, f"{prefix}:social", kinds, plays, members, when)
    joined = len(presence.rooms)
    order = np.argsort(np.concatenate([past.occurred_at, presence.joined_at]), kind="stable")
    all_kinds = past.kinds + ["join"] * joined
    all_types = past.entity_types + ["room"] * joined
    return Events(
        ids=np.concatenate([past.ids, entity_ids(f"{prefix}:social:join", range(joined))])[order],
        people=np.concatenate([past.people, presence.people])[order],
        kinds=[all_kinds[event] for event in order],
        entity_types=[all_types[event] for event in order],
        entities=np.concatenate([past.entities, presence.rooms])[order],
        occurred_at=np.concatenate([past.occurred_at, presence.joined_at])[order],
    )


def _events(
    rng: Generator,
    prefix: str,
    kinds: list[str],
    plays: Plays,
    members: Memberships,
    when: Moments,
) -> Events:
    """An event per kind, about a random play or membership."""
    in_room = np.array([kind in _IN_ROOMS for kind in kinds], bool)
    played: Longs = rng.integers(0, len(plays.people), len(kinds))
    joined: Longs = rng.integers(0, len(members.rooms), len(kinds))
    order = np.argsort(when, kind="stable")
    people = np.where(in_room, members.members[joined], plays.people[played])
    entities = np.where(in_room, members.rooms[joined], plays.entities[played])
    return Events(
        ids=entity_ids(prefix, range(len(kinds))),
        people=people[order].astype(np.int32),
        kinds=[kinds[event] for event in order],
        entity_types=["room" if in_room[event] else "artist" for event in order],
        entities=entities[order].astype(np.int32),
        occurred_at=when[order],
    )
