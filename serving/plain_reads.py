"""Pages for plain requests, without the framework's routing and dependency resolution.

Those take a quarter of a page's time. The routes in `serving.feed` are the contract: they document
these requests, and answer every one that is not plain (another parameter, a limit out of range, no
bearer token), with the same functions.
"""

import re
from typing import NamedTuple

from starlette.types import ASGIApp, Receive, Scope, Send

from seda.publishing.cards import ENTITY_TYPES
from serving.feed import DEFAULT_LIMIT, LARGEST_LIMIT, Kind, Wanted, answer
from serving.problems import answered
from serving.services import Services

_BEARER = b"Bearer "
_SHORT_NUMBER = re.compile(rb"[0-9]{1,2}").fullmatch
_UNESCAPED = frozenset(b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_.~")


class Template(NamedTuple):
    """What telemetry is told of a route: its path as documented."""

    path: str


_ENDPOINTS = {
    "/feed": (Template("/feed"), "feed", ENTITY_TYPES),
    **{
        f"/recommendations/{kind}": (
            Template("/recommendations/{kind}"), str(kind), (kind.entity_type,)
        )
        for kind in Kind
    },
}  # fmt: skip


class PlainReads:
    """ASGI middleware, next to the app: what it does not answer goes on unchanged."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        endpoint = _ENDPOINTS.get(scope["path"]) if scope["type"] == "http" else None
        if endpoint is None or scope["method"] != "GET":
            await self.app(scope, receive, send)
            return
        token, parameters = _bearer(scope), _parameters(scope["query_string"])
        if token is None or parameters is None:
            await self.app(scope, receive, send)
            return
        template, name, types = endpoint
        scope["route"] = template
        request_id = scope["state"]["request_id"]
        services: Services = scope["app"].state.services

        async def page() -> bytes:
            caller = await services.verified(token)
            return await answer(services, caller, Wanted(name, types, *parameters), request_id)

        response = await answered(page(), request_id)
        await response(scope, receive, send)


def _bearer(scope: Scope) -> str | None:
    """The token of the request's only `Authorization` header."""
    found = [value for name, value in scope["headers"] if name == b"authorization"]
    if len(found) != 1 or not found[0].startswith(_BEARER):
        return None
    token = found[0][len(_BEARER) :]
    return token.decode() if token and _UNESCAPED.issuperset(token) else None


def _parameters(query: bytes) -> tuple[int, str | None] | None:
    """Limit and cursor; None where the query says anything else, or says it in another way."""
    limit, cursor = DEFAULT_LIMIT, None
    given = query.split(b"&") if query else ()
    if len(given) > 2:
        return None
    names = set()
    for each in given:
        name, _, value = each.partition(b"=")
        names.add(name)
        if name == b"limit" and _SHORT_NUMBER(value) and 1 <= int(value) <= LARGEST_LIMIT:
            limit = int(value)
        elif name == b"cursor" and value and _UNESCAPED.issuperset(value):
            cursor = value.decode()
        else:
            return None
    return (limit, cursor) if len(names) == len(given) else None
