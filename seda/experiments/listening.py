"""A region's snapshot as what models are fitted on, and its catalogue as rules of lists."""

import numpy as np

from seda.activity.affinity import genre_affinity
from seda.activity.snapshot import EntitySnapshot, RegionSnapshot
from seda.catalogue.provenance import load_provenance
from seda.database.regions import RegionalDatabase
from seda.recommender.models.listening import Listening
from seda.recommender.models.picks import largest_picks
from seda.recommender.rules import ListRules, list_rules


def listening_of(snapshot: RegionSnapshot, entity: EntitySnapshot) -> Listening:
    """A region's plays of one type, its genres, friendships and picks.

    A listener would pick the genres that they lean to most; a newcomer did pick them.
    """
    picks = largest_picks(genre_affinity(snapshot, slice(None)))
    return Listening(entity.plays, item_tags=entity.tags, friends=snapshot.friends, picks=picks)


def rules_of(
    database: RegionalDatabase, snapshot: RegionSnapshot, kind: str, *, clusters: np.ndarray,
    vectors: np.ndarray,
) -> ListRules:  # fmt: skip
    """What lists of one type keep to; `clusters` int32 `(items,)`, `vectors` `(items, d)`."""
    entity = snapshot.entities[kind]
    with database.transaction() as connection:
        known = load_provenance(connection, kind, entity.ids)
    return list_rules(
        known.names, vectors=vectors, genres=entity.genres, clusters=clusters,
        artists=known.artists, owners=known.owners, arrived=known.arrived,
    )  # fmt: skip
