"""Suites of the SQL models' tables: summaries, popularity and the fall-back lists.

Keys and accepted values are checked by the models' own headers, before a table is swapped; here is
what only shows beside other tables, or beside yesterday.
"""

from seda_assets.checks.declarations import ROW_COUNT, Between, Never, NotNull, Suite, contents

_GONE = "o.id is null or o.deleted_at is not null"

SUMMARIES = (
    Suite("user_activity_summary", (
        contents(Never("nobody listens without an artist", "jsonb_typeof(t.listens) <> 'array'")),
        ROW_COUNT,
    )),
    Suite("user_profiles", (
        contents(NotNull("last_computed"), Never(
            "a profile names an artist once", "cardinality(t.top_artists) <> "
            "(select count(distinct artist) from unnest(t.top_artists) artist)")),
        ROW_COUNT,
    )),
    Suite("entity_popularity", (
        contents(Between("popularity", 0), Between("trending", 0), Between("recency", 0),
                 Never("there are no more listeners than plays", "t.listeners > t.plays")),
        ROW_COUNT,
    )),
    Suite("mv_genre_top_rooms", (
        contents(Between("rank", 1), Never("a listed room is in the catalogue", _GONE,
                                           "left join seda.rooms o on o.id = t.room_id")),
        ROW_COUNT,
    )),
    Suite("genre_top_entities", (
        contents(Between("rank", 1), Never(
            "a listed playlist is in the catalogue, and public",
            f"t.entity_type = 'playlist' and ({_GONE} or o.visibility <> 'public')",
            "left join seda.playlists o on o.id = t.entity_id")),
        ROW_COUNT,
    )),
)  # fmt: skip
