"""Runs a SQL model: builds it beside its table, checks it there, and merges what changed.

The table itself is never replaced, so its policies, grants and readers stay, and a model whose
result is unchanged changes no row. Build, checks and merge are one transaction. Of an incremental
model only the rows of its last days are replaced.
"""

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime
from time import perf_counter
from typing import Any, LiteralString, cast
from uuid import UUID

from psycopg import Connection, sql

from seda.database.sql_models.model import SCHEMA, SqlModel
from seda.errors import SedaError


class ModelCheckFailed(SedaError):  # noqa: N818 - what happened, not what is wrong with a call
    """A model's own check found bad rows; nothing was written."""

    def __init__(self, model: str, check: str, count: int) -> None:
        super().__init__(
            f"Model {model}: check {check} found {count} bad row{'' if count == 1 else 's'}, so "
            f"nothing was written; correct the rows it reads or dbt_like_sql/*/{model}.sql."
        )
        self.model = model
        self.check = check
        self.count = count


class ModelTargetError(SedaError):
    """A model does not fit the table that it fills, or cannot be run in the way asked for."""


@dataclass(frozen=True, slots=True)
class MergeResult:
    """How many rows a merge changed, how many the model has, and how long it all took."""

    inserted: int
    updated: int
    deleted: int
    rows: int
    seconds: float


def materialise(
    connection: Connection[Any],
    model: SqlModel,
    *,
    now: datetime | None = None,
    users: Collection[UUID] | None = None,
) -> MergeResult:
    """Compute a model and merge it into its table, in one transaction.

    Opens a transaction of its own, or a savepoint inside the caller's. `now` freezes
    `seda.clock()`. `users` limits a `per: user` model to these people: their rows are computed,
    and rows of theirs that are gone are deleted; nobody else's are touched. Two runs of one model
    wait for each other.

    Raises:
        ModelCheckFailed: a check of the header found bad rows; nothing was written.
        ModelTargetError: the table lacks a column, or `users` was given for a model that is not
            per user.
    """
    started = perf_counter()
    if users is not None and model.sql_for_some_users is None:
        raise ModelTargetError(
            f"Model {model.name} is not computed per user: leave out users, or add 'per: user'."
        )
    with connection.transaction():
        _set_up(connection, model, now, users)
        merge = _Merge(connection, model, only_some_users=users is not None)
        rows = merge.stage()
        merge.check()
        deleted = merge.delete()
        inserted, updated = merge.upsert()
        merge.clean_up()
    return MergeResult(inserted, updated, deleted, rows, perf_counter() - started)


def _set_up(
    connection: Connection[Any],
    model: SqlModel,
    now: datetime | None,
    users: Collection[UUID] | None,
) -> None:
    connection.execute(
        "select pg_advisory_xact_lock(hashtext(%s)), set_config('seda.now', %s, true), "
        "set_config('seda.some_users', %s, true)",
        (
            f"materialise {model.relation}",
            now.isoformat() if now else "",
            "{" + ",".join(str(user) for user in users or ()) + "}",
        ),
    )


class _Merge:
    """The statements of one merge, each set-based; identifiers are quoted, values are bound."""

    def __init__(
        self, connection: Connection[Any], model: SqlModel, *, only_some_users: bool
    ) -> None:
        self.connection = connection
        self.model = model
        self.only_some_users = only_some_users
        self.target = sql.Identifier(SCHEMA, model.name)
        self.staged = sql.Identifier("pg_temp", f"staged_{model.name}")
        self.key = _listed(model.header.unique)

    def stage(self) -> int:
        """Compute the model into a temporary table with the target's types; how many rows."""
        types = self._target_types()
        query = self.model.sql_for_some_users if self.only_some_users else self.model.sql
        typed = sql.SQL(", ").join(
            sql.SQL("m.{}::{} as {}").format(
                sql.Identifier(column), sql.SQL(types[column]), sql.Identifier(column)
            )
            for column in self.model.columns
        )
        self._run("drop table if exists {staged}")
        return self._run(
            "create temporary table {name} on commit drop as select {typed} from (\n{query}\n) m",
            name=sql.Identifier(f"staged_{self.model.name}"),
            typed=typed,
            # The file's own text, which a reviewer has read: not a value.
            query=sql.SQL(cast(LiteralString, query)),
        ).rowcount

    def check(self) -> None:
        """Raise on the first check of the header that finds bad rows."""
        duplicated = self._run(
            "select count(*) from (select from {staged} group by {key} having count(*) > 1) twice"
        ).fetchone()
        self._refuse(f"unique [{', '.join(self.model.header.unique)}]", duplicated)
        for column in dict.fromkeys((*self.model.header.unique, *self.model.header.not_null)):
            missing = self._run(
                "select count(*) from {staged} where {column} is null",
                column=sql.Identifier(column),
            ).fetchone()
            self._refuse(f"not_null [{column}]", missing)
        for column, values in self.model.header.accepted_values.items():
            others = self._run(
                "select count(*) from {staged} where {column}::text <> all (array[{values}])",
                column=sql.Identifier(column),
                values=sql.SQL(", ").join(sql.Literal(value) for value in values),
            ).fetchone()
            self._refuse(f"accepted_values [{column}]", others)
        if self.model.header.event_time:
            # Made of what may be purged already, they would replace what was whole.
            older = self._run(
                "select count(*) from {staged} s where not {recent}", recent=self._recent("s")
            ).fetchone()
            self._refuse(f"lookback [{self.model.header.event_time}]", older)

    def delete(self) -> int:
        """Delete the rows that the model no longer has; how many."""
        scope: sql.Composable = sql.SQL("true")
        if self.only_some_users:
            scope = sql.SQL("t.user_id = any (current_setting('seda.some_users')::uuid[])")
        elif self.model.header.event_time:
            scope = self._recent("t")
        return self._run(
            "delete from {target} t where {scope}"
            " and not exists (select from {staged} s where {same_key})",
            scope=scope,
            same_key=self._same_key(),
        ).rowcount

    def upsert(self) -> tuple[int, int]:
        """Insert what is new and update what differs: (inserted, updated)."""
        header, columns = self.model.header, self.model.columns
        values = [column for column in columns if column not in header.unique]
        compared = [column for column in values if column != header.touched]
        # Unchanged rows are left out before the insert: `on conflict` would lock each of them,
        # and a row lock is a write.
        changed = self._run(
            "with merged as ("
            " insert into {target} as t ({columns})"
            " select {staged_columns} from {staged} s left join {target} t on {same_key}"
            " where t.{first_key} is null or {differs}"
            " on conflict ({key}) do {action} returning (xmax = 0) as fresh)"
            " select count(*) filter (where fresh), count(*) filter (where not fresh) from merged",
            columns=_listed(columns),
            staged_columns=_listed(columns, of="s"),
            same_key=self._same_key(),
            first_key=sql.Identifier(header.unique[0]),
            differs=_differs(compared, "t", "s"),
            action=_update(values, compared),
        ).fetchone()
        return (changed[0], changed[1]) if changed else (0, 0)

    def clean_up(self) -> None:
        """Leave the caller's transaction as it was."""
        self._run("drop table {staged}")
        self._run("select set_config('seda.now', '', true)")

    def _recent(self, of: str) -> sql.Composed:
        """Whether a row of an incremental model is of its last days."""
        header = self.model.header
        return sql.SQL("{} > (seda.clock() at time zone 'UTC')::date - {}").format(
            sql.Identifier(of, header.event_time or ""), sql.Literal(header.lookback)
        )

    def _target_types(self) -> dict[str, str]:
        found = self.connection.execute(
            "select attname, format_type(atttypid, atttypmod) from pg_attribute"
            " where attrelid = to_regclass(%s) and attnum > 0 and not attisdropped",
            (self.model.relation,),
        ).fetchall()
        types = dict(found)
        for column in self.model.columns:
            if column not in types:
                raise ModelTargetError(
                    f"Model {self.model.name} selects '{column}', which {self.model.relation} "
                    "does not have: migrate the database or correct the model."
                )
        return types

    def _same_key(self) -> sql.Composable:
        return sql.SQL(" and ").join(
            sql.SQL("s.{0} = t.{0}").format(sql.Identifier(column))
            for column in self.model.header.unique
        )

    def _refuse(self, check: str, row: tuple[int] | None) -> None:
        if row and row[0]:
            raise ModelCheckFailed(self.model.name, check, row[0])

    def _run(self, statement: LiteralString, **parts: sql.Composable) -> Any:
        named = {"target": self.target, "staged": self.staged, "key": self.key}
        return self.connection.execute(sql.SQL(statement).format(**named, **parts))


def _listed(columns: Collection[str], of: str | None = None) -> sql.Composable:
    return sql.SQL(", ").join(
        sql.Identifier(of, column) if of else sql.Identifier(column) for column in columns
    )


def _differs(columns: Collection[str], left: str, right: str) -> sql.Composable:
    if not columns:
        return sql.SQL("false")
    return sql.SQL("({}) is distinct from ({})").format(
        _listed(columns, of=left), _listed(columns, of=right)
    )


def _update(values: Collection[str], compared: Collection[str]) -> sql.Composable:
    """What to do with a row that is there already: nothing, if only its key is selected."""
    if not compared:
        return sql.SQL("nothing")
    return sql.SQL("update set {} where {}").format(
        sql.SQL(", ").join(
            sql.SQL("{0} = excluded.{0}").format(sql.Identifier(column)) for column in values
        ),
        _differs(compared, "t", "excluded"),
    )
