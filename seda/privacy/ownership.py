"""Which rows are a person's: read from the database's catalogue, so that a new table is not missed.

A column named `user_id` owns its row; the few that own under another name stand here, and so do
those that merely name a person in a row that is everybody's.
"""

from dataclasses import dataclass
from hashlib import sha256
from typing import Final
from uuid import UUID

import psycopg
from psycopg import sql

from seda.privacy.datamap import PrivacyClass, data_map, holds_people

OWNERS: Final = {
    "users": "id",
    "user_vectors": "entity_id",
    "embeddings_audit": "entity_uuid",
    "playlists": "owner_user_id",
    "rooms": "created_by",
    "embedding_budget_overrides": "approver_id",
    "audit_log": "actor",
}
"""Relation → the column that says whose row it is, where that is not `user_id`."""
NOBODYS: Final = {
    "erased_people": "digests of who is gone, which lead back to nobody",
    "provider_credentials": "the platform's own keys",
}
"""Relations of the data map in which nobody who can ask has a row → why."""
KEPT: Final = frozenset({"audit_log", "playlists", "rooms", "erased_people"})
"""Relations whose rows stay when a person goes: the log knows digests only, and what somebody made
for everybody loses its owner by the foreign key."""

_PEOPLE = """
    select c.relname::text, a.attname::text from pg_class c
    join pg_attribute a on a.attrelid = c.oid and a.attnum > 0 and not a.attisdropped
    where c.relnamespace = 'seda'::regnamespace and c.relkind in ('r', 'p')
      and not c.relispartition and a.attname in ('user_id', 'friend_user_id')
    order by 1, 2
"""


@dataclass(frozen=True, order=True)
class OwnedColumn:
    """A column whose value says whose row it is."""

    relation: str
    column: str


def owned_columns(connection: psycopg.Connection) -> list[OwnedColumn]:
    """Every column that makes a row a person's to be deleted, without `users`, which goes last."""
    found = {OwnedColumn(*row) for row in connection.execute(_PEOPLE)}
    found |= {OwnedColumn(*each) for each in OWNERS.items() if each[0] not in KEPT}
    return sorted(each for each in found if each.relation not in KEPT | {"users"})


def owner_of(relation: str) -> str:
    """The column by which a relation's rows are a person's."""
    return OWNERS.get(relation, "user_id")


def personal_relations() -> list[str]:
    """What an export has: every relation of the data map that holds people, in order."""
    return sorted(name for name in data_map() if holds_people(name) and name not in NOBODYS)


def exported_columns(relation: str) -> list[str]:
    """The columns of a person's rows that an export shows: all but secrets, which open something
    in their name wherever a ZIP is left lying."""
    classes = data_map()[relation]
    return [name for name, kind in classes.items() if kind is not PrivacyClass.SECRET]


def rows_of(
    connection: psycopg.Connection, relation: str, user_id: UUID
) -> list[dict[str, object]]:
    """A person's rows of one relation, as JSON would have them."""
    owner: object = user_id
    if relation == "audit_log":
        owner = f"sha256:{sha256(user_id.bytes).hexdigest()}"
    query = sql.SQL(
        "select to_jsonb(r) from (select {columns} from seda.{relation} where {owner} = %s) r"
    ).format(
        columns=sql.SQL(", ").join(map(sql.Identifier, exported_columns(relation))),
        relation=sql.Identifier(relation),
        owner=sql.Identifier(owner_of(relation)),
    )
    return [row for (row,) in connection.execute(query, [owner])]
