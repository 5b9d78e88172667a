"""Inspecting what was loaded before anybody is served it: the invariants of a published list.

`inspect` only reads: a generation with findings is not published by whoever asked, and what is
served stays. Everything about people is counted where they live; a finding names no one.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any

import psycopg

from seda.database.regions import Shard
from seda.errors import SedaError
from seda.publishing import inspection_queries as queries
from seda.publishing.cards import ENTITY_TYPES
from seda.recommender.diversity.novelty import quota

LONGEST_LIST = 50
"""Places of a list, per person and type (REC-6)."""
FACTOR = 2.0
"""Rows per person may move by this factor from one generation to the next, up or down."""
SLACK = 100
"""A shard of few people moves by chance: fewer rows than this are no explosion and no collapse."""


class UnsoundGenerationError(SedaError):
    """What was loaded breaks an invariant, and so what was served stays."""


class Invariant(StrEnum):
    """What must hold of every list that is published; the value is the asset check's name."""

    NO_DELETED_USER = "no_deleted_user"
    NO_CROSS_REGION_ROW = "no_cross_region_row"
    NO_SUPPRESSED_ENTITY = "no_suppressed_entity"
    NO_WITHDRAWN_ENTITY = "no_withdrawn_entity"
    WHOLE_GENERATION = "whole_generation"
    ROW_COUNT = "row_count_against_served"
    NOVELTY_QUOTA = "novelty_quota"
    SCORE_RANGE = "score_range"


MEANINGS = {
    Invariant.NO_DELETED_USER: "Nobody has a list who was deleted before the run began.",
    Invariant.NO_CROSS_REGION_ROW: "Everybody who has a list lives in this region and shard.",
    Invariant.NO_SUPPRESSED_ENTITY: "Nothing is listed that the person hid before the run began.",
    Invariant.NO_WITHDRAWN_ENTITY: "Everything listed is in the catalogue, and public.",
    Invariant.WHOLE_GENERATION: "What was loaded is there, in both tables, for every type.",
    Invariant.ROW_COUNT: "Rows per person are within a factor of two of those that are served, "
    "and no list has more than fifty places.",
    Invariant.NOVELTY_QUOTA: "Every prefix of a list holds its new items, while there are any.",
    Invariant.SCORE_RANGE: "Every score is in [0, 1].",
}
_QUERIES = {
    Invariant.NO_DELETED_USER: queries.DELETED,
    Invariant.NO_CROSS_REGION_ROW: queries.FOREIGN,
    Invariant.NO_SUPPRESSED_ENTITY: queries.SUPPRESSED,
    Invariant.NO_WITHDRAWN_ENTITY: queries.WITHDRAWN,
    Invariant.WHOLE_GENERATION: queries.WHOLE,
    Invariant.ROW_COUNT: queries.ROW_COUNT,
    Invariant.NOVELTY_QUOTA: queries.NOVELTY,
    Invariant.SCORE_RANGE: queries.SCORES,
}


@dataclass(frozen=True)
class LoadedGeneration:
    """A generation that was loaded for a shard and is not served yet."""

    generation: int
    shard: Shard


@dataclass(frozen=True)
class Finding:
    """An invariant that a generation breaks: `count` rows or lists of one type do."""

    invariant: Invariant
    shard: str
    generation: int
    entity_type: str
    count: int

    def __str__(self) -> str:
        return (
            f"{self.invariant}: {self.count:,} of type {self.entity_type} in generation "
            f"{self.generation} of {self.shard}"
        )


def inspect(
    connection: psycopg.Connection,
    loaded: Sequence[LoadedGeneration],
    *,
    begun: datetime,
    entity_types: Sequence[str] = ENTITY_TYPES,
    arm: str = "control",
) -> list[Finding]:
    """What these generations break, in the caller's transaction; all of them are one region's.

    `begun` is when the run that made them began. Who was deleted and what was hidden before it may
    not be in them; who goes and what is hidden meanwhile is answered when lists are read. Rows are
    compared with what `arm` is served; where nothing is, with nothing.
    """
    if not loaded:
        return []
    values = _values(loaded, begun, entity_types, arm)
    for statement in queries.INSPECTED, *queries.LISTS.split(";"):
        connection.execute(statement, values)
    shards = {each.generation: each.shard.key for each in loaded}
    findings = [
        Finding(invariant, shards[generation], generation, entity_type, count)
        for invariant, query in _QUERIES.items()
        for generation, entity_type, count in connection.execute(query, values).fetchall()
    ]
    connection.execute("drop table inspected_lists, inspected")
    return sorted(findings, key=lambda each: (each.invariant, each.shard, each.entity_type))


def _values(
    loaded: Sequence[LoadedGeneration], begun: datetime, entity_types: Sequence[str], arm: str
) -> dict[str, Any]:
    return {
        "generations": [each.generation for each in loaded],
        "shards": [each.shard.key for each in loaded],
        "first_buckets": [each.shard.buckets[0] for each in loaded],
        "buckets_after": [each.shard.buckets[1] for each in loaded],
        "begun": begun,
        "types": list(entity_types),
        "arm": arm,
        "quotas": [quota(length) for length in range(1, LONGEST_LIST + 1)],
        "longest": LONGEST_LIST,
        "factor": FACTOR,
        "slack": SLACK,
    }
