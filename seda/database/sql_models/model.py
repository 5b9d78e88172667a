"""SQL models as values: what a file selects, what it reads, and whether it may be run at all.

Everything here is pure: it reads text and asks no database. A model that could not run, or whose
lineage could not be told, is refused at load.
"""

import hashlib
import json
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from graphlib import CycleError, TopologicalSorter
from pathlib import Path
from typing import Final

import sqlglot
from sqlglot import exp
from sqlglot.errors import OptimizeError, ParseError, SqlglotError
from sqlglot.lineage import lineage
from sqlglot.optimizer.normalize_identifiers import normalize_identifiers
from sqlglot.optimizer.qualify import qualify
from sqlglot.optimizer.scope import build_scope
from sqlglot.tokens import TokenType

from seda.database.sql_models.header import ModelHeader, SqlModelError, read_header

SCHEMA: Final = "seda"
USERS: Final = "seda.users"
# What `seda.users` becomes when a model is computed for some people alone. A setting, because a
# `create table as` takes no parameters.
SOME_USERS: Final = (
    "(select * from seda.users where id = any (current_setting('seda.some_users')::uuid[]))"
)
_WRITES: Final = (exp.Insert, exp.Update, exp.Delete, exp.Merge, exp.Into, exp.Lock, exp.Command)


@dataclass(frozen=True, slots=True)
class SqlModel:
    """One `SELECT` and the table of the same name that it fills.

    `dependencies` are `schema.table` names, models and sources alike; `column_lineage` leads from
    each column to the (table, column) pairs it is made of. `code_version` changes when the
    result may change, not with layout, comments or prose. `sql_for_some_users` is None unless the
    header says `per: user`.
    """

    name: str
    layer: str
    path: Path
    header: ModelHeader
    sql: str
    sql_for_some_users: str | None
    dependencies: frozenset[str]
    columns: tuple[str, ...]
    column_lineage: Mapping[str, tuple[tuple[str, str], ...]]
    code_version: str

    @property
    def relation(self) -> str:
        """The table that the model fills, `seda.<name>`."""
        return f"{SCHEMA}.{self.name}"


def load_models(folder: Path, known_tables: Collection[str]) -> dict[str, SqlModel]:
    """Every model under `folder/<layer>/<name>.sql`, by name, in topological order.

    `known_tables` are the `schema.table` names that models may read beside each other.

    Raises:
        SqlModelError: a file cannot be used, with the file, the line and what to change.
    """
    paths = sorted(folder.glob("*/*.sql"))
    if not paths:
        raise SqlModelError(folder, None, "no models here; they are named <layer>/<name>.sql.")
    known = {*known_tables, *(f"{SCHEMA}.{path.stem}" for path in paths)}
    models: dict[str, SqlModel] = {}
    for path in paths:
        if path.stem in models:
            raise SqlModelError(path, None, f"{models[path.stem].path} has the same name.")
        models[path.stem] = _load(path, known)
    return {model.name: model for model in topological_order(models)}


def topological_order(models: Mapping[str, SqlModel]) -> tuple[SqlModel, ...]:
    """Every model after the ones it reads; by name among those that could run together.

    Raises:
        SqlModelError: some models read each other in a circle.
    """
    graph = {
        name: {other for other in models if models[other].relation in models[name].dependencies}
        for name in models
    }
    sorter = TopologicalSorter(graph)
    try:
        sorter.prepare()
    except CycleError as problem:
        circle = problem.args[1]
        raise SqlModelError(
            models[circle[0]].path, None, f"models read each other: {' → '.join(circle)}."
        ) from problem
    ordered: list[SqlModel] = []
    while sorter.is_active():
        ready = sorted(sorter.get_ready())
        ordered += (models[name] for name in ready)
        sorter.done(*ready)
    return tuple(ordered)


def _load(path: Path, known: Collection[str]) -> SqlModel:
    text = _without_semicolon(path, path.read_text(encoding="utf-8"))
    header = read_header(path, text)
    query = _parse(path, text)
    _refuse_stars_and_writes(path, query)
    tables = _tables(path, query, known)
    columns = _columns(path, query, header)
    if header.per and (USERS not in tables or "user_id" not in header.unique):
        raise SqlModelError(
            path, None, f"'per: user' needs user_id in the key and {USERS} among the tables."
        )
    return SqlModel(
        name=path.stem,
        layer=path.parent.name,
        path=path,
        header=header,
        sql=text,
        sql_for_some_users=_narrowed(text, tables[USERS]) if header.per else None,
        dependencies=frozenset(tables),
        columns=columns,
        column_lineage=_column_lineage(path, query),
        code_version=_code_version(query, header),
    )


def _without_semicolon(path: Path, text: str) -> str:
    """The text up to its closing semicolon, because it is run inside another statement."""
    try:
        tokens = sqlglot.tokenize(text, read="postgres")
    except SqlglotError as problem:
        raise SqlModelError(path, None, f"this is no SQL: {problem}.") from problem
    if tokens and tokens[-1].token_type is TokenType.SEMICOLON:
        return text[: tokens[-1].start]
    return text


def _parse(path: Path, text: str) -> exp.Query:
    try:
        parsed = sqlglot.parse(text, read="postgres")
    except ParseError as problem:
        first = problem.errors[0]
        raise SqlModelError(path, first["line"], f"{first['description']}.") from problem
    statements = [each for each in parsed if each and not isinstance(each, exp.Semicolon)]
    if len(statements) != 1:
        raise SqlModelError(
            path, None, f"a model is exactly one statement; this file has {len(statements)}."
        )
    query = statements[0]
    if not isinstance(query, exp.Select | exp.SetOperation):
        raise SqlModelError(path, None, f"a model is one SELECT; this is {query.key.upper()}.")
    return query


def _refuse_stars_and_writes(path: Path, query: exp.Query) -> None:
    for star in query.find_all(exp.Star):
        if not isinstance(star.parent, exp.Count):
            raise SqlModelError(
                path, _line(star.parent), "name the columns instead of '*': lineage needs them."
            )
    for write in query.find_all(*_WRITES):
        raise SqlModelError(
            path, _line(write), f"a model only reads; take out the {write.key.upper()}."
        )


def _tables(path: Path, query: exp.Query, known: Collection[str]) -> dict[str, list[exp.Table]]:
    """The tables that a query reads, by `schema.table`, with every place they stand at."""
    own_names = {cte.alias_or_name for cte in query.find_all(exp.CTE)}
    found: dict[str, list[exp.Table]] = {}
    for table in query.find_all(exp.Table):
        if not isinstance(table.this, exp.Identifier) or (not table.db and table.name in own_names):
            continue
        if not table.db:
            raise SqlModelError(
                path, _line(table), f"write the schema of '{table.name}', as in seda.{table.name}."
            )
        name = f"{table.db}.{table.name}".lower()
        if name == f"{SCHEMA}.{path.stem}":
            raise SqlModelError(path, _line(table), "a model cannot read its own table.")
        if name not in known:
            raise SqlModelError(
                path,
                _line(table),
                f"unknown table {name}: correct the name, or add it to the known tables.",
            )
        found.setdefault(name, []).append(table)
    return found


def _columns(path: Path, query: exp.Query, header: ModelHeader) -> tuple[str, ...]:
    columns = tuple(
        each.alias or (each.name if isinstance(each, exp.Column) else "") for each in query.selects
    )
    if not all(columns) or len(set(columns)) < len(columns):
        raise SqlModelError(
            path, None, f"give every column a name of its own; these are {', '.join(columns)}."
        )
    for column in sorted(header.columns - set(columns)):
        raise SqlModelError(path, None, f"the header names '{column}', which is not selected.")
    return columns


def _column_lineage(path: Path, query: exp.Query) -> dict[str, tuple[tuple[str, str], ...]]:
    try:
        qualified = qualify(
            query.copy(), dialect="postgres", identify=False, quote_identifiers=False
        )
    except OptimizeError as problem:
        raise SqlModelError(
            path, None, f"{str(problem).rstrip('.')}. Write table.column where tables are joined."
        ) from problem
    nodes = lineage(None, qualified, {}, scope=build_scope(qualified), dialect="postgres")
    return {
        column: tuple(
            sorted(
                {
                    (f"{leaf.expression.db}.{leaf.expression.name}", leaf.name.split(".")[-1])
                    for leaf in node.walk()
                    if isinstance(leaf.expression, exp.Table) and leaf.expression.db
                }
            )
        )
        for column, node in nodes.items()
    }


def _narrowed(text: str, tables: Collection[exp.Table]) -> str:
    """The text with `SOME_USERS` in every place of `seda.users`; the rest stays as written."""
    for table in sorted(tables, key=lambda each: each.this.meta["start"], reverse=True):
        start, end = table.args["db"].meta["start"], table.this.meta["end"] + 1
        alias = "" if table.alias else " users"
        text = f"{text[:start]}{SOME_USERS}{alias}{text[end:]}"
    return text


def _code_version(query: exp.Query, header: ModelHeader) -> str:
    normalised = normalize_identifiers(query.copy(), dialect="postgres")
    rules: dict[str, object] = {
        "unique": header.unique,
        "not_null": header.not_null,
        "accepted_values": dict(header.accepted_values),
        "touched": header.touched,
    }
    if header.event_time:
        rules |= {"event_time": header.event_time, "lookback": header.lookback}
    meaning = normalised.sql("postgres", comments=False) + json.dumps(rules, sort_keys=True)
    return hashlib.sha256(meaning.encode()).hexdigest()[:16]


def _line(node: exp.Expr | None) -> int | None:
    """The line of the first word under a node whose place is known."""
    if node is None:
        return None
    lines = [each.meta["line"] for each in node.walk() if "line" in each.meta]
    return min(lines, default=None)
