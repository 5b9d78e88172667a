"""The command line, `seda`: one module per group of commands, imported without their work.

What a command needs is imported when it runs, so that `seda --help` stays fast.
"""

import typer

from seda.cli import (
    backfills,
    data,
    embedding,
    embeddings,
    evaluation,
    gate,
    keys,
    kpis,
    models,
    notices,
    people,
    privacy,
    replay,
    running,
    state,
    vectors,
)
from seda.cli.sentences import Sentences

app = typer.Typer(
    cls=Sentences,
    name="seda",
    help="seda.fm's recommendation platform. `seda demo` shows all of it.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)

app.command()(running.demo)
app.command()(running.up)
app.command()(data.migrate)
app.command()(data.seed)
app.add_typer(data.importing, name="import")
app.command()(data.materialize)
app.command()(backfills.backfill)
app.command()(evaluation.evaluate)
app.command()(kpis.kpis)
app.add_typer(data.exporting, name="export")
app.command("reindex")(vectors.reindex)
app.add_typer(vectors.vectors, name="vectors")
app.add_typer(models.models, name="model")
app.add_typer(models.models, name="models", hidden=True)
app.command()(gate.gate)
app.command("embed-server")(embedding.embed_server)
app.add_typer(embeddings.embeddings, name="embeddings")
app.command("mock-providers")(embedding.mock_providers)
app.command()(replay.replay)
app.add_typer(privacy.privacy, name="privacy")
app.add_typer(privacy.audit, name="audit")
app.command()(people.token)
app.add_typer(keys.keys, name="keys")
app.command()(notices.notices)
app.command()(state.status)
app.command()(state.reset)

__all__ = ["app"]
