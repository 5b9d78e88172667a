"""Which model version ranked the lists that each shard serves now, and in which run."""

from dataclasses import dataclass

import psycopg

CONTROL = "control"

_SERVED = """
    select p.shard, array_agg(distinct g.model_version order by g.model_version),
        array_agg(distinct coalesce(g.run_id, ''))
    from seda.generation_pointer p join seda.generations g using (generation)
    where p.arm = %s group by p.shard order by p.shard"""


@dataclass(frozen=True)
class ServedLists:
    """Of one shard; more than one version or run where its types differ."""

    versions: tuple[str, ...]
    runs: tuple[str, ...]


def served_lists(connection: psycopg.Connection, *, arm: str = CONTROL) -> dict[str, ServedLists]:
    """Shard → what its served lists were made by; shards that serve nothing are not in it."""
    rows = connection.execute(_SERVED, [arm])
    return {shard: ServedLists(tuple(versions), tuple(runs)) for shard, versions, runs in rows}


def ranked_by(connection: psycopg.Connection, generation: int) -> str | None:
    """The model version of a generation; None where there is none of this number."""
    row = connection.execute(
        "select model_version from seda.generations where generation = %s", [generation]
    ).fetchone()
    return str(row[0]) if row else None
