"""The command that computes what a new model left to do: `backfill`."""

from typing import Annotated

import typer


def backfill(
    model: Annotated[
        str | None, typer.Option(help="Version that must be the active one. Default: whichever is.")
    ] = None,
    shards: Annotated[
        list[str] | None, typer.Option(help="A shard, such as global-03; may be repeated.")
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Say what is to be done, and do nothing.")
    ] = False,
    ui: Annotated[
        bool, typer.Option("--ui", help="Hand it to the Dagster that `seda up` runs.")
    ] = False,
) -> None:
    """Compute what a new model, or new code of one, left to do.

    Only what is affected, for the shards that still serve what was before; after an interruption
    the same command computes the rest.
    """
    from seda.cli.materialising import run_backfill

    run_backfill(model, shards or [], dry_run=dry_run, through_ui=ui)
