"""What is kept for how long, and which rows stay all the same because somebody needs them.

Tables that grow with every event, page, decision or request. What belongs to a person until they
say otherwise (plays, friends, settings) is not here, nor are the audit log and privacy jobs, nor
the embeddings' ledger, which is a bill, and whose requests a counter of `/metrics` counts.
"""

from dataclasses import dataclass
from datetime import timedelta
from typing import Final, LiteralString

from seda.settings import Settings

# A reader that has not come round yet gets its events, unless it is away for as long again as they
# are kept: who came and went then moves nobody's list any more.
_UNREAD: Final = """
    t.received_at >= %(last)s and exists (
        select from seda.event_cursors c where c.transaction_id <= t.transaction_id)"""
# Plays are merged into seda.activity_counts up to a watermark, and what is behind it is not yet.
_UNMERGED: Final = """
    exists (select from seda.activity_watermarks w
            where w.stream = 'fact_events' and w.watermark < t.id)"""
# A vector's newest entry says where it came from for as long as there is the vector.
_NEWEST: Final = """
    not exists (select from seda.embeddings_audit n
                where n.entity_type = t.entity_type and n.entity_uuid = t.entity_uuid
                  and (n.provider, n.model, n.version) = (t.provider, t.model, t.version)
                  and n.computed_at > t.computed_at)"""
# What still has tables, or somebody who names it.
_IN_USE: Final = """
    t.state <> 'dropped'
    or to_regclass('seda.recommendations_g' || t.generation) is not null
    or to_regclass('seda.mv_user_top_candidates_g' || t.generation) is not null
    or exists (select from seda.generation_pointer p where p.generation = t.generation)
    or exists (select from seda.realtime_rankings r where r.generation = t.generation)"""


# The other relations → why no sweep takes anything out of them.
UNSWEPT: Final = {
    "a person's, until they say otherwise or are deleted": """
        users region_directory user_profiles user_activity_summary user_vectors activity_counts
        artist_follows friends room_members playlists playlist_artists rooms linked_accounts
        provider_imports import_changes device_tokens notification_preferences
        experiment_assignments privacy_jobs tombstones erased_people""",
    "the catalogue, and what is computed of it": """
        artists artist_genres artists_vectors artists_sketches playlists_vectors playlists_sketches
        rooms_vectors rooms_sketches entity_popularity genre_top_entities mv_genre_top_rooms""",
    "counts by day, of nobody": """
        daily_impressions daily_sessions kpi_active_sessions kpi_click_through kpi_dismissals
        kpi_listens_30s kpi_novelty kpi_retention_d7 kpi_skips kpi_social_lift""",
    "goes with its generation, two hours after it was served last": """
        recommendations mv_user_top_candidates""",
    "one row for each thing that there is": """
        activity_watermarks event_cursors generation_pointer circuit_breakers embedding_spaces
        model_registry experiments vector_indexes vector_routes provider_credentials audit_head
        realtime_processes push_caps toast_caps""",
    "taken out by whoever works it off": """
        embedding_queue catalogue_changes push_outbox link_attempts presence_holds room_presence
        realtime_sessions""",
    "the newest thousand of a kind": "notices",
    "a bill": "embedding_spend embedding_budget_overrides",
    "three years, by a rule of its own": "audit_log",
}


@dataclass(frozen=True, slots=True)
class Stream:
    """Rows of `table` go once `moment`, a timestamptz of theirs, is longer ago than `kept`; one
    without the moment stays. `needed` is a condition of rows `t` that stay: it may name
    %(before)s, before which moments are over, and %(last)s, as long before that again."""

    table: LiteralString
    moment: LiteralString
    kept: timedelta
    needed: LiteralString = "false"


def streams(settings: Settings) -> tuple[Stream, ...]:
    """Every stream with its period."""

    def days(count: int) -> timedelta:
        return timedelta(days=count)

    operations = days(settings.operations_retention_days)
    impressions = days(settings.impression_retention_days)
    return (
        Stream("fact_events", "created_at", days(settings.event_retention_days), _UNMERGED),
        Stream("social_events", "received_at", days(settings.social_event_retention_days), _UNREAD),
        Stream("event_receipts", "received_at", days(settings.receipt_retention_days)),
        Stream("impression_pages", "shown_at", impressions),
        Stream("notification_log", "decided_at", days(settings.notification_retention_days)),
        # Its card can be asked about for thirty days after it could be shown again.
        Stream("suppressions", "suppressed_until", days(30)),
        Stream("realtime_rankings", "expires_at", timedelta()),
        # Impressions name the generation that they are of.
        Stream("generations", "created_at", impressions, _IN_USE),
        Stream("embeddings_audit", "computed_at", operations, _NEWEST),
        Stream("circuit_breaker_transitions", "happened_at", operations),
        Stream("vector_comparisons", "compared_at", operations),
        Stream("canary_looks", "looked_at", operations),
        # What still waits to be made again has no such moment.
        Stream("stale_artefacts", "remade_at", operations),
    )
