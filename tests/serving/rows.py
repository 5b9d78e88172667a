"""A row for any table of the catalogue, whatever its columns ask for."""

from collections.abc import Callable
from typing import Any
from uuid import UUID

from tests.serving.serving_world import Listener

ENTITY = UUID("0e171170-0000-4000-8000-000000000001")
OWNING_COLUMNS = ("user_id", "owner_user_id", "created_by")

# What cannot be guessed: values that a check asks for.
_VALUES = {
    "entity_type": "room", "event_type": "rec_click", "channel": "push", "decision": "sent",
    "scope": "imports", "platform": "ios", "relationship_type": "friend", "generation": 1,
    "rank": 1, "plays": 1, "position": 1, "score": 0.5, "dim": 8,
    "positions": [1], "recommendation_ids": [ENTITY], "entity_ids": [ENTITY],
}  # fmt: skip
_KINDS = {"privacy_jobs": "export", "suppressions": "dismiss", "social_events": "join"}
_BY_TYPE: dict[str, Any] = {
    "text": "x", "date": "2026-11-20", "timestamp with time zone": "2026-11-20T12:00Z",
    "integer": 1, "bigint": 1, "smallint": 1, "real": 1, "double precision": 1, "bytea": b"x",
    "numeric": 1, "interval": "1 h", "jsonb": "{}", "boolean": False, "ARRAY": "{}",
    "USER-DEFINED": "[1]", "bit varying": "1", "bit": "1", "xid8": "1",
}  # fmt: skip


def row_of(sql: Callable[..., list[tuple]], table: str, owner: Listener) -> dict[str, Any]:
    """Column to value: the owner in every column that names one, the rest as simple as may be."""
    row: dict[str, Any] = {}
    for column, type, asked in sql(
        "select column_name, data_type, is_nullable = 'NO' and column_default is null "
        "and is_identity = 'NO' from information_schema.columns "
        "where table_schema = 'seda' and table_name = %s and is_generated = 'NEVER' "
        "order by ordinal_position",
        table,
    ):
        if column in OWNING_COLUMNS:
            row[column] = owner.id
        elif column == "auth_user_id":
            row[column] = str(owner.sub)
        elif asked:
            guessed = ENTITY if type == "uuid" else _BY_TYPE[type]
            row[column] = _VALUES.get(column, guessed)
    if "kind" in row:
        row["kind"] = _KINDS.get(table, row["kind"])
    if table == "suppressions":
        row["suppressed_until"] = "2099-01-01"
    if table == "user_vectors":
        row["entity_id"] = owner.id
    return row
