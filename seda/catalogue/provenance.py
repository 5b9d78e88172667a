"""What a list's rules need to know of the catalogue: names, makers, and what has just arrived."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import psycopg

from seda.catalogue.names import load_names
from seda.database.copy import read_fixed
from seda.database.identifiers import IdIndex, Ids

_NOBODY = "'00000000-0000-0000-0000-000000000000'::uuid"
_NEW = "created_at > seda.clock() - interval '14 days'"
# An artist has neither: no two items of that type share one.
_MAKERS = {
    "artist": "select id, {nobody}, {nobody}, {new} from seda.artists",
    "playlist": """
        select p.id, coalesce(foremost.artist_id, {nobody}), coalesce(p.owner_user_id, {nobody}),
               p.{new}
        from seda.playlists p left join (
            select distinct on (playlist_id) playlist_id, artist_id
            from seda.playlist_artists order by playlist_id, position) foremost
        on foremost.playlist_id = p.id""",
    "room": "select id, {nobody}, coalesce(created_by, {nobody}), {new} from seda.rooms",
}


@dataclass(frozen=True, eq=False)
class Provenance:
    """Of items of one type, in order: their `names`; `artists` and `owners` int32 `(items,)`, equal
    labels for the same leading artist or owner, -1 for none; `arrived` bool `(items,)`, whether
    the item is in the catalogue for at most 14 days."""

    names: list[str]
    artists: npt.NDArray[np.int32]
    owners: npt.NDArray[np.int32]
    arrived: npt.NDArray[np.bool_]


def load_provenance(connection: psycopg.Connection, entity_type: str, ids: Ids) -> Provenance:
    """The provenance of `ids` (n, 16) uint8; gone meanwhile: no name, no maker."""
    query = _MAKERS[entity_type].replace("{nobody}", _NOBODY).replace("{new}", _NEW)
    stored, artists, owners, new = read_fixed(connection, query, ["uuid", "uuid", "uuid", "bool"])
    positions = IdIndex(ids).positions(stored)
    kept = positions >= 0
    labels = [np.full(len(ids), -1, np.int32) for _ in range(2)]
    for target, makers in zip(labels, (artists, owners), strict=True):
        target[positions[kept]] = _labelled(makers[kept])
    arrived = np.zeros(len(ids), np.bool_)
    arrived[positions[kept]] = new[kept]
    names = load_names(connection, entity_type, ids)
    return Provenance(names, labels[0], labels[1], arrived)


def _labelled(makers: Ids) -> npt.NDArray[np.int32]:
    """A number for each maker, -1 for nobody."""
    known = makers.any(axis=1)
    keys = np.ascontiguousarray(makers).view("V16").ravel()
    _, inverse = np.unique(keys, return_inverse=True)
    return np.where(known, inverse, -1).astype(np.int32)
