"""Lets people in: a verified token's person, their session, and whom they may hear of.

A storm of connections is a few statements: those who come at once are looked up together.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from seda.database.regions import Region
from seda.social.presence import IDLE
from serving.authentication import TokenVerifier
from serving.pools import Pools
from serving.problems import ProblemError, unauthorized
from serving.realtime.batches import Batches
from serving.realtime.fanout import Fanout
from serving.realtime.intents import Person
from serving.session import unknown_person

LONGEST_SESSION_ID = 128

_FIND = """
    select auth_user_id, user_id, region from seda.region_directory
    where auth_user_id = any ($1::text[])
"""
_ENTER = """
    insert into seda.realtime_sessions as s (user_id, session_id, last_active_at)
    select distinct u.id, w.session_id, $3::timestamptz
    from unnest($1::uuid[], $2::text[]) as w (user_id, session_id)
    join seda.users u on u.id = w.user_id and u.deleted_at is null
    order by u.id, w.session_id
    on conflict (user_id, session_id) do update
    set ordinal = s.ordinal + (s.last_active_at <= excluded.last_active_at - $4::interval)::integer,
        last_active_at = greatest(s.last_active_at, excluded.last_active_at)
    returning user_id, session_id, ordinal
"""


@dataclass(frozen=True, slots=True)
class _Visit:
    user_id: UUID
    session_id: str


class Admission:
    """Checks credentials and begins sessions."""

    def __init__(
        self,
        verifier: TokenVerifier,
        pools: Pools,
        fanouts: Mapping[Region, Fanout],
        clock: Callable[[], datetime],
    ) -> None:
        self._verifier = verifier
        self._pools = pools
        self._fanouts = fanouts
        self._clock = clock
        self._finding: Batches[Region, str, Person] = Batches(self._find)
        self._entering: Batches[Region, _Visit, int] = Batches(self._enter)

    async def admit(self, auth: Any) -> tuple[Person, str, str]:
        """The person of `auth: {token, session_id}`, the session id, and the session that it is.

        Raises:
            ProblemError: 401, 404, 422 or 503.
        """
        token, session_id = _credentials(auth)
        caller = await self._verifier.verify(token)
        person = await self._finding.submit(Region.GLOBAL, caller.sub)
        return person, session_id, await self.session(person, session_id)

    async def session(self, person: Person, session_id: str) -> str:
        """The session that a client's id stands for now: after half an idle hour the next one.

        Raises:
            ProblemError: 404, the person is gone; 503.
        """
        ordinal = await self._entering.submit(person.region, _Visit(person.user_id, session_id))
        return session_id if ordinal == 1 else f"{session_id}~{ordinal}"

    async def _find(self, region: Region, subs: Sequence[str]) -> list[Person | Exception]:
        async with self._pools.connection(region) as connection:
            rows = await connection.fetch(_FIND, list(set(subs)))
        found = {
            row["auth_user_id"]: Person(
                UUID(int=row["user_id"].int), row["auth_user_id"], Region(row["region"])
            )
            for row in rows
        }
        return [found.get(sub) or unknown_person() for sub in subs]

    async def _enter(self, region: Region, visits: Sequence[_Visit]) -> list[int | Exception]:
        async with self._pools.connection(region) as connection:
            rows = await connection.fetch(
                _ENTER,
                [each.user_id for each in visits],
                [each.session_id for each in visits],
                self._clock(),
                IDLE,
            )
        ordinals = {(row["user_id"], row["session_id"]): row["ordinal"] for row in rows}
        await self._fanouts[region].admit({user_id.hex for user_id, _ in ordinals})
        return [
            ordinals.get((each.user_id, each.session_id)) or unknown_person() for each in visits
        ]


def _credentials(auth: Any) -> tuple[str, str]:
    token = auth.get("token") if isinstance(auth, dict) else None
    session_id = auth.get("session_id") if isinstance(auth, dict) else None
    if not isinstance(token, str):
        raise unauthorized("Connect with auth: {token, session_id}.", presented=False)
    if (
        not isinstance(session_id, str)
        or not 0 < len(session_id) <= LONGEST_SESSION_ID
        or not session_id.isprintable()
    ):
        raise ProblemError(
            422,
            "invalid_session",
            f"session_id is 1 to {LONGEST_SESSION_ID} printable characters.",
        )
    return token, session_id
