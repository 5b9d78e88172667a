"""Everybody who comes on a day: newcomers sign up, people read their lists and answer, over HTTP.

What the canary's gates count (impressions, clicks, listens) is written by the API alone.
"""

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, TypeVar
from uuid import UUID, uuid4

import aiohttp
import numpy as np

from benchmarks.drills.feed_readers import Person
from seda.database.regions import Databases
from seda.experiments.assignment import arm_of
from seda.people.tokens import token_of
from seda.settings import Settings

AT_ONCE = 8
LISTENED = 0.75
"""Share of the clicked that were listened to for thirty seconds."""
KINDS = ("rooms", "playlists", "artists")
LARGEST_BATCH = 1000

_PEOPLE = """
    select distinct u.id, u.auth_user_id from seda.users u
    join seda.mv_user_top_candidates c on c.user_id = u.id
    join seda.generation_pointer p using (generation, entity_type)
    where u.auth_user_id is not null and u.deleted_at is null order by u.id"""
_GENRES = """
    select genre from seda.artist_genres group by genre having count(*) >= 5 order by genre"""

Each = TypeVar("Each")


@dataclass
class Traffic:
    """What was counted on this side, by arm."""

    people: Counter[str]
    impressions: Counter[str]
    clicks: Counter[str]
    requests: int = 0


def genres_of(databases: Databases) -> list[str]:
    """Genres that a newcomer of any region may choose."""
    found = []
    for database in databases:
        with database.transaction() as connection:
            found.append({genre for (genre,) in connection.execute(_GENRES)})
    return sorted(set.intersection(*found))


def everybody(databases: Databases, *, experiment: str, share: float) -> list[Person]:
    """All who are served a list, with the arm that the experiment puts them in."""
    settings, now = databases.settings, datetime.now(UTC)
    people = []
    for database in databases:
        with database.transaction() as connection:
            rows = connection.execute(_PEOPLE).fetchall()
        people += [
            Person(
                user_id, database.region, arm_of(experiment, user_id, share),
                token_of(settings, UUID(sub), timedelta(hours=2), now),
            )
            for user_id, sub in rows
        ]  # fmt: skip
    return people


def sign_up(
    port: int, settings: Settings, genres: Sequence[str], countries: Sequence[str], seed: int
) -> int:
    """Somebody of each of these countries signs up; how many did."""
    random = np.random.default_rng([seed, 1])
    chosen = [list(map(str, random.choice(genres, 4, replace=False))) for _ in countries]

    async def one(session: aiohttp.ClientSession, place: int) -> None:
        token = token_of(settings, uuid4(), timedelta(hours=2), datetime.now(UTC))
        body = {"genres": chosen[place], "country": countries[place]}
        async with session.post(
            "/onboarding", json=body, headers={"Authorization": f"Bearer {token}"}
        ) as answer:
            answer.raise_for_status()

    asyncio.run(_everyone(port, range(len(countries)), one))
    return len(countries)


def come_and_click(
    port: int, people: Sequence[Person], ctr: Mapping[str, float], seed: int
) -> Traffic:
    """Each reads their three lists and clicks on a share of it that depends on their arm."""
    traffic = Traffic(Counter(), Counter(), Counter())
    random = np.random.default_rng([seed, 2])
    draws = {person.user_id: random.random((2, 3 * 50)) for person in people}

    async def one(session: aiohttp.ClientSession, person: Person) -> None:
        shown: list[Mapping[str, Any]] = []
        for kind in KINDS:
            async with session.get(
                f"/recommendations/{kind}?limit=50", headers=person.headers
            ) as answer:
                answer.raise_for_status()
                shown += (await answer.json())["items"]
        clicks, listens = draws[person.user_id][:, : len(shown)]
        clicked = clicks < ctr[person.arm]
        events = [
            _event(item, kind)
            for item, click, listen in zip(shown, clicked, listens, strict=True)
            if click
            for kind in ("rec_click", *(["listen_30s"] if listen < LISTENED else []))
        ]
        await _report(session, person, events)
        traffic.people[person.arm] += 1
        traffic.impressions[person.arm] += len(shown)
        traffic.clicks[person.arm] += int(clicked.sum())
        traffic.requests += len(KINDS) + bool(events)

    asyncio.run(_everyone(port, people, one))
    return traffic


def _event(item: Mapping[str, Any], kind: str) -> dict[str, Any]:
    return {
        "id": str(uuid4()), "type": kind, "entity_type": item["entity_type"],
        "entity_id": item["entity_id"], "occurred_at": datetime.now(UTC).isoformat(),
        "props": {"surface": "recommendations"},
    }  # fmt: skip


async def _report(
    session: aiohttp.ClientSession, person: Person, events: list[dict[str, Any]]
) -> None:
    assert len(events) <= LARGEST_BATCH
    if not events:
        return
    async with session.post("/events", json={"events": events}, headers=person.headers) as answer:
        answer.raise_for_status()
        results = (await answer.json())["results"]
    refused = [each for each in results if each["status"] != "accepted"]
    if refused:
        raise RuntimeError(f"{len(refused)} events were not accepted: {refused[0]}")


async def _everyone(
    port: int, each: Iterable[Each],
    work: Callable[[aiohttp.ClientSession, Each], Awaitable[None]],
) -> None:  # fmt: skip
    """A few at a time, over connections that are kept."""
    waiting = list(each)[::-1]
    timeout = aiohttp.ClientTimeout(total=30)

    async def one_after_another(session: aiohttp.ClientSession) -> None:
        while waiting:
            await work(session, waiting.pop())

    async with aiohttp.ClientSession(f"http://127.0.0.1:{port}", timeout=timeout) as session:
        await asyncio.gather(*(one_after_another(session) for _ in range(AT_ONCE)))
