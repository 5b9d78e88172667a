"""Moves over `POST /events`, each person with their own token: the whole way, at the API's pace."""

import asyncio
from collections.abc import Callable, Sequence
from typing import Final
from uuid import UUID

import aiohttp
import orjson

from seda.errors import SedaError
from seda.sandbox.replay.intake import Move

AT_ONCE: Final = 16


class ApiRefusedError(SedaError):
    """The API does not take a move."""


class ApiIntake:
    """A client of the API for all people; `token` gives that of a person."""

    def __init__(self, url: str, token: Callable[[UUID], str]) -> None:
        self._url, self._token = url, token

    async def open(self) -> None:
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=AT_ONCE), trust_env=False
        )

    async def send(self, moves: Sequence[Move]) -> int:
        """Raises:
        ApiRefusedError: it does not answer, or answers anything but 200.
        """
        taken = await asyncio.gather(*(self._post(move) for move in moves))
        return sum(taken)

    async def _post(self, move: Move) -> bool:
        event = {
            "id": move.id,
            "type": "join" if move.joins else "leave",
            "entity_type": "room",
            "entity_id": move.room_id,
            "occurred_at": move.at,
        }
        headers = {
            "Authorization": f"Bearer {self._token(move.user_id)}",
            "Content-Type": "application/json",
        }
        body = orjson.dumps({"events": [event]})
        try:
            async with self._session.post(
                f"{self._url}/events", data=body, headers=headers
            ) as answer:
                said = await answer.read()
        except (aiohttp.ClientError, OSError, TimeoutError) as problem:
            raise ApiRefusedError(
                f"The API at {self._url} does not answer ({type(problem).__name__}): is it running?"
            ) from problem
        if answer.status == 429:
            raise ApiRefusedError(
                "The API's rate limit was reached: ask for a lower --rate, or start the services "
                "with SEDA_RATE_LIMIT_ADDRESS=0."
            )
        if answer.status != 200:
            raise ApiRefusedError(f"The API answered {answer.status} to a move.")
        return bool(orjson.loads(said)["results"][0]["status"] == "accepted")

    async def close(self) -> None:
        await self._session.close()
