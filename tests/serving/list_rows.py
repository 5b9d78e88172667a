"""Rows of one published list, best first: `recommendations` and the cards."""

import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING
from uuid import UUID

from seda.publishing.cards import Reason, card_json, recommendation_id
from seda.recommender.terms import CONTRIBUTIONS, FEATURES, INPUTS

if TYPE_CHECKING:
    from tests.serving.serving_world import Entity, Listener

EXPLORING = 3  # the place of every list that explores, with propensity 1/8


def write_list(
    sql: Callable[..., object],
    listener: "Listener",
    generation: int,
    entities: list["Entity"],
    lifetime: timedelta,
    model_version: str,
) -> None:
    """The list's cards and its rows, as the owner."""
    now = datetime.now(UTC)
    ids = [
        UUID(bytes=recommendation_id(listener.id.bytes, entity.type, entity.id.bytes))
        for entity in entities
    ]
    scores = [1 - place / 100 for place in range(len(entities))]
    cards = [
        card_json(
            id=id,
            entity_type=entity.type,
            entity_id=entity.id,
            name=entity.name,
            score=score,
            reasons=[Reason("fits_taste", "Because it fits")],
            is_new=entity.is_new,
            model_version=model_version,
        ).decode()
        for id, entity, score in zip(ids, entities, scores, strict=True)
    ]
    sql(
        "insert into seda.mv_user_top_candidates (generation, user_id, entity_type, "
        "recommendation_ids, entity_ids, scores, cards, is_new, genres, model_version, "
        "created_at, expires_at) values (%s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s)",
        generation,
        listener.id,
        entities[0].type,
        ids,
        [entity.id for entity in entities],
        scores,
        cards,
        [entity.is_new for entity in entities],
        [entity.genre for entity in entities],
        model_version,
        now,
        now + lifetime,
        region=listener.region,
    )
    for rank, (id, entity) in enumerate(zip(ids, entities, strict=True), start=1):
        sql(
            "insert into seda.recommendations (id, generation, user_id, entity_type, "
            "entity_id, rank, score, model_version, created_at, expires_at, signals, "
            "contributions, context) "
            "values (%s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s)",
            id,
            generation,
            listener.id,
            entity.type,
            entity.id,
            rank,
            scores[rank - 1],
            model_version,
            now,
            now + lifetime,
            [rank + place / 100 for place in range(len(INPUTS))],
            [0.5 - place / 10 for place in range(len(CONTRIBUTIONS))],
            json.dumps(
                {
                    "is_new": entity.is_new,
                    "reasons": [{"kind": "fits_taste", "text": "Because it fits"}],
                    "features": [None] + [0.25] * (len(FEATURES) - 1),
                    **({"exploration": {"propensity": 0.125}} if rank == EXPLORING else {}),
                }
            ),
            region=listener.region,
        )
