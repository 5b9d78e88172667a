"""Making a standby space the active one: a planned step, and only with a complete space (DAT-3)."""

from dataclasses import dataclass
from datetime import datetime

import psycopg

from seda.database.regions import RegionalDatabase
from seda.embeddings.catalogue_texts import load_texts
from seda.embeddings.space_rows import PromotionRefusedError, swap_active
from seda.embeddings.spaces import EmbeddingSpace
from seda.embeddings.texts import content_hash
from seda.vectorstore.refresh_plan import keys_of
from seda.vectorstore.rows import stored_versions

EMBEDDED_TYPES = ("artist", "playlist", "room")


@dataclass(frozen=True)
class Completeness:
    """How many entities of one type have a vector of their present text in a space."""

    entity_type: str
    texts: int
    current: int

    @property
    def lacking(self) -> int:
        """Entities without."""
        return self.texts - self.current


def completeness(
    connection: psycopg.Connection, space: EmbeddingSpace, entity_type: str
) -> Completeness:
    """Compare every text of the catalogue with what the space holds."""
    ids, texts = load_texts(connection, entity_type)
    stored = stored_versions(connection, entity_type, space)
    before = dict(zip(keys_of(stored.ids), stored.content_hashes, strict=True))
    current = sum(
        before.get(key) == content_hash(text) for key, text in zip(keys_of(ids), texts, strict=True)
    )
    return Completeness(entity_type, len(texts), current)


def promote_space(
    database: RegionalDatabase, space: EmbeddingSpace, *, actor: str, now: datetime
) -> EmbeddingSpace | None:
    """Make the space active, in one transaction; returns the space that was.

    People's vectors follow with the next run; until then their lists stay as they are.

    Raises:
        PromotionRefusedError: it is another region's, no standby, or lacks vectors.
    """
    if space.region != database.region:
        raise PromotionRefusedError(f"{space.id} is no space of {database.region}.")
    with database.transaction() as connection:
        lacking = {
            one.entity_type: one.lacking
            for kind in EMBEDDED_TYPES
            if (one := completeness(connection, space, kind)).lacking
        }
        if lacking:
            missing = ", ".join(f"{count:,} {kind}s" for kind, count in lacking.items())
            raise PromotionRefusedError(
                f"{space.id} lacks vectors of {missing}: run "
                f"`seda embeddings fill {space.id} --region {database.region}` first."
            )
        before = swap_active(connection, space, actor=actor, now=now)
        # What waits for another space than the active one waits for nothing.
        connection.execute("delete from seda.embedding_queue where space_id <> %s", [space.id])
        return before
