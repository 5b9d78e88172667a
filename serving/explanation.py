"""`GET /recommendations/{id}/explanation`: why this was recommended, and what moves it now.

From the stored row of the generation that was shown, or of a newer one; when no generation holds it
any more, from its impression, for 30 days. Nothing is ranked again: terms, features and score are
those of the night, or of the real-time ranking that stands on it.
"""

import math
from collections.abc import Sequence
from datetime import datetime
from typing import Any, Literal
from uuid import UUID

import asyncpg
import orjson
from fastapi import APIRouter
from pydantic import BaseModel, Field
from starlette.responses import Response

from seda.feedback.live_order import Movement
from seda.recommender.terms import CONTRIBUTIONS, FEATURES, INPUTS
from serving.documentation import ReasonShown
from serving.lists import check_person, personal_lists
from serving.problems import DatabaseUnavailableError, ProblemError
from serving.services import WithCaller, WithServices
from serving.session import person_session

router = APIRouter(tags=["feed"])

# A generation that is still loading is nobody's yet. $1 recommendation, $2 now
_STORED = """
with me as materialized (
    select id, deleted_at from seda.users where auth_user_id = (select auth.uid())::text
), seen as materialized (
    select i.* from me cross join lateral (
        select p.user_id, p.shown_at, p.id from seda.impression_pages p
        where p.user_id = me.id and p.shown_at > $2::timestamptz - interval '30 days'
          and $1::uuid = any (p.recommendation_ids)
        order by p.shown_at desc limit 1
    ) newest
    join seda.impressions i on i.user_id = newest.user_id and i.shown_at = newest.shown_at
        and i.page_id = newest.id and i.recommendation_id = $1::uuid
), stored as materialized (
    select r.*, g.data_versions from me
    join seda.recommendations r on r.user_id = me.id
    join seda.generations g on g.generation = r.generation
        and g.state in ('published', 'superseded')
    where r.id = $1::uuid
    order by r.generation = (select generation from seen) desc nulls last,
        -- Of somebody in a canary there are lists of both arms.
        g.arm = seda.served_arm(me.id) desc, r.generation desc limit 1
)
select me.id as user_id, me.deleted_at is not null as deleted,
       coalesce(r.entity_type, s.entity_type) as entity_type,
       coalesce(r.entity_id, s.entity_id) as entity_id, r.id is not null as kept,
       coalesce(r.generation, s.generation) as generation,
       coalesce(r.model_version, s.model_version) as model_version,
       coalesce(o.ranks[r.rank], r.rank) as rank, r.score, r.data_versions, r.context,
       coalesce(o.computed_at, r.created_at) as created_at,
       o.scores[r.rank] as score_now, o.signals[r.rank] as signal_now,
       o.presence[r.rank] as presence_now,
       coalesce(r.signals, s.features) as signals, r.contributions, s.shown_at, s.position
from me left join seen s on true left join stored r on true
left join seda.realtime_rankings o on o.user_id = me.id and o.generation = r.generation
    and o.entity_type = r.entity_type and o.expires_at > $2
"""

_OF_FALL_BACK = {
    "trending": {"kind": "popular", "text": "Trending everywhere"},
    "genre-top": {"kind": "trending_in", "text": "Trending in a genre of yours"},
}


class Contribution(BaseModel):
    """What one term gave to the score before its logistic map."""

    term: str
    contribution: float = Field(description="Signed; with the others it sums up to logit(score).")


class LiveMovement(BaseModel):
    """What moves the item in its list just now."""

    kind: Literal["friends_here", "friends_left", "listened", "skipped", "shown"]
    places: float = Field(description="Places up (positive) or down from where it was published.")
    text: str


class Explanation(BaseModel):
    """Why an item is recommended: as it was computed, and what live order adds."""

    id: UUID
    entity_type: Literal["room", "playlist", "artist"]
    entity_id: UUID
    source: Literal["recommendation", "impression"] = Field(
        description="The stored row, or, when no generation holds it any more, what was shown."
    )
    rank: int | None = Field(description="In its list, as published or ranked again since.")
    score: float | None
    reasons: list[ReasonShown]
    contributions: list[Contribution] = Field(description="Largest first.")
    features: dict[str, float | None] = Field(description="Raw; null where not known.")
    signals: dict[str, float] = Field(description="What the ranker read: calibrated features.")
    model_version: str
    generation: int | None
    data_versions: dict[str, Any]
    computed_at: datetime | None
    shown_at: datetime | None = Field(description="When it was last shown, in the last 30 days.")
    position: int | None = Field(description="Where it was shown then.")
    live: list[LiveMovement]


EXPLANATION_EXAMPLE = {
    "id": "0c9a2b1e-8a55-5c5e-9d0a-6f3a0f5a9b11",
    "entity_type": "room",
    "entity_id": "7b0f4a52-1a63-4a0e-8f0a-2f64c2a9d001",
    "source": "recommendation",
    "rank": 4,
    "score": 0.91,
    "reasons": [{"kind": "because_you_listen", "text": "Because you are in #ambient"}],
    "contributions": [
        {"term": "collaborative", "contribution": 1.62},
        {"term": "ignored_impressions", "contribution": -0.25},
    ],
    "features": {"collaborative_score": 0.71, "embedding_similarity": None},
    "signals": {"collaborative": 2.1, "ignored_impressions": 1.0},
    "model_version": "linear-tuned-3",
    "generation": 42,
    "data_versions": {"snapshot": "9f1c"},
    "computed_at": "2026-11-24T03:10:00Z",
    "shown_at": "2026-11-24T15:00:00Z",
    "position": 2,
    "live": [{"kind": "friends_here", "places": 4.0, "text": "Friends are here now"}],
}


@router.get(
    "/recommendations/{id}/explanation",
    summary="Why an item is recommended",
    responses={
        200: {
            "model": Explanation,
            "description": "The explanation.",
            "content": {"application/json": {"example": EXPLANATION_EXAMPLE}},
        }
    },
)
async def explanation(services: WithServices, caller: WithCaller, id: UUID) -> Response:
    """Reasons, signed contributions, features, versions, and what live order adds now. For 30 days
    after an item was shown; the id of somebody else's recommendation is 404."""
    region = await services.directory.region_of(caller)
    now = services.clock()
    try:
        async with person_session(services.pools, region, caller) as connection:
            row = await connection.fetchrow(_STORED, id, now)
            check_person(row)
            if row["entity_type"] is None:
                raise ProblemError(
                    404, "unknown_recommendation", "Nothing with this id was recommended to you."
                )
            lists = await personal_lists(
                connection, caller, (row["entity_type"],), None,
                shards=services.shards[region], now=now,
            )  # fmt: skip
    except asyncpg.PostgresError as problem:
        raise DatabaseUnavailableError(region) from problem
    live = lists.lists[0].movements_of(str(id))
    return Response(orjson.dumps(_document(id, row, live)), media_type="application/json")


def _document(id: UUID, row: Any, live: Sequence[Movement]) -> dict[str, Any]:
    context = orjson.loads(row["context"]) if row["kept"] else {}
    contributions = _named(CONTRIBUTIONS, row["contributions"])
    signals, features = _named(INPUTS, row["signals"]), _named(FEATURES, context.get("features"))
    score = row["score"]
    if row["score_now"] is not None:
        # Presence is all that changed, so all of the change is its contribution.
        if contributions:
            contributions["presence"] += _logit(row["score_now"]) - _logit(score)
        score = row["score_now"]
        signals |= {"presence": row["signal_now"]}
        features |= {"presence": row["presence_now"], "friend_presence_count": None}
    fall_back = _OF_FALL_BACK.get(row["model_version"])
    return {
        "id": id,
        "entity_type": row["entity_type"],
        "entity_id": str(row["entity_id"]),
        "source": "recommendation" if row["kept"] else "impression",
        "rank": row["rank"],
        "score": score,
        "reasons": context.get("reasons", [fall_back] if fall_back else []),
        "contributions": [
            {"term": term, "contribution": value}
            for term, value in sorted(contributions.items(), key=lambda each: -abs(each[1]))
        ],
        "features": features,
        "signals": signals,
        "model_version": row["model_version"],
        "generation": row["generation"],
        "data_versions": orjson.loads(row["data_versions"]) if row["kept"] else {},
        "computed_at": row["created_at"],
        "shown_at": row["shown_at"],
        "position": row["position"],
        "live": live,
    }


def _logit(score: float) -> float:
    inside = min(max(score, 1e-9), 1 - 1e-9)
    return math.log(inside / (1 - inside))


def _named(names: Sequence[str], values: Sequence[Any] | None) -> dict[str, Any]:
    """Values by name; none where they are not as many: another version's have other names."""
    if values is None or len(values) != len(names):
        return {}
    return dict(zip(names, values, strict=True))
