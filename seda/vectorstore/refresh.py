"""Brings a region's stored vectors up to date with its texts (EMB-4, EMB-6, EMB-8).

What is new or changed is embedded, then what has come of age, then a shadow space's sample. What a
provider or the budget refuses waits in the queue, and meanwhile goes to the standby's own space.
Vectors, the ledger's settlement and the queue change in one transaction, batch by batch, so a
killed refresh repeats at most the batches that were under way.
"""

import asyncio
import logging
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime

import numpy as np
import psycopg

from seda.database.identifiers import Ids
from seda.database.regions import RegionalDatabase
from seda.embeddings import ledger, waiting
from seda.embeddings.batching import at_once
from seda.embeddings.budget import Job
from seda.embeddings.catalogue_texts import load_texts
from seda.embeddings.changes import oldest_open_transaction, take_off
from seda.embeddings.providers.provider import Failure
from seda.embeddings.routes import AnyEmbeddings, Route
from seda.embeddings.service import EmbeddingsService, Item, Vectors, Waiting
from seda.embeddings.shadow import in_sample
from seda.embeddings.space_rows import adopt_space
from seda.embeddings.spaces import EmbeddingSpace
from seda.embeddings.texts import content_hash
from seda.errors import SedaError
from seda.progress import Progress
from seda.vectorstore.indexes import index_upkeep
from seda.vectorstore.migrating import MigratingStore
from seda.vectorstore.refresh_plan import RefreshPlan, keys_of, plan_refresh
from seda.vectorstore.rows import delete_vectors, ensure_space, store_vectors, stored_versions
from seda.vectorstore.store import StoreUnreachableError, Upsert

log = logging.getLogger(__name__)

NO_PROVIDER = "no_provider"
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
# Two refreshes of one space would pay for the same texts twice.
_LOCK = "select pg_advisory_lock(hashtext('seda.refresh'), hashtext(%s))"
# Reasons that are about the provider: the standby can help with these, not with a spent budget.
_PROVIDER_IS_OUT = frozenset(
    {ledger.BREAKER_OPEN, ledger.BREAKER_PROBING, NO_PROVIDER}
    | {str(failure) for failure in Failure if failure.speaks_of_health}
)


class UnroutedSpaceError(SedaError):
    """A space cannot be filled: it is no standby, or its provider is not configured."""


@dataclass(frozen=True)
class VectorRefresh:
    """What a refresh did for one entity type of one region."""

    total: int
    """Entities with a text."""
    embedded: dict[str, int] = field(default_factory=dict)
    """Texts embedded into the refreshed space, by job."""
    waiting: dict[str, int] = field(default_factory=dict)
    """New and changed texts that were not embedded, by reason; they stand in the queue."""
    without_vector: int = 0
    """Entities that have no vector of the space at all."""
    failed_over: int = 0
    """Of those that wait, texts embedded into the standby's space meanwhile."""
    shadowed: int = 0
    removed: int = 0
    not_followed: int = 0
    """Vectors that a second store did not take; `seda vectors fill` brings them over."""


def refresh_vectors(
    database: RegionalDatabase,
    entity_type: str,
    embeddings: AnyEmbeddings,
    *,
    worker: str,
    clock: Callable[[], datetime],
    follower: MigratingStore | None = None,
) -> VectorRefresh:
    """Bring the active space up to date for one entity type; `follower` gets the same.

    Raises:
        SpaceConflictError: the database has another active space.
    """
    space = embeddings.active
    with _Refresh.opened(database, entity_type, embeddings, space, worker, clock) as refresh:
        refresh.follower = follower
        ensure_space(refresh.rows, space)
        asyncio.run(refresh.bring_up_to_date())
        take_off(refresh.rows, entity_type, before=refresh.read_at)
        return refresh.report()


def fill_space(
    database: RegionalDatabase,
    entity_type: str,
    embeddings: AnyEmbeddings,
    space: EmbeddingSpace,
    *,
    worker: str,
    clock: Callable[[], datetime],
    progress: Progress,
) -> VectorRefresh:
    """Embed whatever a standby's space lacks, ahead of its promotion; what is refused is left.

    Raises:
        UnroutedSpaceError: the space is no standby, or its provider is not configured.
    """
    route = embeddings.route(space)
    if route is None:
        raise UnroutedSpaceError(f"No configured provider makes {space.id}: set its key or URL.")
    with _Refresh.opened(database, entity_type, embeddings, space, worker, clock) as refresh:
        state = adopt_space(refresh.rows, space, "standby")
        if state != "standby":
            raise UnroutedSpaceError(f"{space.id} is {state}: only a standby's space is filled.")
        asyncio.run(refresh.fill(route, progress))
        return refresh.report()


class _Texts:
    """The catalogue's texts of one type: `ids` (n, 16) uint8, texts and content hashes."""

    def __init__(self, ids: Ids, texts: list[str]) -> None:
        self.ids, self.texts = ids, texts
        self.hashes = [content_hash(text) for text in texts]

    def items(self, positions: Sequence[int]) -> list[Item]:
        return [Item(position, self.texts[position]) for position in positions]

    def hashes_at(self, positions: Sequence[int]) -> list[str]:
        return [self.hashes[position] for position in positions]


class _Refresh:
    """One refresh at work: two connections, what is planned, and what became of it."""

    def __init__(
        self,
        database: RegionalDatabase,
        embeddings: AnyEmbeddings,
        entity_type: str,
        space: EmbeddingSpace,
        rows: psycopg.Connection,
        books: psycopg.Connection,
        worker: str,
        clock: Callable[[], datetime],
    ) -> None:
        self.database = database
        self.follower: MigratingStore | None = None
        self.embeddings, self.entity_type, self.space = embeddings, entity_type, space
        self.rows, self.books, self.worker, self.clock = rows, books, worker, clock
        # Asked for first: whatever is older than this is in the texts that are read next.
        self.read_at = oldest_open_transaction(rows)
        self.texts = _Texts(*load_texts(rows, entity_type))
        self.embedded: Counter[str] = Counter()
        self.refused: Counter[str] = Counter()
        self.out_of_reach: list[int] = []
        self.failed_over = self.shadowed = self.removed = self.not_followed = 0

    @classmethod
    @contextmanager
    def opened(
        cls,
        database: RegionalDatabase,
        entity_type: str,
        embeddings: AnyEmbeddings,
        space: EmbeddingSpace,
        worker: str,
        clock: Callable[[], datetime],
    ) -> Iterator["_Refresh"]:
        """Alone with the space's vectors of this type, until the end."""
        with (
            database.connect(autocommit=True) as rows,
            database.connect(autocommit=True) as books,
        ):
            rows.execute(_LOCK, [f"{space.id}/{entity_type}"])
            yield cls(database, embeddings, entity_type, space, rows, books, worker, clock)

    def report(self) -> VectorRefresh:
        stored = stored_versions(self.rows, self.entity_type, self.space)
        return VectorRefresh(
            total=len(self.texts.ids),
            embedded=dict(self.embedded),
            waiting=dict(+self.refused),
            without_vector=len(self.texts.ids) - len(stored.ids),
            failed_over=self.failed_over,
            shadowed=self.shadowed,
            removed=self.removed,
            not_followed=self.not_followed,
        )

    async def bring_up_to_date(self) -> None:
        """The active space, then the standby for what could not be had, then the shadow."""
        plan = self._plan()
        self._remove(plan)
        changing = sum(map(len, plan.by_job.values()))
        index_upkeep(
            self.database, self.entity_type, self.space,
            changing=changing, total=len(self.texts.ids),
        )  # fmt: skip
        self.refused["held_back"] += len(plan.held)
        route = self.embeddings.route(self.space)
        if route is None:
            self._refuse(Waiting(plan.urgent, NO_PROVIDER, None))
        else:
            await self._embed(route, plan.by_job, self._keep)
        standby = self.embeddings.standby
        if standby and self.out_of_reach:
            await self._fail_over(standby)
        if self.embeddings.shadow:
            await self._shadow(self.embeddings.shadow)

    async def fill(self, route: Route, progress: Progress) -> None:
        """Everything that a standby's space lacks."""
        plan = self._plan()
        self._remove(plan)
        lacking = [position for positions in plan.by_job.values() for position in positions]
        progress.start(f"{self.entity_type}s", len(lacking))

        def keep(space: EmbeddingSpace, job: Job, outcome: Vectors) -> None:
            self._keep(space, job, outcome)
            progress.advance(len(outcome.positions))

        await self._embed(route, {Job.FILL: lacking}, keep)

    def _plan(self) -> RefreshPlan:
        now = self.clock()
        return plan_refresh(
            self.texts.ids,
            self.texts.hashes,
            stored_versions(self.rows, self.entity_type, self.space),
            waiting.held_back(self.rows, self.space, self.entity_type, now=now),
            today=(now - _EPOCH).days,
            period_days=self.embeddings.period_days,
        )

    def _remove(self, plan: RefreshPlan) -> None:
        with self.rows.transaction():
            if len(plan.gone):
                now = self.clock()
                self.removed = delete_vectors(
                    self.rows, self.entity_type, self.space, plan.gone, now
                )
                self._followed(
                    lambda store: store.forget(self.entity_type, self.space, plan.gone, now=now),
                    len(plan.gone),
                )
            needed = self.texts.ids[plan.urgent + plan.held]
            waiting.forget_others(self.rows, self.space, self.entity_type, needed)

    async def _embed(
        self,
        route: Route,
        by_job: Mapping[Job, Sequence[int]],
        keep: Callable[[EmbeddingSpace, Job, Vectors], None],
    ) -> None:
        if not any(by_job.values()):
            return
        provider = route.open()
        service = EmbeddingsService(
            provider,
            self.embeddings.as_texts,
            self.books,
            self.embeddings.policy,
            self.worker,
            self.clock,
        )
        try:
            for job, positions in by_job.items():
                async for outcome in service.embed(at_once(self.texts.items(positions)), job):
                    if isinstance(outcome, Vectors):
                        # In a thread: the requests under way must not look slow because we store.
                        await asyncio.to_thread(keep, route.space, job, outcome)
                    elif job in (Job.NEW_TEXT, Job.CHANGED_TEXT):
                        self._refuse(outcome)
        finally:
            await provider.close()

    def _keep(self, space: EmbeddingSpace, job: Job, outcome: Vectors) -> None:
        """Vectors, ledger and queue in one transaction: what is paid for is stored, or neither."""
        now, ids = self.clock(), self.texts.ids[outcome.positions]
        with self.rows.transaction():
            hashes = self.texts.hashes_at(outcome.positions)
            store_vectors(self.rows, self.entity_type, space, ids, outcome.vectors, hashes, now)
            ledger.settle(self.rows, outcome.reservation, now=now)
            waiting.dequeue(self.rows, space, self.entity_type, ids)
        if space == self.space:
            self._followed(
                lambda store: store.follow(
                    self.entity_type, space, Upsert(ids, outcome.vectors, hashes), now=now
                ),
                len(ids),
            )
        if job is Job.FAILOVER:
            self.failed_over += len(ids)
        elif job is Job.SHADOW:
            self.shadowed += len(ids)
        else:
            self.embedded[str(job)] += len(ids)

    def _followed(self, tell: Callable[[MigratingStore], int], vectors: int) -> None:
        """Postgres is the truth: a second store that is out costs nobody their vector."""
        if self.follower is None:
            return
        try:
            tell(self.follower)
        except StoreUnreachableError as problem:
            log.warning("%d vectors did not reach the second store: %s", vectors, problem)
            self.not_followed += vectors

    def _refuse(self, outcome: Waiting) -> None:
        if not outcome.positions:
            return
        now = self.clock()
        with self.rows.transaction():
            waiting.enqueue(
                self.rows,
                self.space,
                self.entity_type,
                self.texts.ids[outcome.positions],
                self.texts.hashes_at(outcome.positions),
                outcome.reason,
                retry_at=outcome.retry_at,
                now=now,
            )
        self.refused[outcome.reason] += len(outcome.positions)
        if outcome.reason in _PROVIDER_IS_OUT:
            self.out_of_reach += outcome.positions

    async def _fail_over(self, standby: Route) -> None:
        """The standby's own space gets what waits: it stays a candidate for promotion."""
        if adopt_space(self.rows, standby.space, "standby") == "standby":
            lacking = self._lacking(standby.space, self.out_of_reach)
            await self._embed(standby, {Job.FAILOVER: lacking}, self._keep)

    async def _shadow(self, shadow: Route) -> None:
        if shadow.space == self.space:
            return
        if adopt_space(self.rows, shadow.space, "shadow") in ("shadow", "standby"):
            sampled = np.flatnonzero(in_sample(self.texts.ids, self.embeddings.shadow_share))
            lacking = self._lacking(shadow.space, sampled.tolist())
            await self._embed(shadow, {Job.SHADOW: lacking}, self._keep)

    def _lacking(self, space: EmbeddingSpace, positions: Sequence[int]) -> list[int]:
        """Of the positions, those whose present text has no vector in the space."""
        stored = stored_versions(self.rows, self.entity_type, space)
        before = dict(zip(keys_of(stored.ids), stored.content_hashes, strict=True))
        keys = keys_of(self.texts.ids[list(positions)])
        return [
            position
            for position, key in zip(positions, keys, strict=True)
            if before.get(key) != self.texts.hashes[position]
        ]
