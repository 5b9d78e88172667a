"""The outage drill at full length: what a refresh does while a provider misbehaves, and after.

Run with `python -m benchmarks.outage [--texts 20000] [--profile NAME …]`. For each way to
misbehave, texts are embedded through OpenAI's mock over real HTTP, with the breaker's real minute;
then the provider recovers and the queue drains. Printed are what was embedded, what waited, what
was billed against the ledger's sum, and the breaker's transitions. It takes about three minutes a
profile.
"""

import argparse
import logging
import tempfile
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

from pydantic import SecretStr

from seda.database.embedded import EmbeddedServer
from seda.database.migrate import migrate
from seda.database.regions import Databases, Region, RegionalDatabase
from seda.embeddings import ledger
from seda.embeddings.routes import embeddings_of
from seda.sandbox.mock_providers.running import KEY, MockServer, running_mock_server
from seda.settings import Settings
from seda.vectorstore.refresh import VectorRefresh, refresh_vectors

PROFILES = {
    "healthy": {},
    "errors 5 %": {"error_rate": 0.05, "latency_seconds": 0.05},
    "errors 100 %": {"error_rate": 1.0},
    "P95 1.5 s": {"latency_seconds": 0.05, "slow_share": 0.1, "slow_latency_seconds": 1.5},
    "429 storm": {"rate_limit_rate": 0.8, "retry_after_seconds": 1.0},
    "cut mid-body": {"cut_rate": 0.3, "latency_seconds": 0.05},
}
STEP_SECONDS = 10
RECOVERY_SECONDS = 300


def main() -> None:
    """Prints one line per profile."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--texts", type=int, default=20_000)
    parser.add_argument("--profile", choices=list(PROFILES), nargs="*", default=list(PROFILES))
    parser.add_argument("--seconds", type=float, default=100, help="of misbehaviour")
    arguments = parser.parse_args()
    logging.disable(logging.WARNING)
    with tempfile.TemporaryDirectory() as folder, running_mock_server() as mock:
        server = EmbeddedServer(Path(folder) / "pg")
        for place, name in enumerate(arguments.profile):
            settings = Settings(
                _env_file=None,
                home=Path(folder),
                database_url=server.uri(f"global_{place}"),
                eu_database_url=server.uri(f"eu_{place}"),
                openai_api_key=SecretStr(KEY),
                openai_base_url=mock.openai_url,
                embedding_batch_size=64,
            )
            databases = Databases(settings)
            migrate(databases)
            _drill(databases[Region.GLOBAL], settings, mock, name, arguments)
        server.stop()


def _drill(
    database: RegionalDatabase,
    settings: Settings,
    mock: MockServer,
    name: str,
    arguments: argparse.Namespace,
) -> None:
    mock.reset()
    mock.set_profile("openai", **PROFILES[name])
    per_step = max(1, int(arguments.texts * STEP_SECONDS / arguments.seconds))
    started = time.monotonic()
    embedded, added = 0, 0
    while added < arguments.texts:
        # Texts keep arriving while the provider misbehaves, as they do in production.
        _add_artists(database, added, per_step)
        added += per_step
        embedded += sum(_refresh(database, settings).embedded.values())
        time.sleep(max(0.0, started + STEP_SECONDS * added / per_step - time.monotonic()))
    misbehaved = time.monotonic() - started
    mock.set_profile("openai")
    recovering = time.monotonic()
    left = added - embedded
    while left and time.monotonic() - recovering < RECOVERY_SECONDS:
        left = _refresh(database, settings).without_vector
        if left:
            time.sleep(STEP_SECONDS)
    drained = time.monotonic() - recovering
    with database.transaction() as connection:
        ledger.expire(connection, now=datetime.now(UTC) + timedelta(hours=1))
        ((booked,),) = connection.execute("select sum(tokens) from seda.embedding_spend")
        phases = connection.execute(
            "select to_phase, happened_at from seda.circuit_breaker_transitions order by id"
        ).fetchall()
    print(
        f"{name:14s} {added} texts in {misbehaved:.0f} s: {embedded} embedded meanwhile, {left} "
        f"left {drained:.0f} s after recovery; billed {mock.billed_tokens('openai'):,} tokens, "
        f"ledger {booked:,}; breaker {' → '.join(phase for phase, _ in phases) or 'stayed closed'}"
    )


def _refresh(database: RegionalDatabase, settings: Settings) -> VectorRefresh:
    with database.transaction() as connection:
        found = embeddings_of(settings, Region.GLOBAL, connection)
    return refresh_vectors(
        database, "artist", found, worker="drill", clock=lambda: datetime.now(UTC)
    )


def _add_artists(database: RegionalDatabase, first: int, count: int) -> None:
    with database.transaction() as connection:
        connection.execute(
            "insert into seda.artists (id, name) "
            "select gen_random_uuid(), 'Artist ' || n from generate_series(%s::int, %s::int) n",
            [first, first + count - 1],
        )


if __name__ == "__main__":
    main()
