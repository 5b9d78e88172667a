"""People who read their lists over HTTP all day, and what is wrong with what they were given.

Which versions somebody may be served changes over the day, and some of it is known only afterwards
(what the night promoted), so versions are judged when the day is over.
"""

import asyncio
import time
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from threading import Event
from typing import Any
from uuid import UUID

import aiohttp

from seda.database.regions import Databases, Region

ENDPOINTS: Mapping[str, int] = {
    "feed": 30, "recommendations/rooms": 20, "recommendations/playlists": 20,
    "recommendations/artists": 20,
}  # fmt: skip
"""What is read, from its first page to its last, and how many items to a page."""
KINDS = ("never", "not_interested", "dismiss")
PAUSE_SECONDS = 0.4
"""Of a reader between two requests."""
DISMISS_EVERY = 12
"""Lists that a reader reads before they dismiss one more thing."""
Group = tuple[Region, str]
"""Region and arm: who is served the same version."""

_STORED = """
    select c.generation, c.user_id, c.recommendation_ids, g.model_version
    from seda.mv_user_top_candidates c join seda.generations g using (generation)
    where c.user_id = any(%s)"""


@dataclass(frozen=True)
class Person:
    """Somebody who reads, and the arm that an experiment puts them in."""

    user_id: UUID
    region: Region
    arm: str
    token: str = field(repr=False)

    @property
    def group(self) -> Group:
        return self.region, self.arm

    @property
    def headers(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {self.token}"}


@dataclass(frozen=True)
class Listing:
    """One list as it was read, page by page; `began` and `ended` are monotonic seconds of the read.

    `dismissed` are recommendations that its reader had dismissed before it began. `refused` is what
    was answered in place of a page.
    """

    person: Person
    endpoint: str
    began: float
    ended: float
    pages: Sequence[Mapping[str, Any]]
    dismissed: frozenset[str] = frozenset()
    refused: str = ""

    @property
    def items(self) -> list[Mapping[str, Any]]:
        return [item for page in self.pages for item in page["items"]]


@dataclass(frozen=True)
class Term:
    """A version that a group may be served, from the one moment to the other."""

    version: str
    since: float
    until: float = float("inf")


class Terms:
    """Which versions each group may be served when."""

    def __init__(self) -> None:
        self._terms: dict[Group, list[Term]] = defaultdict(list)

    def begin(self, group: Group, version: str, since: float) -> None:
        """From now on the group may get this version, too."""
        self._terms[group].append(Term(version, since))

    def end(self, group: Group, version: str, until: float) -> None:
        """No read that starts later may give it."""
        self._terms[group] = [
            Term(version, each.since, min(each.until, until)) if each.version == version else each
            for each in self._terms[group]
        ]

    def allow(self, group: Group, version: str, began: float, ended: float) -> bool:
        """Whether a read of that time may give the version."""
        return any(
            each.version == version and each.since <= ended and began <= each.until
            for each in self._terms[group]
        )


def faults_of(listing: Listing) -> list[str]:
    """What is wrong with a list, whatever its version."""
    if listing.refused:
        return [listing.refused]
    items, faults = listing.items, []
    if not items:
        faults.append("it is empty")
    if any(page["source"] != "personal" for page in listing.pages):
        faults.append(f"it is no personal list but {listing.pages[0]['source']}")
    if len({item["id"] for item in items}) < len(items):
        faults.append("something is on it twice")
    if [item["rank"] for item in items] != list(range(1, len(items) + 1)):
        faults.append("its ranks do not count from 1 on over its pages")
    if {item["id"] for item in items} & listing.dismissed:
        faults.append("something is on it that was dismissed")
    if len({page["generation"] for page in listing.pages}) > 1:
        faults.append("its pages are of several generations")
    if len({item["model_version"] for item in items}) > 1:
        faults.append("its items are of several versions")
    kind = listing.endpoint.removeprefix("recommendations/").removesuffix("s")
    if listing.endpoint != "feed" and {item["entity_type"] for item in items} - {kind}:
        faults.append("something on it is of another type")
    return faults


@dataclass
class Readings:
    """All that was read: requests, lists, and faults as sentences."""

    requests: int = 0
    lists: int = 0
    dismissals: int = 0
    wrong: list[str] = field(default_factory=list)
    milliseconds: list[float] = field(default_factory=list)
    seen: list[tuple[Group, str, float, float]] = field(default_factory=list)
    """Group and version of each list, and when its read began and its first page had come."""
    given: dict[tuple[UUID, int], set[str]] = field(default_factory=lambda: defaultdict(set))
    """Recommendations that somebody was given of a generation."""

    def note(self, listing: Listing) -> None:
        """Count a list, and keep of it what is judged later."""
        self.lists += 1
        self.wrong += [
            f"{listing.endpoint} of {listing.person.group}: {fault}" for fault in faults_of(listing)
        ]
        for page in listing.pages:
            given = self.given[listing.person.user_id, page["generation"] or 0]
            given |= {item["id"] for item in page["items"]}
        for version in {item["model_version"] for item in listing.items}:
            self.seen.append((listing.person.group, version, listing.began, listing.ended))

    def versions(self) -> Counter[tuple[Group, str]]:
        """How many lists of which version each group was given."""
        return Counter((group, version) for group, version, _, _ in self.seen)

    def untimely(self, terms: Terms) -> list[str]:
        """Lists of a version that their reader was not to be served then."""
        return [
            f"{group} was given {version} in a read of {began:.3f} to {ended:.3f}"
            for group, version, began, ended in self.seen
            if not terms.allow(group, version, began, ended)
        ]

    def mixed(self, databases: Databases) -> list[str]:
        """Lists with something that the generation they name does not hold for that person."""
        stored: dict[tuple[UUID, int], set[str]] = defaultdict(set)
        people = list({user_id for user_id, _ in self.given})
        for database in databases:
            with database.transaction() as connection:
                for generation, user_id, ids, _ in connection.execute(_STORED, [people]):
                    stored[user_id, generation] |= set(map(str, ids))
        return [
            f"of generation {generation}, {len(ids - stored[user_id, generation])} items are not"
            for (user_id, generation), ids in self.given.items()
            if not ids <= stored[user_id, generation]
        ]


@contextmanager
def reading(port: int, people: Sequence[Person]) -> Iterator[Readings]:
    """These people read and dismiss, each as one app does, until the block ends."""
    readings, over = Readings(), Event()
    with ThreadPoolExecutor(max_workers=1) as thread:
        work = thread.submit(lambda: asyncio.run(_read_all(port, people, readings, over)))
        try:
            yield readings
        finally:
            over.set()
        work.result()


async def _read_all(port: int, people: Sequence[Person], readings: Readings, over: Event) -> None:
    timeout = aiohttp.ClientTimeout(total=20)
    async with aiohttp.ClientSession(f"http://127.0.0.1:{port}", timeout=timeout) as session:
        apps = [_App(session, person, readings) for person in people]
        await asyncio.gather(*(app.live(over) for app in apps))


class _App:
    """One person's app."""

    def __init__(self, session: aiohttp.ClientSession, person: Person, readings: Readings) -> None:
        self._session, self._person, self._readings = session, person, readings
        self._dismissed: set[str] = set()

    async def live(self, over: Event) -> None:
        """Dismiss three things first, then read on and dismiss one more now and then."""
        first = await self._list("feed")
        for kind, item in zip(KINDS, first.items[::7], strict=False):
            await self._dismiss(item["id"], kind)
        turn = 0
        while not over.is_set():
            for endpoint in ENDPOINTS:
                listing = await self._list(endpoint)
                self._readings.note(listing)
                turn += 1
                if turn % DISMISS_EVERY == 0 and listing.items:
                    await self._dismiss(listing.items[-1]["id"], KINDS[turn % len(KINDS)])
                if over.is_set():
                    return

    async def _list(self, endpoint: str) -> Listing:
        pages: list[Mapping[str, Any]] = []
        asked = {"limit": str(ENDPOINTS[endpoint])}
        began, first, refused = time.monotonic(), 0.0, ""
        while True:
            sent = time.monotonic()
            try:
                page = await self._get(endpoint, asked)
            except (aiohttp.ClientError, TimeoutError, ConnectionError) as problem:
                refused = str(problem) or type(problem).__name__
                break
            finally:
                self._readings.requests += 1
                self._readings.milliseconds.append(1e3 * (time.monotonic() - sent))
            pages.append(page)
            first = first or time.monotonic()
            await asyncio.sleep(PAUSE_SECONDS)
            if page["next_cursor"] is None:
                break
            asked["cursor"] = page["next_cursor"]
        ended = first or time.monotonic()
        dismissed = frozenset(self._dismissed)
        return Listing(self._person, endpoint, began, ended, pages, dismissed, refused)

    async def _get(self, endpoint: str, asked: Mapping[str, str]) -> Mapping[str, Any]:
        async with self._session.get(
            f"/{endpoint}", params=asked, headers=self._person.headers, raise_for_status=True
        ) as answer:
            return await answer.json()

    async def _dismiss(self, id: str, kind: str) -> None:
        async with self._session.post(
            f"/recommendations/{id}/dismissals", json={"kind": kind},
            headers=self._person.headers,
        ) as answer:  # fmt: skip
            if answer.status == 200:
                self._dismissed.add(id)
                self._readings.dismissals += 1
            else:
                self._readings.wrong.append(f"a dismissal was answered with {answer.status}")
