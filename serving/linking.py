"""What linking needs beside the database: connectors, the vault, and whom a browser is bound to.

A provider sends a browser back without our token. So the browser carries a cookie, signed and for
the callback alone, that names the subject who began and the state that it began with; an app that
catches the address itself sends its token instead. Either way the attempt must be that person's.
"""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from hashlib import sha256
from typing import Annotated, TypeVar

from fastapi import Depends, Request, Security
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer
from itsdangerous import BadSignature, URLSafeSerializer
from starlette.responses import Response

from seda.errors import SedaError
from seda.links.apple import AppleMusic
from seda.links.connector import SENTENCES, Connector, LinkError, Provider, Trouble
from seda.links.opening import open_apple, open_connectors
from seda.privacy.vault import Vault, open_vault
from seda.settings import Settings
from serving.authentication import Caller
from serving.problems import ProblemError, unauthorized
from serving.services import Services

ATTEMPT_SECONDS = 600
COOKIE = "seda_link"
_PROVIDER_SECONDS = 20.0
_RETRY_SECONDS = 30

T = TypeVar("T")


@dataclass(frozen=True)
class Linking:
    """The process's connectors and vault; `apple` is None where we have no key there."""

    connectors: dict[Provider, Connector]
    apple: AppleMusic | None
    vault: Vault
    signer: URLSafeSerializer
    secure: bool

    @classmethod
    def from_settings(cls, settings: Settings) -> "Linking":
        """What the settings make possible."""
        return cls(
            open_connectors(settings),
            open_apple(settings),
            open_vault(settings),
            URLSafeSerializer(settings.cursor_secret(), salt="link attempt"),
            (settings.public_url or "").startswith("https:"),
        )

    def connector(self, provider: Provider) -> Connector:
        """The provider's connector.

        Raises:
            ProblemError: 404, it cannot be linked here.
        """
        found = self.connectors.get(provider)
        if found is None:
            raise not_offered(provider)
        return found

    def bind(self, response: Response, caller: Caller, provider: Provider, state: str) -> None:
        """Let the browser come back as this person, to this callback, with this state."""
        response.set_cookie(
            COOKIE,
            self.signer.dumps(
                {"sub": caller.sub, "for": str(provider), "state": hashed(state).hex()}
            ),
            max_age=ATTEMPT_SECONDS,
            path=f"/links/{provider}/callback",
            httponly=True,
            secure=self.secure,
            samesite="lax",
        )

    def bound(self, cookie: str | None, provider: str, state: str) -> Caller | None:
        """Whom a cookie of ours names.

        Raises:
            ProblemError: 400, the browser began with another state.
        """
        try:
            found = self.signer.loads(cookie or "")
        except BadSignature:
            return None
        if found.get("for") != provider:
            return None
        if found.get("state") != hashed(state).hex():
            raise invalid_state()
        return Caller(str(found["sub"]))


async def linking(request: Request) -> Linking:
    """The app's (a dependency)."""
    found: Linking = request.app.state.linking
    return found


WithLinking = Annotated[Linking, Depends(linking)]
_bearer = HTTPBearer(auto_error=False, description="Or the cookie of the browser that began.")


async def returning_caller(
    request: Request,
    linking: WithLinking,
    credentials: Annotated[HTTPAuthorizationCredentials | None, Security(_bearer)],
) -> Caller:
    """Who comes back from a provider (a dependency); 401 where neither token nor cookie says so."""
    services: Services = request.app.state.services
    _refuse_repeated(request)
    if credentials is not None:
        return await services.verified(credentials.credentials)
    provider = str(request.path_params.get("provider", ""))
    state = request.query_params.get("state", "")
    found = linking.bound(request.cookies.get(COOKIE), provider, state)
    if found is None:
        raise unauthorized(
            "Come back with the browser that began, or with your token.", presented=False
        )
    await services.limits.check_person(found.sub)
    return found


Returning = Annotated[Caller, Depends(returning_caller)]


async def asked(work: Callable[[], T]) -> T:
    """What a provider or the vault gives, in a thread of its own.

    Raises:
        ProblemError: 400, the provider does not take it; 503, it does not answer, or sealing fails.
    """
    try:
        async with asyncio.timeout(_PROVIDER_SECONDS):
            return await asyncio.to_thread(work)
    except LinkError as problem:
        raise _told(problem) from None
    except TimeoutError:
        raise _unavailable(SENTENCES[Trouble.UNAVAILABLE]) from None
    except SedaError as problem:
        raise _unavailable("Links cannot be kept safely just now.") from problem


def hashed(state: str) -> bytes:
    """What is kept of a state."""
    return sha256(state.encode("utf-8", "surrogatepass")).digest()


def invalid_state() -> ProblemError:
    """400: unknown, used, out of time or somebody else's; it does not say which."""
    return ProblemError(
        400,
        "invalid_state",
        "This attempt to link is not yours, was used, or is out of time: begin again.",
    )


def _refuse_repeated(request: Request) -> None:
    # RFC 6749, section 3.1: of two values it could not be said which one was checked.
    names = [name for name, _ in request.query_params.multi_items()]
    if len(names) != len(set(names)):
        raise ProblemError(400, "repeated_parameter", "A parameter comes more than once.")


def not_offered(provider: str) -> ProblemError:
    """404: no app of ours is registered there."""
    return ProblemError(404, "provider_not_offered", f"{provider} cannot be linked here.")


def _told(problem: LinkError) -> ProblemError:
    if problem.trouble is Trouble.REVOKED:
        return ProblemError(
            400, "link_refused", "The provider does not take this any more: link again."
        )
    seconds = _RETRY_SECONDS
    if problem.retry_after is not None:
        seconds = max(1, int(problem.retry_after.total_seconds()))
    return _unavailable(str(problem), seconds)


def _unavailable(detail: str, seconds: int = _RETRY_SECONDS) -> ProblemError:
    headers = {"Retry-After": str(seconds)}
    return ProblemError(503, "provider_unavailable", detail, headers=headers)
