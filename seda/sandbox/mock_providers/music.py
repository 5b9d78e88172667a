"""What the stand-ins of the music providers have in common: fates, recording, OAuth's routes.

A provider adds the routes of its data. Failures are a `FailureProfile`'s and strike data and token
requests alike; a person's page is always healthy.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from urllib.parse import parse_qsl

import orjson
from starlette.requests import Request
from starlette.responses import HTMLResponse, RedirectResponse, Response
from starlette.routing import Route
from starlette.types import Receive, Scope, Send

from seda.sandbox.mock_providers.authorization import AuthorizationServer, OAuthError
from seda.sandbox.mock_providers.consent import back_to, consent_page
from seda.sandbox.mock_providers.listeners import (
    Account,
    CatalogueArtist,
    account_of,
    sandbox_artists,
)
from seda.sandbox.mock_providers.profiles import FailureProfile, Fate, Outcome, fate_of
from seda.sandbox.mock_providers.sending import hangs_up_within, send_half

Handler = Callable[[Request], Response]


@dataclass(frozen=True, slots=True)
class Seen:
    """A request that arrived: its path and status, no token and no query."""

    path: str
    status: int


class MusicProvider:
    """One provider's accounts and behaviour; `profile` and `behave` are the control plane's."""

    def __init__(self, name: str, clock: Callable[[], float], *, rotates: bool) -> None:
        self.name = name
        self.authorization = AuthorizationServer(clock, rotates=rotates)
        self.seen: list[Seen] = []
        self._clock = clock
        self._catalogue: Sequence[CatalogueArtist] | None = None
        self._revisions: dict[str, int] = {}
        self.behave(FailureProfile())

    def behave(self, profile: FailureProfile) -> None:
        """Follow this profile from now on; requests and outages are counted from here."""
        self.profile, self._number, self._since = profile, 0, self._clock()

    def fate(self) -> Fate:
        """What becomes of the next request."""
        number, self._number = self._number, self._number + 1
        return fate_of(self.profile, number, self._clock() - self._since)

    def account(self, listener: str) -> Account:
        """The account of a name, as it is now."""
        catalogue = self._catalogue or sandbox_artists()
        return account_of(self.name, listener, catalogue, self._revisions.get(listener, 0))

    def account_behind(self, request: Request) -> Account | None:
        """The account whose access token the request carries."""
        scheme, _, token = request.headers.get("authorization", "").partition(" ")
        listener = self.authorization.listener_of(token) if scheme.lower() == "bearer" else None
        return None if listener is None or self.profile.revoked else self.account(listener)

    def listen(self, listener: str) -> None:
        """The listener's favourites move on."""
        self._revisions[listener] = self._revisions.get(listener, 0) + 1

    def know(self, catalogue: Sequence[CatalogueArtist]) -> None:
        """Let listeners love these artists."""
        self._catalogue = catalogue

    def oauth_routes(self, authorize: str, token: str, revoke: str | None = None) -> list[Route]:
        """The consent page and the endpoints of tokens."""
        routes = [
            Route(authorize, self._ask, methods=["GET"]),
            Route(authorize, self._decide, methods=["POST"]),
            Route(token, Fated(self, self._token, form=True), methods=["POST"]),
        ]
        if revoke:
            routes.append(Route(revoke, Fated(self, self._revoke, form=True), methods=["POST"]))
        return routes

    async def _ask(self, request: Request) -> Response:
        query = dict(request.query_params)
        try:
            self.authorization.request(query)
        except OAuthError as refusal:
            return json(refusal.document, refusal.status)
        return HTMLResponse(consent_page(self.name, query))

    async def _decide(self, request: Request) -> Response:
        form = dict(parse_qsl((await request.body()).decode()))
        try:
            wanted = self.authorization.request(form)
        except OAuthError as refusal:
            return json(refusal.document, refusal.status)
        members = {"state": form["state"]} if "state" in form else {}
        if form.get("decision") != "allow":
            address = back_to(wanted.redirect_uri, error="access_denied", **members)
        else:
            code = self.authorization.consent(wanted, form.get("listener", "ada"))
            address = back_to(wanted.redirect_uri, code=code, **members)
        return RedirectResponse(address, 303)

    def _token(self, request: Request) -> Response:
        try:
            return json(self.authorization.token(request.state.form))
        except OAuthError as refusal:
            return json(refusal.document, refusal.status)

    def _revoke(self, request: Request) -> Response:
        token = request.state.form.get("token") or request.query_params.get("token", "")
        if self.authorization.revoke(token):
            return json({})
        return json({"error": "invalid_token"}, 400)


class Fated:
    """An ASGI app: a handler under its provider's profile."""

    def __init__(self, provider: MusicProvider, handler: Handler, *, form: bool = False) -> None:
        self._provider = provider
        self._handler = handler
        self._form = form

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        request = Request(scope, receive)
        body = await request.body()
        if self._form:
            request.state.form = dict(parse_qsl(body.decode("utf-8", "replace")))
        fate = self._provider.fate()
        if await hangs_up_within(fate.latency_seconds, receive):
            return
        response = self._answer(request, fate)
        self._provider.seen.append(Seen(request.url.path, response.status_code))
        if fate.outcome is Outcome.CUT:
            headers = dict(response.headers)
            await send_half(response.status_code, headers, bytes(response.body), send)
        else:
            await response(scope, receive, send)

    def _answer(self, request: Request, fate: Fate) -> Response:
        if fate.outcome is Outcome.RATE_LIMITED:
            seconds = f"{self._provider.profile.retry_after_seconds:g}"
            return json({"error": {"status": 429, "message": "API rate limit exceeded"}}, 429,
                        {"retry-after": seconds})  # fmt: skip
        if fate.outcome in (Outcome.ERROR, Outcome.OUTAGE):
            status = 500 if fate.outcome is Outcome.ERROR else 503
            return json({"error": {"status": status, "message": "Server error"}}, status)
        response = self._handler(request)
        if fate.outcome is Outcome.MALFORMED and response.status_code == 200:
            return Response(b"<html>Bad gateway</html>", 200, media_type="text/html")
        return response


def json(document: object, status: int = 200, headers: dict[str, str] | None = None) -> Response:
    """A document as a response."""
    return Response(orjson.dumps(document), status, headers, "application/json")


def with_etag(request: Request, document: dict[str, object], etag: str) -> Response:
    """The document, or 304 where the caller has it already."""
    quoted = f'"{etag}"'
    if request.headers.get("if-none-match") == quoted:
        return Response(status_code=304, headers={"etag": quoted})
    return json(document, headers={"etag": quoted})


def page_of(request: Request, items: Sequence[object], most: int) -> tuple[int, int, list[object]]:
    """Offset, limit and the items of a page, by `offset` and `limit`."""

    def number(name: str, default: int) -> int:
        given = request.query_params.get(name, "")
        return int(given) if given.isdecimal() else default

    offset, limit = number("offset", 0), min(number("limit", 20), most)
    return offset, limit, list(items[offset : offset + limit])
