"""Which model version ranked the lists that are served now: by shard with its run, and to whom."""

from dataclasses import dataclass

import psycopg

CONTROL = "control"

_SERVED = """
    select p.shard, array_agg(distinct g.model_version order by g.model_version),
        array_agg(distinct coalesce(g.run_id, ''))
    from seda.generation_pointer p join seda.generations g using (generation)
    where p.arm = %s group by p.shard order by p.shard"""

# The canary's people have lists of the control's too, which wait for a rollback.
_PEOPLE = """
    with served as (
        select distinct p.arm, p.shard, p.generation, g.model_version
        from seda.generation_pointer p join seda.generations g using (generation))
    select s.arm, s.model_version, count(distinct s.shard), count(distinct c.user_id)
    from served s join seda.mv_user_top_candidates c using (generation)
    where seda.served_arm(c.user_id) = s.arm
    group by s.arm, s.model_version order by s.arm desc, s.model_version"""


@dataclass(frozen=True)
class ServedLists:
    """Of one shard; more than one version or run where its types differ."""

    versions: tuple[str, ...]
    runs: tuple[str, ...]


def served_lists(connection: psycopg.Connection, *, arm: str = CONTROL) -> dict[str, ServedLists]:
    """Shard → what its served lists were made by; shards that serve nothing are not in it."""
    rows = connection.execute(_SERVED, [arm])
    return {shard: ServedLists(tuple(versions), tuple(runs)) for shard, versions, runs in rows}


@dataclass(frozen=True)
class ServedPeople:
    """How many people of how many shards read lists of a version, in one arm."""

    arm: str
    model_version: str
    shards: int
    people: int


def served_people(connection: psycopg.Connection) -> list[ServedPeople]:
    """Who is served what now, by arm and version; one who has no list is in none of them."""
    return [ServedPeople(*row) for row in connection.execute(_PEOPLE)]


def ranked_by(connection: psycopg.Connection, generation: int) -> str | None:
    """The model version of a generation; None where there is none of this number."""
    row = connection.execute(
        "select model_version from seda.generations where generation = %s", [generation]
    ).fetchone()
    return str(row[0]) if row else None
