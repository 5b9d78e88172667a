"""The rows that a generation publishes, as arrays, and how each becomes its table's columns."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import numpy as np
import numpy.typing as npt

from seda.database import copy
from seda.database.identifiers import Ids
from seda.errors import SedaError
from seda.publishing.cards import ENTITY_TYPES


class MalformedRowsError(SedaError):
    """Rows that cannot be published."""


@dataclass(frozen=True, eq=False)
class RecommendationRows:
    """Rows of `recommendations`, `(n, …)` each; the last fields are the same for all of them.

    Ids are `(n, 16) uint8`; `entity_types` holds names, or positions in `ENTITY_TYPES`; `ranks`
    are integers from 1; `scores` float64 in [0, 1]; `contexts` JSON objects; `signals` and
    `contributions` float32, in the order of the ranking's `INPUTS` and `CONTRIBUTIONS`. Times
    without a zone are UTC.
    """

    ids: Ids
    user_ids: Ids
    entity_types: npt.NDArray[Any]
    entity_ids: Ids
    ranks: npt.NDArray[np.integer]
    scores: npt.NDArray[np.floating]
    contexts: Sequence[bytes]
    signals: npt.NDArray[np.float32]
    contributions: npt.NDArray[np.float32]
    created_at: datetime | np.datetime64
    expires_at: datetime | np.datetime64
    model_version: str
    source: str = "batch"

    def codes(self) -> npt.NDArray[np.intp]:
        """Each row's position in `ENTITY_TYPES`."""
        return _codes(self.entity_types)

    def columns(self, generation: int) -> dict[str, copy.Column]:
        """The rows as the table's columns."""
        rows = len(self.ids)
        return {
            "id": copy.uuids(self.ids),
            "generation": copy.constants(generation.to_bytes(8, "big"), rows),
            "user_id": copy.uuids(self.user_ids),
            "entity_type": copy.texts_by_code(self.codes(), ENTITY_TYPES),
            "entity_id": copy.uuids(self.entity_ids),
            "rank": copy.integers(self.ranks, 4),
            "score": copy.floats(self.scores.astype(np.float64, copy=False)),
            "model_version": copy.constants(self.model_version.encode(), rows),
            "source": copy.constants(self.source.encode(), rows),
            "created_at": _times(self.created_at, rows),
            "expires_at": _times(self.expires_at, rows),
            "context": copy.jsonbs(self.contexts),
            "signals": copy.float_rows(self.signals),
            "contributions": copy.float_rows(self.contributions),
        }


@dataclass(frozen=True, eq=False)
class CardRows:
    """Rows of `mv_user_top_candidates`, one per person and type, best card first.

    `user_ids` `(n, 16) uint8`, `entity_types` `(n,)` names or positions in `ENTITY_TYPES`,
    `lengths` `(n,)` cards of each row; then all rows' cards in order: `recommendation_ids` and
    `entity_ids` `(m, 16) uint8`, `scores` `(m,) float32`, `cards` m JSON objects, `is_new`
    `(m,) bool`, and `genres`, the main genre of each ("" for none). For a delta re-rank, where they
    are known: `pool_sizes` `(n,)`, the candidates of each list; `presence` `(m,) float32`, the
    friends who were there, and `lifts` `(m,) float32`, the places that each card owes to them.
    """

    user_ids: Ids
    entity_types: npt.NDArray[Any]
    lengths: npt.NDArray[np.integer]
    recommendation_ids: Ids
    entity_ids: Ids
    scores: npt.NDArray[np.float32]
    cards: Sequence[bytes | str]
    is_new: npt.NDArray[np.bool_]
    genres: Sequence[bytes | str]
    created_at: datetime | np.datetime64
    expires_at: datetime | np.datetime64
    model_version: str
    pool_sizes: npt.NDArray[np.integer] | None = None
    presence: npt.NDArray[np.float32] | None = None
    lifts: npt.NDArray[np.float32] | None = None

    def codes(self) -> npt.NDArray[np.intp]:
        """Each row's position in `ENTITY_TYPES`."""
        return _codes(self.entity_types)

    def columns(self, generation: int) -> dict[str, copy.Column]:
        """The rows as the table's columns."""
        rows = len(self.user_ids)
        sizes = self.pool_sizes
        return {
            "generation": copy.constants(generation.to_bytes(8, "big"), rows),
            "user_id": copy.uuids(self.user_ids),
            "entity_type": copy.texts_by_code(self.codes(), ENTITY_TYPES),
            "recommendation_ids": copy.uuid_arrays(self.recommendation_ids, self.lengths),
            "entity_ids": copy.uuid_arrays(self.entity_ids, self.lengths),
            "scores": copy.float_arrays(self.scores, self.lengths),
            "cards": copy.text_arrays(self.cards, self.lengths),
            "is_new": copy.boolean_arrays(self.is_new, self.lengths),
            "genres": copy.text_arrays(self.genres, self.lengths),
            "pool_size": copy.constants(None, rows) if sizes is None else copy.integers(sizes, 4),
            "presence": _where_any(self.presence, self.lengths),
            "lifts": _where_any(self.lifts, self.lengths),
            "model_version": copy.constants(self.model_version.encode(), rows),
            "created_at": _times(self.created_at, rows),
            "expires_at": _times(self.expires_at, rows),
        }


def _where_any(
    values: npt.NDArray[np.float32] | None, lengths: npt.NDArray[np.integer]
) -> copy.Column:
    """real[] of each row, empty where all of it is zero: most people have nobody anywhere."""
    if values is None:
        return copy.constants(None, len(lengths))
    owners = np.repeat(np.arange(len(lengths)), lengths)
    some = np.zeros(len(lengths), np.bool_)
    some[owners[values != 0]] = True
    return copy.float_arrays(values[some[owners]], np.where(some, lengths, 0))


def _codes(entity_types: npt.NDArray[Any]) -> npt.NDArray[np.intp]:
    if np.issubdtype(entity_types.dtype, np.integer):
        return entity_types.astype(np.intp)
    codes = np.full(len(entity_types), -1)
    for code, name in enumerate(ENTITY_TYPES):
        codes[entity_types == name] = code
    if (codes < 0).any():
        raise MalformedRowsError(
            f"{entity_types[codes < 0][0]!r} is no entity type; {', '.join(ENTITY_TYPES)} are."
        )
    return codes


def _times(moment: datetime | np.datetime64, rows: int) -> copy.Column:
    if isinstance(moment, datetime):
        if moment.tzinfo is not None:
            moment = moment.astimezone(UTC).replace(tzinfo=None)
        moment = np.datetime64(moment)
    return copy.timestamps(np.full(rows, moment, "M8[us]"))
