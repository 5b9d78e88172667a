"""Measures onboarding, from the request to the first feed in its answer.

Run with `python -m benchmarks.onboarding [--artists 20000] [--people 100]`. Every artist has a
vector of 1,536 dimensions and three of forty genres; every newcomer picks three or more.
"""

import argparse
import asyncio
import random
import tempfile
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from uuid import UUID, uuid4

import httpx
import numpy as np
import psycopg

from seda.database.migrate import migrate
from seda.database.regions import Databases, Region
from seda.people.tokens import mint_token
from seda.settings import Settings
from serving.app import create_app

GENRES = [f"genre {number}" for number in range(40)]
_CATALOGUE = """
insert into seda.embedding_spaces (id, provider, model, dim, version, state)
values ('measured', 'local', 'random', 1536, '1', 'active');
insert into seda.artists (id, name)
select gen_random_uuid(), 'artist ' || n from generate_series(1, {artists}) n;
insert into seda.artist_genres (artist_id, genre, weight)
select a.id, 'genre ' || ((hashtext(a.id::text) & 65535) + 13 * n) % 40, 1 + random()
from seda.artists a cross join generate_series(0, 2) n;
insert into seda.genre_top_entities (genre, entity_type, rank, entity_id, name, score)
select genre, 'artist', place, artist_id, 'artist', 1.0 / place from (
    select genre, artist_id, row_number() over (partition by genre order by weight desc) as place
    from seda.artist_genres) ranked where place <= 100;
"""


def main() -> None:
    """Prints the median, the 95th percentile and the slowest, in milliseconds."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--artists", type=int, default=20_000)
    parser.add_argument("--people", type=int, default=100)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="seda-bench-") as home:
        settings = Settings(_env_file=None, home=Path(home), database_url=None)
        databases = Databases(settings)
        try:
            migrate(databases)
            with databases[Region.GLOBAL].transaction() as connection:
                _fill(connection, arguments.artists)
            milliseconds = asyncio.run(_measure(databases, settings, arguments.people))
        finally:
            databases.close()
    p50, p95 = np.percentile(milliseconds, [50, 95])
    print(f"{arguments.people} newcomers, {arguments.artists} artists: "
          f"p50 {p50:.0f} ms, p95 {p95:.0f} ms, slowest {max(milliseconds):.0f} ms")  # fmt: skip


def _fill(connection: psycopg.Connection, artists: int) -> None:
    connection.execute(_CATALOGUE.replace("{artists}", str(artists)))  # type: ignore[arg-type]
    ids = [id for (id,) in connection.execute("select id from seda.artists").fetchall()]
    vectors = np.random.default_rng(0).standard_normal((64, 1536), np.float32)
    texts = [str((each / np.linalg.norm(each)).tolist()) for each in vectors]
    connection.execute("create temporary table sample (n int, embedding halfvec)")
    connection.cursor().executemany(
        "insert into sample values (%s, %s::halfvec)", list(enumerate(texts))
    )
    connection.execute(
        "insert into seda.artists_vectors (space_id, entity_id, embedding, content_hash) "
        "select 'measured', a.id, s.embedding, '' from unnest(%s::uuid[]) "
        "with ordinality as a(id, place) join sample s on s.n = a.place %% 64",
        [ids],
    )
    connection.execute("analyze")


async def _measure(databases: Databases, settings: Settings, people: int) -> list[float]:
    app = create_app(settings, databases=databases)
    chance, milliseconds = random.Random(0), []
    async with (
        app.router.lifespan_context(app),
        httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://api") as client,
    ):
        for _ in range(people):
            genres = chance.sample(GENRES, chance.randint(3, 8))
            headers = {"Authorization": f"Bearer {_token(settings, uuid4())}"}
            start = time.perf_counter()
            response = await client.post(
                "/onboarding", json={"genres": genres, "country": "US"}, headers=headers
            )
            milliseconds.append(1000 * (time.perf_counter() - start))
            assert response.status_code == 201, response.text
            assert response.json()["feed"]["items"]
    return milliseconds


def _token(settings: Settings, sub: UUID) -> str:
    return mint_token(
        settings.signing_secret(),
        sub,
        audience=settings.jwt_audience,
        lifetime=timedelta(hours=1),
        now=datetime.now(UTC),
    )


if __name__ == "__main__":
    main()
