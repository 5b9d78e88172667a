"""Which pages of other origins a browser lets use the services: CORS, for an app on the web.

Access rests on tokens alone, never on cookies: what an origin is let in for is to read answers.
"""

from typing import Final

from starlette.datastructures import Headers
from starlette.middleware.cors import CORSMiddleware
from starlette.responses import Response
from starlette.types import ASGIApp

from seda.settings import Settings
from serving.problems import ProblemError, respond

_METHODS: Final = ("GET", "POST", "PUT", "DELETE")
_ASKED_WITH: Final = ("Authorization", "Content-Type", "X-Request-ID")
# A page reads no other header of an answer than those that are named.
_ANSWERED_WITH: Final = (
    "X-Request-ID", "Retry-After", "RateLimit", "RateLimit-Policy", "WWW-Authenticate",
)  # fmt: skip
_REMEMBERED_SECONDS: Final = 600


def web_origins(settings: Settings) -> tuple[str, ...]:
    """The origins of `SEDA_WEB_ORIGINS`, as browsers spell them."""
    given = (each.strip().rstrip("/").lower() for each in (settings.web_origins or "").split(","))
    return tuple(each for each in given if each)


class CrossOrigin(CORSMiddleware):
    """ASGI middleware, outside of all others: a page must be able to read refusals and 500s too."""

    def __init__(self, app: ASGIApp, origins: tuple[str, ...]) -> None:
        super().__init__(
            app,
            allow_origins=origins,
            allow_methods=_METHODS,
            allow_headers=_ASKED_WITH,
            expose_headers=_ANSWERED_WITH,
            max_age=_REMEMBERED_SECONDS,
        )

    def preflight_response(self, request_headers: Headers) -> Response:
        """What a browser may send; a problem where it may not."""
        response = super().preflight_response(request_headers)
        if response.status_code == 200:
            return response
        return respond(
            ProblemError(
                400,
                "cross_origin_refused",
                "A page of this origin may not send this: see SEDA_WEB_ORIGINS.",
                headers={"Vary": response.headers["vary"]},
            ),
            None,
        )
