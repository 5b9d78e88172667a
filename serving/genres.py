"""The genres that a person may choose: those that the catalogue of their region has."""

from typing import Annotated

import asyncpg
from pydantic import AfterValidator, Field

from serving.bodies import Line
from serving.problems import ProblemError

LEAST = 3
MOST = 50

_UNKNOWN = """
select genre from unnest($1::text[]) as chosen(genre)
where genre = '*' or not (
    exists (select from seda.artist_genres a where a.genre = chosen.genre)
    or exists (select from seda.genre_top_entities t where t.genre = chosen.genre)
    or exists (select from seda.rooms r where r.genre = chosen.genre))
"""


def _distinct(genres: list[str]) -> list[str]:
    return list(dict.fromkeys(genres))


def _enough(genres: list[str]) -> list[str]:
    if len(genres) < LEAST:
        raise ValueError(f"choose at least {LEAST} different genres")
    return genres


Genres = Annotated[
    list[Line], Field(max_length=MOST, examples=[["techno", "jazz", "dub"]]),
    AfterValidator(_distinct),
]  # fmt: skip
ThreeGenres = Annotated[
    Genres, AfterValidator(_enough), Field(json_schema_extra={"minItems": LEAST})
]


async def refuse_unknown_genres(connection: asyncpg.Connection, genres: list[str]) -> None:
    """Raises ProblemError 422, naming the genres that nothing in the catalogue has."""
    unknown = [row["genre"] for row in await connection.fetch(_UNKNOWN, genres)]
    if unknown:
        raise ProblemError(
            422,
            "unknown_genres",
            f"There is no such genre: {', '.join(unknown)}. Choose from those that are offered.",
            genres=unknown,
        )
