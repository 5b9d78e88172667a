"""`/links`: accounts at music providers, as a person links, sees, retries and unlinks them.

The API does what only the moment of a person's return can: it uses a code, or a session, and seals
what came of it. Reading the account is the pipelines' work, who find it by its row.
"""

import logging
import secrets
from datetime import datetime, timedelta
from functools import partial
from typing import Annotated, Any, Literal
from uuid import UUID

import orjson
from fastapi import APIRouter, Query
from pydantic import AfterValidator, BaseModel, Field, SecretStr
from starlette.background import BackgroundTask
from starlette.responses import Response

from seda.errors import SedaError
from seda.links.apple import DEVELOPER_TOKEN
from seda.links.connector import SENTENCES, Connector, Provider, Trouble
from seda.links.oauth import challenge_of, new_verifier
from seda.links.summaries import staged
from seda.links.syncing import link_place
from serving.bodies import Body
from serving.documentation import problem_responses
from serving.linking import (
    ATTEMPT_SECONDS,
    COOKIE,
    Linking,
    Returning,
    WithLinking,
    asked,
    hashed,
    invalid_state,
    not_offered,
)
from serving.listener import Listener, listener_session
from serving.problems import ProblemError
from serving.services import Services, WithCaller, WithServices

router = APIRouter(tags=["links"])
_logger = logging.getLogger("serving")

ByCode = Literal["spotify", "youtube"]
AnyProvider = Literal["spotify", "youtube", "apple"]

_BEGIN = """
with old as (
    delete from seda.link_attempts where user_id = $2 and (expires_at <= $5 or provider = $3)
)
insert into seda.link_attempts
    (state_hash, user_id, provider, verifier_encrypted, created_at, expires_at)
values ($1, $2, $3, $4, $5, $6)
"""
_USE = """
delete from seda.link_attempts where state_hash = $1 and user_id = $2 and provider = $3
returning verifier_encrypted, expires_at
"""
_LINK = "select seda.link_account($1, $2, $3::jsonb, $4, $5)"
_STAGE = "select seda.stage_import($1, $2::jsonb, $3)"
_SYNC = "select seda.sync_account($1, $2)"
_UNLINK = "select was_linked, token from seda.unlink_account($1, $2, $3)"
_CREDENTIAL = "select seda.provider_credential($1)"
_LIST = """
select l.provider, l.state, l.problem, l.created_at, l.last_synced_at, l.next_sync_at,
       i.artists, i.matched_artists, i.playlists, i.genres, i.imported_at
from seda.linked_accounts l
left join seda.provider_imports i on i.user_id = l.user_id and i.provider = l.provider
where l.user_id = $1 order by l.created_at, l.provider
"""


class Imported(BaseModel):
    """What came in."""

    artists: int = Field(description="Favourite artists that the provider named.")
    matched_artists: int = Field(description="Of those, how many our catalogue has.")
    playlists: int
    genres: list[str]
    imported_at: datetime


class Link(BaseModel):
    """One linked account."""

    provider: AnyProvider
    state: Literal["pending", "linked", "waiting", "revoked"] = Field(
        description="`pending`: the first import is under way; `waiting`: the provider gives "
        "nothing for now; `revoked`: link again."
    )
    problem: str | None = Field(None, description="Why it waits, or was revoked.")
    message: str | None = Field(None, description="The same as a sentence.")
    linked_at: datetime
    last_synced_at: datetime | None
    next_sync_at: datetime | None
    imported: Imported | None


class Links(BaseModel):
    """A person's links, and whom they can link."""

    links: list[Link]
    offered: list[AnyProvider]


class Begun(BaseModel):
    """Where the person consents."""

    authorize_url: str
    expires_at: datetime


def _a_token(given: SecretStr) -> SecretStr:
    # It becomes a header as it is.
    text = given.get_secret_value()
    if not (text.isascii() and text.isprintable()):
        raise ValueError("is no token of MusicKit")
    return given


class SessionImport(Body):
    """A session of MusicKit; used for one reading and not kept."""

    user_token: Annotated[SecretStr, AfterValidator(_a_token)] = Field(
        min_length=16, max_length=4096
    )


_REQUEST = {
    "requestBody": {
        "content": {"application/json": {"example": {"user_token": "Agz5N7iM0kL2pQ8s…"}}}
    }
}
_LINK_EXAMPLE = {
    "provider": "spotify",
    "state": "linked",
    "problem": None,
    "message": None,
    "linked_at": "2026-11-20T12:00:00Z",
    "last_synced_at": "2026-11-20T12:00:08Z",
    "next_sync_at": "2026-11-21T12:00:08Z",
    "imported": {
        "artists": 50,
        "matched_artists": 43,
        "playlists": 7,
        "genres": ["techno", "dub"],
        "imported_at": "2026-11-20T12:00:08Z",
    },
}
_BEGUN_EXAMPLE = {
    "authorize_url": "https://accounts.spotify.com/authorize?response_type=code&…",
    "expires_at": "2026-11-20T12:10:00Z",
}


def _responses(status: int, model: type[BaseModel], example: Any, words: str) -> dict[Any, Any]:
    content = {"application/json": {"example": example}}
    return {status: {"model": model, "description": words, "content": content}}


@router.get(
    "/links",
    summary="Linked accounts",
    responses=_responses(200, Links, {"links": [_LINK_EXAMPLE], "offered": ["spotify"]}, "All."),
)
async def links(services: WithServices, caller: WithCaller, linking: WithLinking) -> Response:
    """Every link with its state, and the providers that can be linked."""
    async with listener_session(services, caller, readonly=True) as listener:
        found = await _links(listener)
    offered = [*map(str, linking.connectors), *(["apple"] if linking.apple else [])]
    return _json({"links": found, "offered": offered})


@router.post(
    "/links/{provider}",
    status_code=201,
    summary="Begin to link",
    responses=_responses(201, Begun, _BEGUN_EXAMPLE, "Send the person there."),
)
async def begin(
    services: WithServices, caller: WithCaller, linking: WithLinking, provider: ByCode
) -> Response:
    """The provider's page of consent, good for ten minutes and one return.

    A browser that keeps the cookie of this answer may come back by itself.
    """
    chosen, now = Provider(provider), services.clock()
    connector = linking.connector(chosen)
    state, verifier = secrets.token_urlsafe(32), new_verifier()
    digest, expires = hashed(state), now + timedelta(seconds=ATTEMPT_SECONDS)
    async with listener_session(services, caller, readonly=True) as listener:
        user = listener.user_id
    sealed = await asked(partial(linking.vault.seal, verifier, **_attempt_place(user, digest)))
    async with listener_session(services, caller) as listener:
        values = (digest, listener.user_id, provider, sealed, now, expires)
        await listener.connection.execute(_BEGIN, *values)
    address = connector.authorize_url(state, challenge_of(verifier))
    answer = _json({"authorize_url": address, "expires_at": expires}, 201)
    linking.bind(answer, caller, chosen, state)
    return answer


@router.get(
    "/links/{provider}/callback",
    summary="Come back from a provider",
    responses=_responses(200, Link, _LINK_EXAMPLE, "Linked; the import is under way."),
)
async def callback(
    services: WithServices,
    caller: Returning,
    linking: WithLinking,
    provider: ByCode,
    state: Annotated[str, Query(max_length=256)],
    code: Annotated[str | None, Query(max_length=2048)] = None,
    error: Annotated[str | None, Query(max_length=256)] = None,
) -> Response:
    """Use the code of a consent, once, for the person who began.

    400 for a state that is unknown, used, out of time or another person's: the answer does not say
    which.
    """
    connector, now = linking.connector(Provider(provider)), services.clock()
    user, sealed = await _used(services, caller, provider, state, now)
    if error is not None or not code:
        raise ProblemError(400, "link_denied", "The provider was not allowed to share anything.")
    work = partial(_exchange, linking, connector, user, hashed(state), sealed, SecretStr(code))
    account, scopes, token = await asked(work)
    async with listener_session(services, caller) as listener:
        granted = orjson.dumps(scopes).decode()
        await listener.connection.execute(_LINK, provider, account, granted, token, now)
        answer = _json(await _link(listener, provider))
    answer.delete_cookie(COOKIE, path=f"/links/{provider}/callback")
    return answer


@router.post(
    "/links/apple/session-import",
    status_code=202,
    summary="Import from Apple Music",
    responses=_responses(
        202, Link, _LINK_EXAMPLE | {"provider": "apple", "state": "pending"}, "Read; to be mapped."
    ),
    openapi_extra=_REQUEST,
)
async def session_import(
    services: WithServices, caller: WithCaller, linking: WithLinking, body: SessionImport
) -> Response:
    """Read the library of a MusicKit session once; the session's token is not kept."""
    apple = linking.apple
    if apple is None:
        raise not_offered("apple")
    async with listener_session(services, caller, readonly=True) as listener:
        region = listener.region
    async with services.pools.transaction(region, readonly=True) as connection:
        sealed = await connection.fetchval(_CREDENTIAL, DEVELOPER_TOKEN)
    if sealed is None:
        raise not_offered("apple")
    place = {
        "table": "provider_credentials", "column": "secret_encrypted", "row": DEVELOPER_TOKEN,
    }  # fmt: skip
    developer = await asked(partial(linking.vault.unseal, sealed, **place))
    summary = await asked(partial(apple.summary, body.user_token, developer))
    document = orjson.dumps(staged(summary)).decode()
    async with listener_session(services, caller) as listener:
        await listener.connection.execute(_STAGE, "apple", document, services.clock())
        return _json(await _link(listener, "apple"), 202)


@router.post(
    "/links/{provider}/sync",
    status_code=202,
    summary="Look again now",
    responses={
        **_responses(202, Link, _LINK_EXAMPLE, "It is looked at within seconds."),
        **problem_responses(409),
    },
)
async def sync(services: WithServices, caller: WithCaller, provider: ByCode) -> Response:
    """Read the account again instead of at `next_sync_at`."""
    async with listener_session(services, caller) as listener:
        may = await listener.connection.fetchval(_SYNC, provider, services.clock())
        if may is None:
            raise _unknown_link()
        if not may:
            raise ProblemError(
                409,
                "sync_not_now",
                "It was looked at within the last minute, or has to be linked again.",
            )
        return _json(await _link(listener, provider), 202)


@router.delete("/links/{provider}", status_code=204, summary="Unlink")
async def unlink(
    services: WithServices,
    caller: WithCaller,
    linking: WithLinking,
    provider: AnyProvider,
    delete_imports: Annotated[
        bool, Query(description="Take out what came in through the link, too.")
    ] = False,
) -> Response:
    """Delete the provider's token at once, and with `delete_imports` all that it brought in."""
    async with listener_session(services, caller) as listener:
        row = await listener.connection.fetchrow(
            _UNLINK, provider, delete_imports, services.clock()
        )
        user = listener.user_id
    if not row["was_linked"]:
        raise _unknown_link()
    connector = linking.connectors.get(Provider(provider))
    task = None
    if row["token"] is not None and connector is not None:
        task = BackgroundTask(_revoke, linking, connector, user, bytes(row["token"]))
    return Response(status_code=204, background=task)


def _exchange(
    linking: Linking, connector: Connector, user: UUID, digest: bytes, sealed: bytes,
    code: SecretStr,
) -> tuple[str, list[str], bytes]:  # fmt: skip
    """The account's id, the granted scopes, and the sealed refresh token."""
    verifier = linking.vault.unseal(sealed, **_attempt_place(user, digest))
    tokens = connector.exchange(code, verifier)
    account = connector.account_id(tokens.access)
    refresh = tokens.refresh or SecretStr("")
    token = linking.vault.seal(refresh, **link_place(user, connector.provider))
    return account, list(tokens.scopes), token


def _revoke(linking: Linking, connector: Connector, user: UUID, sealed: bytes) -> None:
    """Take the grant back at the provider, as far as it lets us: our copy is gone already."""
    try:
        connector.revoke(linking.vault.unseal(sealed, **link_place(user, connector.provider)))
    except SedaError as problem:
        _logger.warning("a grant was not revoked: %s", type(problem).__name__)


async def _used(
    services: Services, caller: WithCaller, provider: str, state: str, now: datetime
) -> tuple[UUID, bytes]:
    """Takes the attempt out of use; its person and sealed verifier."""
    async with listener_session(services, caller) as listener:
        row = await listener.connection.fetchrow(_USE, hashed(state), listener.user_id, provider)
    if row is None or row["expires_at"] <= now:
        raise invalid_state()
    return listener.user_id, bytes(row["verifier_encrypted"])


async def _links(listener: Listener) -> list[dict[str, Any]]:
    rows = await listener.connection.fetch(_LIST, listener.user_id)
    return [_document(row) for row in rows]


async def _link(listener: Listener, provider: str) -> dict[str, Any]:
    return next(each for each in await _links(listener) if each["provider"] == provider)


def _document(row: Any) -> dict[str, Any]:
    problem = row["problem"]
    counted = ("artists", "matched_artists", "playlists", "genres", "imported_at")
    return {
        "provider": row["provider"],
        "state": row["state"],
        "problem": problem,
        "message": problem and SENTENCES[Trouble(problem)],
        "linked_at": row["created_at"],
        "last_synced_at": row["last_synced_at"],
        "next_sync_at": row["next_sync_at"],
        "imported": {name: row[name] for name in counted} if row["imported_at"] else None,
    }


def _attempt_place(user: UUID, digest: bytes) -> dict[str, str]:
    row = f"{user}/{digest.hex()}"
    return {"table": "link_attempts", "column": "verifier_encrypted", "row": row}


def _unknown_link() -> ProblemError:
    return ProblemError(404, "unknown_link", "You have no such link.")


def _json(document: Any, status: int = 200) -> Response:
    # Some of these are an answer to an address with a code in it, or hold one with a state.
    headers = {"Cache-Control": "no-store"}
    return Response(orjson.dumps(document), status, headers, media_type="application/json")
