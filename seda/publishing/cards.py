"""The feed's card: one versioned JSON type, written by the nightly graph and read by the API.

What lives (rank in the page, the social block) is not in it: the request appends that. Nothing
here reads or writes a database, and nothing heavy is imported: the API uses this module too.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import sha1
from uuid import UUID

import orjson

CARD_VERSION = 1

# Recommendation ids are UUIDv5 in this namespace: the same person, type and entity give the same
# id in every generation.
_NAMESPACE = UUID("6f2d9c1e-54a4-5f0e-9c6b-0f3f6f1f8a11").bytes
ENTITY_TYPES = ("room", "playlist", "artist")
_BEFORE_ENTITY_ID = len('{"id":"","entity_type":"","entity_id":"') + 36
_REASONS = '"reasons":['
_SCORE = ',"score":'


@dataclass(frozen=True, slots=True)
class Reason:
    """One reason that a person reads; `kind` is stable, `text` is a sentence fragment."""

    kind: str
    text: str


def recommendation_id(user_id: bytes, entity_type: str, entity_id: bytes) -> bytes:
    """UUIDv5 (RFC 9562, section 5.5) of user, type and entity, as 16 bytes."""
    name = user_id + entity_type.encode() + entity_id
    digest = bytearray(sha1(_NAMESPACE + name, usedforsecurity=False).digest()[:16])
    digest[6] = (digest[6] & 0x0F) | 0x50
    digest[8] = (digest[8] & 0x3F) | 0x80
    return bytes(digest)


def card_json(
    *,
    id: UUID,
    entity_type: str,
    entity_id: UUID,
    name: str,
    score: float,
    reasons: Sequence[Reason],
    is_new: bool,
    model_version: str,
) -> bytes:
    """The stored card as a JSON object; `complete_card` adds what is live."""
    return orjson.dumps(
        {
            "id": id,
            "entity_type": entity_type,
            "entity_id": entity_id,
            "name": name,
            "score": score,
            "reasons": reasons,
            "is_new": is_new,
            "model_version": model_version,
        },
        option=orjson.OPT_PASSTHROUGH_SUBCLASS,
    )


def ids_in(stored: str, entity_type: str) -> tuple[str, str]:
    """Recommendation and entity id of a stored card, which begins with them, without parsing it."""
    start = _BEFORE_ENTITY_ID + len(entity_type)
    return stored[7:43], stored[start : start + 36]


def with_first_reason(stored: str, reason: Reason) -> str:
    """A stored card with one more reason before its own.

    The key cannot be mistaken: inside of a name its quotes would be escaped.
    """
    before, key, after = stored.partition(_REASONS)
    comma = "" if after.startswith("]") else ","
    return f"{before}{key}{orjson.dumps(reason).decode()}{comma}{after}"


def with_score(stored: str, score: float) -> str:
    """A stored card with another score; the key cannot be mistaken either."""
    before, key, after = stored.partition(_SCORE)
    return f"{before}{key}{score:.6f}{after[after.index(',') :]}"


def complete_card(stored: str, rank: int, social: str) -> str:
    """A stored card with its rank in the list and its live social block (a JSON object)."""
    return f'{stored[:-1]},"rank":{rank},"social":{social}}}'
