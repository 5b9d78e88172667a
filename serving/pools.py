"""Connection pools, one per region, that connect when first needed and again after an outage.

A service starts while a database is down, answers 503 meanwhile, and recovers by itself. Which
role a connection acts as is decided by who opens the pools and by `serving.session`.
"""

import asyncio
import logging
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager

import asyncpg

from seda.database.regions import Region
from serving.problems import DatabaseUnavailableError

POOL_SIZE = 10
CONNECT_TIMEOUT_SECONDS = 1.0
WORKER_TIMEOUT_MS = 2000
PERSON_TIMEOUT_MS = 800
IDLE_TIMEOUT_MS = 10_000  # a process that hangs in a transaction must not hold its locks
COMMAND_TIMEOUT_SECONDS = 5.0  # the statement timeouts are shorter; this one is for a lost network

# What a lost, refused or exhausted connection raises, as opposed to a statement that failed.
_CONNECTION_LOST = (
    OSError,
    TimeoutError,
    asyncpg.InterfaceError,
    asyncpg.InternalClientError,  # the driver's state, when the server dies between two statements
    asyncpg.PostgresConnectionError,
    asyncpg.AdminShutdownError,
    asyncpg.CrashShutdownError,
    asyncpg.CannotConnectNowError,
)

_logger = logging.getLogger("serving")


class _Connection(asyncpg.Connection):
    """Nothing outlives a transaction here (SET LOCAL only), so a release needs no round trip."""

    def get_reset_query(self) -> str:
        return ""


class Pools:
    """One pool per region, of at most `size` connections each; `role` is what every connection
    becomes, none for the login itself."""

    def __init__(
        self, urls: Mapping[Region, str], *, role: str | None = None, size: int = POOL_SIZE
    ) -> None:
        self.size = size
        # Generic plans: the feed's statement joins a partitioned table, which is dear to re-plan.
        server_settings = {
            "plan_cache_mode": "force_generic_plan",
            "application_name": "seda",
            "statement_timeout": str(WORKER_TIMEOUT_MS if role else PERSON_TIMEOUT_MS),
            "idle_in_transaction_session_timeout": str(IDLE_TIMEOUT_MS),
        }
        if role is not None:
            server_settings["role"] = role
        self._pools = {
            region: asyncpg.create_pool(
                url,
                min_size=0,
                max_size=size,
                timeout=CONNECT_TIMEOUT_SECONDS,
                command_timeout=COMMAND_TIMEOUT_SECONDS,
                connection_class=_Connection,
                server_settings=server_settings,
            )
            for region, url in urls.items()
        }
        # A pool gives a connection to whoever comes just as it is free, however long others wait.
        self._turns = {region: asyncio.Semaphore(size) for region in urls}

    async def open(self) -> None:
        """Make the pools usable; no connection is opened yet."""
        for pool in self._pools.values():
            await pool

    async def close(self) -> None:
        """Let running statements end, then close every connection."""
        for pool in self._pools.values():
            await pool.close()

    def connections(self, region: Region) -> tuple[int, int]:
        """How many connections of the region's pool are used, and how many idle."""
        pool = self._pools[region]
        idle: int = pool.get_idle_size()
        return pool.get_size() - idle, idle

    @asynccontextmanager
    async def transaction(
        self, region: Region, *, readonly: bool = False
    ) -> AsyncIterator[asyncpg.Connection]:
        """One transaction on a pooled connection, committed at the end or rolled back.

        Raises:
            DatabaseUnavailableError: nothing answers, no connection is free, or it was lost.
        """
        async with (
            self.connection(region) as connection,
            connection.transaction(readonly=readonly),
        ):
            yield connection

    @asynccontextmanager
    async def connection(self, region: Region) -> AsyncIterator[asyncpg.Connection]:
        """A pooled connection, in the order of asking; each statement commits by itself.

        Raises:
            DatabaseUnavailableError: nothing answers, no connection is free, or it was lost.
        """
        pool, turns = self._pools[region], self._turns[region]
        try:
            async with asyncio.timeout(CONNECT_TIMEOUT_SECONDS if turns.locked() else None):
                await turns.acquire()
        except TimeoutError as problem:
            _logger.warning("no %s connection is free", region)
            raise DatabaseUnavailableError(region) from problem
        try:
            connection = await self._acquire(region)
            try:
                yield connection
            except _CONNECTION_LOST as problem:
                if isinstance(problem, asyncpg.InterfaceError) and not _is_gone(connection):
                    raise  # a mistake of ours, not an outage
                _logger.warning("lost a %s connection: %s", region, type(problem).__name__)
                if not _is_gone(connection):
                    connection.terminate()  # whatever state it is in, nobody gets it again
                raise DatabaseUnavailableError(region) from problem
            finally:
                await pool.release(connection)
        finally:
            turns.release()

    async def _acquire(self, region: Region) -> asyncpg.Connection:
        try:
            return await self._pools[region].acquire()
        except (*_CONNECTION_LOST, asyncpg.PostgresError) as problem:
            _logger.warning("no %s connection: %s", region, type(problem).__name__)
            raise DatabaseUnavailableError(region) from problem


def _is_gone(connection: asyncpg.Connection) -> bool:
    try:
        return bool(connection.is_closed())
    except asyncpg.InterfaceError:  # the pool has taken it back, because it was lost
        return True
