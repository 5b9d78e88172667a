"""Reads who could take part in a replay: people, their friendships, and rooms where nobody is."""

from dataclasses import dataclass
from uuid import UUID

import numpy as np
import psycopg
from numpy.typing import NDArray

from seda.database.regions import RegionalDatabase
from seda.errors import SedaError
from seda.sandbox.replay.expectation import Graph

# Anything but false hides, as for those who read presence.
_PEOPLE = """
select id, auth_user_id,
       coalesce(privacy_settings -> 'hide_presence', 'false') <> 'false' as hidden
from seda.users where deleted_at is null and auth_user_id is not null order by id
"""
_RELATIONS = """
select user_id, friend_user_id from seda.friends where relationship_type = %s
"""
# Where somebody is, others than ours may come and go.
_ROOMS = """
select id from seda.rooms r
where deleted_at is null and not exists (
    select from seda.room_presence p where p.room_id = r.id)
order by md5(id::text) limit %s
"""


class TooFewError(SedaError):
    """The region does not hold enough for a replay."""


@dataclass(frozen=True, eq=False)
class Crowd:
    """People and rooms, each by position; `subs` are the subjects of the people's tokens."""

    people: list[UUID]
    subs: list[UUID]
    rooms: list[UUID]
    graph: Graph

    def viewers(self, count: int, seed: int) -> NDArray[np.int32]:
        """So many different people, at random.

        Raises:
            TooFewError: there are fewer.
        """
        if count > len(self.people):
            raise TooFewError(
                f"There are {len(self.people):,} people and {count:,} clients were asked for: ask "
                "for fewer, or seed a larger sandbox."
            )
        chosen = np.random.default_rng([seed, 1]).permutation(len(self.people))[:count]
        return chosen.astype(np.int32)


def load_crowd(database: RegionalDatabase, most_rooms: int) -> Crowd:
    """The region's people and friendships, and at most so many empty rooms.

    Raises:
        TooFewError: there is nobody, or hardly a room.
    """
    with database.transaction() as connection:
        people = connection.execute(_PEOPLE).fetchall()
        places = {person: place for place, (person, _, _) in enumerate(people)}
        rooms = [row[0] for row in connection.execute(_ROOMS, [most_rooms])]
        graph = Graph(
            friends=_relations(connection, "friend", places),
            blocks=_relations(connection, "block", places),
            hidden=np.array([hidden for _, _, hidden in people], np.bool_),
        )
    if len(people) < 2 or len(rooms) < 2:
        raise TooFewError(
            f"The {database.region} region has {len(people):,} people and {len(rooms):,} empty "
            "rooms, and a replay needs two of each: run `seda seed` first."
        )
    return Crowd(
        [person for person, _, _ in people], [UUID(sub) for _, sub, _ in people], rooms, graph
    )


def _relations(
    connection: psycopg.Connection, kind: str, places: dict[UUID, int]
) -> NDArray[np.int32]:
    """`(rows, 2)`; who is not here (another region, deleted) is left out."""
    found = [
        (places[who], places[whom])
        for who, whom in connection.execute(_RELATIONS, [kind])
        if who in places and whom in places
    ]
    return np.array(found, np.int32).reshape(-1, 2)
