"""Turns ranked lists into what is published: rows with their context, and ready cards.

Everything that repeats is rendered once: a reason's JSON per (kind, subject), an entity's part of
a card per entity. What is left per row is one hash for the id and one join of bytes.
"""

from dataclasses import dataclass, field
from datetime import datetime
from itertools import pairwise
from uuid import UUID

import numpy as np
import orjson
from scipy import sparse

from seda.publishing.cards import recommendation_id
from seda.publishing.generations import CardRows, RecommendationRows
from seda.recommender.delta import lifts_by_presence
from seda.recommender.explain import ReasonKind, render
from seda.recommender.features import column
from seda.recommender.recommend import RankedLists
from seda.recommender.terms import CONTRIBUTIONS

SHOWN_AVATARS = 4
_FRIENDS = column("friend_presence_count")
_PRESENCE = column("presence")
_PRESENCE_TERM = CONTRIBUTIONS.index("presence")


@dataclass(frozen=True, eq=False)
class ListNames:
    """The names that cards and reasons speak: of the type's entities and of the genres.

    `main_genres` has the heaviest genre of each entity, "" where there is none.
    """

    entities: list[str]
    genres: np.ndarray
    main_genres: list[str]


@dataclass(eq=False)
class ListRenderer:
    """Renders one entity type's lists; keeps what it rendered, so reuse it over shards.

    `entity_ids` (items, 16) uint8; `names` by the same positions.
    """

    entity_type: str
    entity_ids: np.ndarray
    names: ListNames
    model_version: str
    _reasons: dict[tuple[int, int], bytes] = field(default_factory=dict, init=False)
    _entities: dict[int, bytes] = field(default_factory=dict, init=False)

    def render(
        self, user_ids: np.ndarray, lists: RankedLists, *, created_at: datetime,
        expires_at: datetime,
    ) -> tuple[RecommendationRows, CardRows]:  # fmt: skip
        """Rows and cards of the people `user_ids` (users, 16) uint8, in list order."""
        lengths = (lists.items >= 0).sum(axis=1)
        owners = np.repeat(np.arange(len(user_ids)), lengths)
        listed = lists.items >= 0
        positions = lists.items[listed]
        people = [user.tobytes() for user in user_ids]
        entities = [entity.tobytes() for entity in self.entity_ids]
        ids = [
            recommendation_id(people[owner], self.entity_type, entities[position])
            for owner, position in zip(owners.tolist(), positions.tolist(), strict=True)
        ]
        reasons = self._reasons_of(lists, listed)
        flat_ids = _flat(ids)
        entity_ids = self.entity_ids[positions]
        scores, is_new = lists.scores[listed], lists.is_new[listed]
        cards = self._cards(ids, positions, scores, reasons, is_new)
        contexts = self._contexts(lists, listed, reasons, is_new)
        rows = RecommendationRows(
            ids=flat_ids,
            user_ids=user_ids[owners],
            entity_types=np.full(len(ids), self.entity_type),
            entity_ids=entity_ids,
            ranks=np.concatenate([np.arange(1, n + 1) for n in lengths] or [np.zeros(0, int)]),
            scores=scores,
            contexts=contexts,
            signals=lists.inputs[listed],
            contributions=lists.contributions[listed],
            created_at=created_at,
            expires_at=expires_at,
            model_version=self.model_version,
        )
        some = lengths > 0
        contributions = lists.contributions[listed].astype(np.float64)
        sums = contributions.sum(axis=1)
        presence = np.nan_to_num(lists.features[listed][:, _PRESENCE])
        card_rows = CardRows(
            user_ids=user_ids[some],
            entity_types=np.full(int(some.sum()), self.entity_type),
            lengths=lengths[some],
            recommendation_ids=flat_ids,
            entity_ids=entity_ids,
            scores=scores.astype(np.float32),
            cards=cards,
            is_new=is_new,
            genres=[self.names.main_genres[position] for position in positions.tolist()],
            pool_sizes=lists.pool_sizes[some],
            presence=presence,
            lifts=lifts_by_presence(
                sums,
                sums - contributions[:, _PRESENCE_TERM],
                presence,
                np.concatenate([[0], np.cumsum(lengths)]),
            ),
            created_at=created_at,
            expires_at=expires_at,
            model_version=self.model_version,
        )
        return rows, card_rows

    def _reasons_of(self, lists: RankedLists, listed: np.ndarray) -> list[bytes]:
        """The JSON array of each row's reasons."""
        kinds, subjects = (
            lists.reason_kinds[listed].tolist(),
            lists.reason_subjects[listed].tolist(),
        )
        return [
            b"["
            + b",".join(
                self._reason(kind, subject)
                for kind, subject in zip(row, about, strict=True)
                if kind
            )
            + b"]"
            for row, about in zip(kinds, subjects, strict=True)
        ]

    def _reason(self, kind: int, subject: int) -> bytes:
        rendered = self._reasons.get((kind, subject))
        if rendered is None:
            of = ReasonKind(kind)
            name = None
            if of is ReasonKind.BECAUSE_YOU_LISTEN:
                name = self.names.entities[subject]
            elif of in (ReasonKind.TRENDING_IN, ReasonKind.MATCHES_GENRE):
                name = str(self.names.genres[subject])
            text = render(of, subject=name, count=max(subject, 0), entity_type=self.entity_type)
            rendered = orjson.dumps({"kind": of.name.lower(), "text": text})
            self._reasons[kind, subject] = rendered
        return rendered

    def _contexts(
        self, lists: RankedLists, listed: np.ndarray, reasons: list[bytes], is_new: np.ndarray
    ) -> list[bytes]:
        """`recommendations.context`: reasons and features as computed.

        Features are in the order of `FEATURES`, to four digits; NaN is null. A place that explores
        says with what probability it shows this, and what was ranked there.
        """
        features = _rows_json(_four_digits(lists.features[listed]))
        present = np.nan_to_num(lists.features[listed][:, _FRIENDS]).astype(int).tolist()
        contexts = [
            b'{"surface":"feed","friend_presence_count":%d,"avatars_shown":%d,"is_new":%s,'
            b'"reasons":%s,"features":%s}'
            % (count, min(count, SHOWN_AVATARS), b"true" if new else b"false", why, values)
            for count, new, why, values in zip(
                present, is_new.tolist(), reasons, features, strict=True
            )
        ]
        owners, places = np.nonzero(listed)
        for row in np.flatnonzero(lists.propensity[listed] < 1).tolist():
            exploration = self._exploration(lists, owners[row], places[row])
            contexts[row] = contexts[row][:-1] + b',"exploration":%s}' % exploration
        return contexts

    def _exploration(self, lists: RankedLists, owner: int, place: int) -> bytes:
        said: dict[str, object] = {"propensity": float(lists.propensity[owner, place])}
        displaced = int(lists.displaced[owner])
        if displaced >= 0:
            said["instead_of"] = UUID(bytes=self.entity_ids[displaced].tobytes())
            said["ranked_score"] = float(lists.displaced_scores[owner])
        return orjson.dumps(said)

    def _cards(
        self, ids: list[bytes], positions: np.ndarray, scores: np.ndarray, reasons: list[bytes],
        is_new: np.ndarray,
    ) -> list[bytes]:  # fmt: skip
        tail = orjson.dumps(self.model_version)
        return [
            b'{"id":"%s",%s,"score":%.6f,"reasons":%s,"is_new":%s,"model_version":%s}'
            % (_hyphened(ids[i]), self._entity(position), score, reasons[i],
               b"true" if new else b"false", tail)
            for i, (position, score, new) in enumerate(
                zip(positions.tolist(), scores.tolist(), is_new.tolist(), strict=True)
            )
        ]  # fmt: skip

    def _entity(self, position: int) -> bytes:
        rendered = self._entities.get(position)
        if rendered is None:
            identifier = UUID(bytes=self.entity_ids[position].tobytes())
            parts = {
                "entity_type": self.entity_type,
                "entity_id": identifier,
                "name": self.names.entities[position],
            }
            rendered = self._entities[position] = orjson.dumps(parts)[1:-1]
        return rendered


def main_genres(weights: sparse.csr_matrix, names: np.ndarray) -> list[str]:
    """The heaviest genre of each row of `weights` (items, genres), "" where there is none; of
    equally heavy ones the first by name."""
    found = [""] * weights.shape[0]
    for item, (start, stop) in enumerate(pairwise(weights.indptr.tolist())):
        if stop > start:
            genres, shares = weights.indices[start:stop], weights.data[start:stop]
            found[item] = str(names[genres[shares == shares.max()].min()])
    return found


def _rows_json(values: np.ndarray) -> list[bytes]:
    """Each row of a 2-d array as a JSON array."""
    if not len(values):
        return []
    text = orjson.dumps(np.ascontiguousarray(values), option=orjson.OPT_SERIALIZE_NUMPY)
    return [b"[" + row + b"]" for row in text[2:-2].split(b"],[")]


def _four_digits(values: np.ndarray) -> np.ndarray:
    """Rounded to four significant digits, float32: exact enough to read, half as long to write."""
    sizes = np.abs(values.astype(np.float64))
    exponents = np.floor(np.log10(sizes, out=np.zeros_like(sizes), where=sizes > 0))
    scales = 10.0 ** (3 - exponents)
    return (np.round(values * scales) / scales).astype(np.float32)


def _hyphened(identifier: bytes) -> bytes:
    text = identifier.hex()
    return f"{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:]}".encode()


def _flat(ids: list[bytes]) -> np.ndarray:
    return np.frombuffer(b"".join(ids), np.uint8).reshape(-1, 16)
