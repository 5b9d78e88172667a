"""Suites of the sources: what other systems and people wrote, before anything is made of it.

What a table's own constraints refuse is not asked again. Nothing here blocks: the night works with
what there is, and what it makes of it is inspected before it is served.
"""

from datetime import timedelta

from seda_assets.checks.declarations import (
    ROW_COUNT,
    Between,
    Check,
    Never,
    Suite,
    contents,
    event_time,
)

_DAY = timedelta(days=1)
_NAMED = Never("a name is not empty", "btrim(t.name) = ''")
_ONE_WAY = Never(
    "a friendship within the region is two rows",
    "t.relationship_type = 'friend' and r.user_id is null and o.id is not null",
    "left join seda.users o on o.id = t.friend_user_id left join seda.friends r on "
    "r.user_id = t.friend_user_id and r.friend_user_id = t.user_id "
    "and r.relationship_type = 'friend'",
)
# One side may have ended it: such a row moves nothing, and many of them are a writer's mistake.
_BOTH_SIDES = Check(
    "both_sides", "A friendship within the region is two rows.", (_ONE_WAY,), is_warning=True
)

SOURCES = (
    Suite("users", (
        contents(
            Never("nobody is from the future", "t.created_at > {now} + interval '1 day'"),
            Never("nobody was deleted before they came", "t.deleted_at < t.created_at"),
        ),
        ROW_COUNT,
    )),
    Suite("artists", (contents(_NAMED, Between("popularity_score", 0)), ROW_COUNT)),
    Suite("artist_genres", (
        contents(Never("a genre is not empty", "btrim(t.genre) = ''")), ROW_COUNT,
    )),
    Suite("playlists", (contents(_NAMED, Between("track_count", 0)), ROW_COUNT)),
    Suite("playlist_artists", (contents(Between("position", 0)), ROW_COUNT)),
    Suite("rooms", (contents(_NAMED), ROW_COUNT)),
    Suite("friends", (_BOTH_SIDES, ROW_COUNT)),
    Suite("activity_counts", (
        contents(Never("nothing is played in the future", "t.period > {now} + interval '1 day'")),
        ROW_COUNT,
    )),
    Suite("room_members", (
        contents(Never("who came again came before", "t.last_joined_at < t.joined_at")),
        ROW_COUNT,
    )),
    Suite("artist_follows", (
        contents(Never("no follow is from the future", "t.created_at > {now} + interval '1 day'")),
        ROW_COUNT,
    )),
    Suite("room_presence", (
        contents(Never("nobody was seen before they came", "t.last_seen_at < t.joined_at")),
    )),
    Suite("social_events", (
        contents(Never("no event is received before it happens",
                       "t.occurred_at > t.received_at + interval '1 day'")),
        event_time("received_at", _DAY),
    )),
    Suite("suppressions", (
        contents(Never("a dismissal ends after it began", "t.suppressed_until < t.created_at")),
    )),
    Suite("impression_pages", (
        contents(Never("each item has a position and a propensity",
                       "cardinality(t.entity_ids) <> cardinality(t.positions)")),
        event_time("shown_at", _DAY),
    )),
    Suite("fact_events", (
        contents(Never("no event is from the future", "t.created_at > {now} + interval '1 day'")),
        event_time("created_at", _DAY),
    )),
    Suite("tombstones", (
        contents(Never("who asked for deletion is gone after 30 days",
                       "t.purged_at is null and t.created_at < {now} - interval '30 days'")),
    )),
    Suite("model_registry", (
        contents(Never("one version of a model is active",
                       "t.stage = 'active' and exists (select from seda.model_registry o "
                       "where o.name = t.name and o.version <> t.version "
                       "and o.stage = 'active')")),
    )),
    Suite("provider_imports", (
        contents(Never("no more artists are matched than came", "t.matched_artists > t.artists")),
    )),
)  # fmt: skip
