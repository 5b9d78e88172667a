"""The commands about vector search: rebuilding indexes, and moving to a second store and back."""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated

import typer

from seda.cli.options import EntityType, RegionName
from seda.errors import SedaError

if TYPE_CHECKING:
    from seda.database.regions import RegionalDatabase
    from seda.embeddings.spaces import EmbeddingSpace
    from seda.vectorstore.migrating import MigratingStore

vectors = typer.Typer(no_args_is_help=True, help="A second vector store beside Postgres.")

_ENTITY = Annotated[EntityType, typer.Option("--entity", help="What is searched.")]
_REGION = Annotated[RegionName, typer.Option(help="Which region.")]


class NoActiveSpaceError(SedaError):
    """Nothing was embedded yet."""


def reindex(
    entity: Annotated[EntityType | None, typer.Option(help="Default: all three.")] = None,
    region: Annotated[RegionName | None, typer.Option(help="Default: both.")] = None,
) -> None:
    """Build the vector indexes anew, beside the served ones.

    Each is verified against exact search before it is swapped in; searches are served throughout.
    """
    from seda.cli.progress import ShownProgress
    from seda.cli.session import open_databases
    from seda.vectorstore.indexes import rebuild_index
    from seda.vectorstore.store import SEARCHABLE

    built = []
    kinds = SEARCHABLE if entity is None else (entity.value,)
    with open_databases() as databases, ShownProgress() as progress:
        wanted = [one for one in databases if region is None or one.region == region.value]
        for database in wanted:
            progress.start(f"indexes of {database.region}", len(kinds))
            for kind in kinds:
                space = _active_space(database)
                index = rebuild_index(database, kind, space, now=datetime.now(UTC))
                built.append(
                    f"{database.region} {kind}s: {index.vectors:,} vectors, recall@50 "
                    f"{index.recalls[-1]:.3f} at ef_search {index.breadths[-1]}"
                )
                progress.advance(1)
    for line in built:
        typer.echo(line)


@vectors.command()
def status(region: _REGION = RegionName.GLOBAL) -> None:
    """Show each entity's stage, index, and how far the stores agree."""
    from seda.cli.session import open_databases
    from seda.cli.tables import new_table, print_table
    from seda.database.regions import Region
    from seda.vectorstore.indexes import live_index
    from seda.vectorstore.routes import load_agreement, load_route
    from seda.vectorstore.store import SEARCHABLE

    table = new_table(
        f"{region.value}: vector search", "entity", "stage", "vectors", "recall@50", "compared",
        "overlap", "failures", right=("vectors", "recall@50", "compared", "overlap", "failures"),
    )  # fmt: skip
    with open_databases() as databases:
        database = databases[Region(region.value)]
        space = _active_space(database)
        with database.transaction() as connection:
            for kind in SEARCHABLE:
                live, route = live_index(connection, kind, space), load_route(connection, kind)
                agreement = load_agreement(connection, route)
                table.add_row(
                    kind, route.stage, f"{live.vectors:,}" if live else "no index",
                    f"{live.recalls[-1]:.3f}" if live else "exact", str(agreement.compared),
                    f"{agreement.overlap:.3f}" if agreement.compared else "",
                    str(agreement.failures),
                )  # fmt: skip
    print_table(table)


@vectors.command()
def fill(entity: _ENTITY, region: _REGION = RegionName.GLOBAL) -> None:
    """Bring Postgres's vectors to the second store; a killed fill goes on where it stopped."""
    from seda.cli.progress import ShownProgress

    with _second_store(region) as (_, store, space), ShownProgress() as progress:
        progress.start(f"{entity.value}s", store.count(entity.value, space))
        written = store.fill(entity.value, space, advanced=progress.advance)
    typer.echo(f"{written:,} vectors were written to the second store.")


@vectors.command()
def compare(
    entity: _ENTITY,
    region: _REGION = RegionName.GLOBAL,
    queries: Annotated[int, typer.Option(min=1, help="Searches to ask both stores.")] = 50,
) -> None:
    """Ask both stores the same, and keep how far they agree."""
    from seda.cli.progress import ShownProgress
    from seda.vectorstore.routes import load_agreement, load_route
    from seda.vectorstore.rows import sample_vectors
    from seda.vectorstore.store import SpaceVector

    with _second_store(region) as (database, store, space):
        with database.transaction() as connection:
            sample = sample_vectors(connection, entity.value, space, queries)
        with ShownProgress() as progress:
            progress.start("searches", len(sample))
            for vector in sample:
                store.compare(entity.value, SpaceVector(space, vector), 50)
                progress.advance(1)
        with database.transaction() as connection:
            agreement = load_agreement(connection, load_route(connection, entity.value))
    typer.echo(
        f"{agreement.compared} compared in this stage: overlap {agreement.overlap:.3f}, P95 "
        f"{agreement.first_p95_ms:.1f} ms in Postgres and {agreement.second_p95_ms:.1f} ms in the "
        f"second store, {agreement.failures} failures."
    )


@vectors.command()
def stage(entity: _ENTITY, region: _REGION = RegionName.GLOBAL) -> None:
    """Take the next stage: shadow, dual, canary, qdrant.

    Refused while the second store is incomplete or does not agree enough.
    """
    with _second_store(region) as (_, store, space):
        reached = store.advance(entity.value, space)
    typer.echo(f"{entity.value}s are in stage {reached} now.")


@vectors.command()
def back(
    entity: _ENTITY,
    region: _REGION = RegionName.GLOBAL,
    everything: Annotated[
        bool, typer.Option("--all", help="To Postgres alone, not only for searches.")
    ] = False,
) -> None:
    """Let Postgres answer again, at once, whatever the second store does."""
    from seda.cli.session import open_databases
    from seda.database.regions import Region
    from seda.vectorstore.migrating import go_back

    with open_databases() as databases:
        reached = go_back(
            databases[Region(region.value)],
            entity.value,
            now=datetime.now(UTC),
            to="pgvector" if everything else None,
        )
    typer.echo(f"{entity.value}s are in stage {reached} now.")


@contextmanager
def _second_store(
    region: RegionName,
) -> "Iterator[tuple[RegionalDatabase, MigratingStore, EmbeddingSpace]]":
    from contextlib import closing

    from seda.cli.session import open_databases
    from seda.database.regions import Region
    from seda.settings import load_settings
    from seda.vectorstore.opening import open_second_store

    settings = load_settings()
    with open_databases(settings) as databases:
        database = databases[Region(region.value)]
        with closing(open_second_store(settings, database)) as store:
            yield database, store, _active_space(database)


def _active_space(database: "RegionalDatabase") -> "EmbeddingSpace":
    from seda.embeddings.space_rows import active_space

    with database.transaction() as connection:
        space = active_space(connection)
    if space is None:
        raise NoActiveSpaceError(
            f"Nothing is embedded in {database.region} yet: run `seda materialize` first."
        )
    return space
