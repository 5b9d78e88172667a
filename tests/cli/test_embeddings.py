"""`seda embeddings`, `seda reindex` and `seda vectors`: what is told, done, and refused."""

from uuid import uuid4

import pytest

from seda.database.regions import Databases, Region
from tests.cli.cli_runs import Seda, sentence
from tests.embeddings.mock_server import KEY, MockServer, mock_server, mock_service
from tests.vectorstore.catalogue import add_artists

__all__ = ["mock_server", "mock_service"]

OPENAI = "openai:text-embedding-3-small:1536:1:global"
COHERE = "cohere:embed-v4.0:1536:1:global"


@pytest.fixture
def keys(mock_server: MockServer) -> dict[str, str]:
    """Both hosted providers, at the mock service."""
    return {
        "OPENAI_API_KEY": KEY,
        "COHERE_API_KEY": KEY,
        "SEDA_OPENAI_BASE_URL": mock_server.openai_url,
        "SEDA_COHERE_BASE_URL": mock_server.cohere_url,
    }


def _fill(seda: Seda, keys: dict[str, str]) -> str:
    """On a busy machine a first answer may come too late; the command goes on where it stopped."""
    for _ in range(3):
        filled = seda("embeddings", "fill", COHERE, **keys)
        if filled.returncode == 0:
            break
    assert filled.returncode == 0, filled.stderr
    return filled.stdout


def test_a_standby_is_filled_promoted_and_seen(
    seda_here: Seda, databases: Databases, keys: dict[str, str]
) -> None:
    add_artists(databases[Region.GLOBAL], range(70))
    refused = seda_here("embeddings", "promote", COHERE, **keys)
    assert "only a standby can be promoted" in sentence(refused) or "lacks vectors" in sentence(
        refused
    )
    assert "0 are still without a vector" in _fill(seda_here, keys)
    promoted = seda_here("embeddings", "promote", COHERE, **keys)
    assert f"{COHERE} is active now" in promoted.stdout
    told = seda_here("embeddings", "status", **keys).stdout
    assert "active" in told
    assert f"{OPENAI} is configured but not active" in told
    assert "No text waits" in told
    assert "of $1,500.00" in told


def test_a_fill_that_was_refused_is_no_success(
    seda_here: Seda, databases: Databases, keys: dict[str, str], mock_server: MockServer
) -> None:
    add_artists(databases[Region.GLOBAL], range(5))
    mock_server.set_profile("cohere", revoked=True)
    answer = seda_here("embeddings", "fill", COHERE, **keys)
    assert answer.returncode == 1
    assert "5 are still without a vector" in answer.stdout
    assert "seda embeddings status" in answer.stderr


def test_the_cap_is_raised_by_a_super_admin_for_a_while(
    seda_here: Seda, databases: Databases
) -> None:
    admin = uuid4()
    with databases[Region.GLOBAL].transaction() as connection:
        connection.execute("insert into seda.users (id, role) values (%s, 'super_admin')", [admin])
    asked = ("embeddings", "override", "--reason", "launch week, agreed", "--cap-usd", 2000)
    assert "no super_admin" in sentence(seda_here(*asked, "--approver", uuid4()))
    granted = seda_here(*asked, "--approver", admin)
    assert "The cap is $2,000.00 until" in granted.stdout
    told = seda_here("embeddings", "status").stdout
    assert "of $2,000.00" in told
    assert "launch week, agreed" in told


@pytest.mark.parametrize(
    ("command", "said"),
    [
        (("embeddings", "fill", "nonsense"), "no embedding space id"),
        (("embeddings", "fill", OPENAI), "No configured provider"),
        (("embeddings", "promote", COHERE, "--region", "eu"), "is no space of eu"),
        (("reindex",), "seda materialize"),
        (("vectors", "status"), "seda materialize"),
        (("vectors", "fill", "--entity", "artist"), "set SEDA_QDRANT_URL"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else None,
)
def test_what_cannot_be_done_is_one_sentence(seda_here: Seda, command, said: str) -> None:
    assert said in sentence(seda_here(*command))


def test_a_second_store_is_filled_compared_and_left_again(
    seda_here: Seda, databases: Databases, keys: dict[str, str], tmp_path
) -> None:
    add_artists(databases[Region.GLOBAL], range(80))
    _fill(seda_here, keys)
    promoted = seda_here("embeddings", "promote", COHERE, **keys)
    assert promoted.returncode == 0, promoted.stderr
    rebuilt = seda_here("reindex", "--entity", "artist", "--region", "global")
    assert "global artists: 80 vectors, recall@50" in rebuilt.stdout
    here = {"SEDA_QDRANT_URL": tmp_path / "qdrant"}
    artists = ("--entity", "artist")
    assert "stage shadow" in seda_here("vectors", "stage", *artists, **here).stdout
    assert "were compared" in sentence(seda_here("vectors", "stage", *artists, **here))
    written = seda_here("vectors", "fill", *artists, **here)
    assert "vectors were written" in written.stdout
    compared = seda_here("vectors", "compare", *artists, "--queries", 80, **here)
    assert "overlap 1.000" in compared.stdout
    assert "stage dual" in seda_here("vectors", "stage", *artists, **here).stdout
    told = seda_here("vectors", "status").stdout
    assert "dual" in told
    assert "stage pgvector" in seda_here("vectors", "back", *artists, "--all").stdout
