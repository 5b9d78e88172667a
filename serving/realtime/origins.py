"""Which pages of other origins a browser lets connect: those of `SEDA_WEB_ORIGINS`, and the API's
demo page, where there is one."""

from collections.abc import Callable
from typing import Any
from urllib.parse import urlsplit

from seda.settings import Settings
from serving.origins import web_origins


def allowed_origins(
    settings: Settings,
) -> Callable[[str | None, dict[str, Any]], bool] | None:
    """Whether a page of an origin may connect, as Socket.IO asks it; None is the own origin only.

    The demo page is on the same host as this service, on the API's port.
    """
    named = web_origins(settings)
    if not settings.offers_demo and not named:
        return None

    def allowed(origin: str | None, environ: dict[str, Any]) -> bool:
        if origin in named or "*" in named:
            return True
        try:
            page, own = urlsplit(origin or ""), urlsplit(f"//{environ.get('HTTP_HOST', '')}")
            same_port = page.netloc == own.netloc
            demo = settings.offers_demo and page.port == settings.api_port
            return page.hostname == own.hostname and (same_port or demo)
        except ValueError:  # a port that is no number
            return False

    return allowed
