"""A region's snapshot as what models are fitted on."""

from seda.activity.affinity import genre_affinity
from seda.activity.snapshot import EntitySnapshot, RegionSnapshot
from seda.recommender.models.listening import Listening
from seda.recommender.models.picks import largest_picks


def listening_of(snapshot: RegionSnapshot, entity: EntitySnapshot) -> Listening:
    """A region's plays of one type, its genres, friendships and picks.

    A listener would pick the genres that they lean to most; a newcomer did pick them.
    """
    picks = largest_picks(genre_affinity(snapshot, slice(None)))
    return Listening(entity.plays, item_tags=entity.tags, friends=snapshot.friends, picks=picks)
