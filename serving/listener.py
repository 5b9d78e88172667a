"""The listener behind a request: found, alive, and in one transaction with what they ask for."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from uuid import UUID

import asyncpg

from seda.database.regions import Region
from serving.authentication import Caller
from serving.problems import DatabaseUnavailableError
from serving.services import Services
from serving.session import account_deleted, person_session, unknown_person

_ME = """
    select id, deleted_at is not null as deleted from seda.users
    where auth_user_id = (select auth.uid())::text
"""
# What may pass when the same request is sent again.
_PASSING = (
    asyncpg.QueryCanceledError,
    asyncpg.LockNotAvailableError,
    asyncpg.DeadlockDetectedError,
    asyncpg.SerializationError,
)


@dataclass(frozen=True, slots=True)
class Listener:
    """Who asks, and the transaction in which they do."""

    user_id: UUID
    region: Region
    connection: asyncpg.Connection


@asynccontextmanager
async def listener_session(
    services: Services, caller: Caller, *, readonly: bool = False
) -> AsyncIterator[Listener]:
    """A transaction of the caller's in the database of their region, committed at the end.

    Raises:
        ProblemError: 404 or 410, the person is unknown or has left; 503, the database does not
            answer, or not in time.
    """
    region = await services.directory.region_of(caller)
    async with region_session(services, caller, region, readonly=readonly) as connection:
        me = await connection.fetchrow(_ME)
        if me is None:
            services.directory.forget(caller)
            await services.directory.region_of(caller)  # 410, if they have been erased
            raise unknown_person()
        if me["deleted"]:
            raise account_deleted()
        yield Listener(UUID(int=me["id"].int), region, connection)


@asynccontextmanager
async def region_session(
    services: Services, caller: Caller, region: Region, *, readonly: bool = False
) -> AsyncIterator[asyncpg.Connection]:
    """`person_session` in which a statement that took too long, or was in the way, is a 503."""
    try:
        async with person_session(services.pools, region, caller, readonly=readonly) as connection:
            yield connection
    except _PASSING as problem:
        raise DatabaseUnavailableError(region) from problem
