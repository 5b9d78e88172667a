"""Observed sources: the tables that people and catalogue feeds write, outside the graph.

An observation records how many rows there are and a version of the contents, per region; it never
materialises anything.
"""

from typing import Any

import dagster as dg
from psycopg import sql

from seda.privacy.datamap import holds_people
from seda_assets.assets.column_schemas import stored_columns
from seda_assets.assets.samples import sample_rows
from seda_assets.resources import Platform

# Relation → expressions whose values change when its rows do. Row counts are always part of it.
SOURCES: dict[str, str] = {
    "users": "max(created_at), count(deleted_at)",
    "artists": "max(last_updated), count(deleted_at)",
    "artist_genres": "sum(weight::float8)",
    "playlists": "max(last_updated), count(deleted_at)",
    "playlist_artists": "sum(position)",
    "rooms": "max(last_updated), count(deleted_at)",
    "friends": "max(created_at)",
    "activity_counts": "max(period), sum(plays)",
    "room_members": "max(last_joined_at)",
    "artist_follows": "max(created_at)",
    "room_presence": "max(last_seen_at)",
    "social_events": "max(id)",
    "suppressions": "max(created_at), max(suppressed_until)",
    "impression_pages": "max(shown_at)",
    "fact_events": "max(id)",
    "tombstones": "max(created_at), count(purged_at)",
}

_DESCRIPTIONS = {
    "users": "People, each in the database of their own region.",
    "artists": "Artists; the same catalogue in both regions.",
    "artist_genres": "Weighted genres (tags) of artists.",
    "playlists": "Playlists; private ones are never recommended.",
    "playlist_artists": "What a playlist contains.",
    "rooms": "Rooms in which people gather.",
    "friends": "Friendships, two rows each; follows and blocks.",
    "activity_counts": "Plays per person, entity, source and period: the truth of listening.",
    "room_members": "Who joined which room.",
    "social_events": "Joins, leaves, votes, follows and listens of the last seven days.",
    "artist_follows": "Who follows which artist.",
    "room_presence": "Who is in which room now.",
    "suppressions": "What people dismissed; live, joined at read time too.",
    "impression_pages": "What was shown, where, and with what propensity; a page a row.",
    "fact_events": "What people did with what they were shown; thirty days of it.",
    "tombstones": "Who asked for deletion; excluded at once, never to come back.",
}


def observe(platform: Platform, relation: str) -> dg.ObserveResult:
    """Row counts of one source in both regions, and a version of its contents."""
    query = sql.SQL("select count(*), md5(concat_ws('|', count(*), {})) from {}").format(
        sql.SQL(SOURCES[relation]), sql.Identifier("seda", relation)
    )
    counts: dict[str, Any] = {}
    total, versions = 0, []
    for database in platform.databases:
        with database.transaction() as connection:
            row = connection.execute(query).fetchone()
            assert row is not None
            counts[f"rows_{database.region}"] = row[0]
            total += row[0]
            versions.append(row[1])
    counts["dagster/column_schema"] = stored_columns(platform, f"seda.{relation}")
    if not holds_people(relation):
        counts["sample"] = sample_rows(platform, f"seda.{relation}")
    return dg.ObserveResult(
        data_version=dg.DataVersion("-".join(version[:12] for version in versions)),
        metadata={"dagster/row_count": total, **counts},
    )


def _source(relation: str) -> dg.SourceAsset:
    @dg.observable_source_asset(
        key=["seda", relation],
        group_name="sources",
        description=_DESCRIPTIONS[relation],
        metadata={"dagster/relation_identifier": f"seda.{relation}"},
        tags={"seda/layer": "source"},
    )
    def source(platform: dg.ResourceParam[Platform]) -> dg.ObserveResult:
        return observe(platform, relation)

    return source


source_assets = [_source(relation) for relation in SOURCES]
