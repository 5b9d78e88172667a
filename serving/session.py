"""A person's transaction: the `authenticated` role with the person's claims, under row security.

Everything a person reads goes through `person_session`. The login has no rights of its own, so a
statement outside of it is refused by the database.
"""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta

import asyncpg

from seda.database.regions import Region
from serving.authentication import Caller
from serving.pools import PERSON_TIMEOUT_MS, Pools
from serving.problems import DatabaseUnavailableError, ProblemError
from serving.telemetry import note_region

DIRECTORY_TTL = timedelta(minutes=10)  # who moves is found out at once: their row is elsewhere
DIRECTORY_ENTRIES = 50_000

_BECOME = """
    select set_config('role', 'authenticated', true),
           set_config('request.jwt.claims', $1, true),
           set_config('statement_timeout', $2, true)
"""
_LIVES_HERE = """
    select exists (select from seda.users
                   where auth_user_id = (select auth.uid())::text and deleted_at is null)
"""


@asynccontextmanager
async def person_session(
    pools: Pools,
    region: Region,
    caller: Caller,
    *,
    readonly: bool = True,
    timeout_ms: int = PERSON_TIMEOUT_MS,
) -> AsyncIterator[asyncpg.Connection]:
    """One transaction as the caller; role, claims and timeout vanish with it."""
    async with pools.transaction(region, readonly=readonly) as connection:
        await connection.execute(_BECOME, caller.claims, str(timeout_ms))
        yield connection


@dataclass(frozen=True, slots=True)
class _Entry:
    region: Region
    until: datetime


class RegionDirectory:
    """Which region's database holds a caller, remembered for ten minutes.

    Only the global database has the directory, and its policy shows a caller their own row only.
    """

    def __init__(self, pools: Pools, clock: Callable[[], datetime]) -> None:
        self._pools = pools
        self._clock = clock
        self._entries: dict[str, _Entry] = {}

    async def region_of(self, caller: Caller) -> Region:
        """The caller's region.

        Raises:
            ProblemError: 404, nobody was registered with this token's subject; 410, who was has
                been erased.
        """
        entry = self._entries.get(caller.sub)
        if entry is None or entry.until <= self._clock():
            entry = _Entry(await self._found(caller), self._clock() + DIRECTORY_TTL)
            while len(self._entries) >= DIRECTORY_ENTRIES:
                self._entries.pop(next(iter(self._entries)))
            self._entries[caller.sub] = entry
        note_region(entry.region)
        return entry.region

    async def _found(self, caller: Caller) -> Region:
        gone = False
        try:
            async with person_session(self._pools, Region.GLOBAL, caller) as connection:
                found = await connection.fetchval(
                    "select region from seda.region_directory where auth_user_id = $1", caller.sub
                )
                if found is None:
                    gone = await connection.fetchval("select seda.caller_is_gone()")
        except (DatabaseUnavailableError, asyncpg.QueryCanceledError):
            if await self._lives_elsewhere(caller):
                return Region.EU
            raise
        if gone:
            raise account_deleted()
        if found is None:
            # Not remembered: the person may finish onboarding a second from now.
            raise unknown_person()
        return Region(found)

    async def _lives_elsewhere(self, caller: Caller) -> bool:
        """Whether the other region has the caller: they need not wait for a directory that is away.

        Whoever moved or left has no living row there.
        """
        try:
            async with person_session(self._pools, Region.EU, caller) as connection:
                return bool(await connection.fetchval(_LIVES_HERE))
        except DatabaseUnavailableError:
            return False

    def forget(self, caller: Caller) -> None:
        """Ask the database again next time: the person was not where the entry said."""
        self._entries.pop(caller.sub, None)


def account_deleted() -> ProblemError:
    """410: the person has left."""
    return ProblemError(410, "account_deleted", "This account has been deleted.")


def unknown_person() -> ProblemError:
    """404: a good token of somebody who is not, or not yet, a listener here."""
    return ProblemError(
        404, "unknown_person", "The token is valid, but no listener has it: finish onboarding."
    )
