"""HTTP to a provider: bounded, repeated once where that helps, and without secrets in its errors.

An exception of the HTTP library carries the request, and with it tokens. So a `LinkError` is made
of the kind of failure alone, and raised outside of the block that saw the exception.
"""

import json
import logging
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import tenacity

from seda.embeddings.providers.failures import require_url, retry_after_seconds
from seda.errors import SedaError
from seda.links.connector import LinkError, Provider, Trouble

_TIMEOUT = httpx.Timeout(4.0, connect=1.0)
_TOTAL_SECONDS = 8.0
_LARGEST_ANSWER = 4 * 1024 * 1024
_LONGEST_ETAG = 256
_LONGEST_WAIT = timedelta(days=1)
# It writes every address at INFO, and an address names a person's playlists.
logging.getLogger("httpx").setLevel(logging.WARNING)

_THIS_MACHINE = ("127.0.0.1", "localhost", "::1")


class UnencryptedProviderError(SedaError):
    """Tokens would travel in clear text."""


@dataclass(frozen=True, slots=True)
class Answer:
    """A whole answer; `document` is empty where there is no JSON object."""

    status: int
    etag: str | None
    retry_after: timedelta | None
    document: Mapping[str, Any]
    readable: bool


class ProviderHttp:
    """Requests to one provider; `setting` names its base URL in errors."""

    def __init__(self, provider: Provider, *, pause: Callable[[float], None] = time.sleep) -> None:
        self.provider = provider
        self._pause = pause
        self._client = httpx.Client(
            timeout=_TIMEOUT, follow_redirects=False, trust_env=False,
            limits=httpx.Limits(max_keepalive_connections=4, keepalive_expiry=2),
        )  # fmt: skip

    def close(self) -> None:
        """Let go of the connections."""
        self._client.close()

    def get(
        self, url: str, headers: Mapping[str, str], params: Mapping[str, str | int] | None = None
    ) -> Answer:
        """A 200 or 304; a passing failure is tried once more.

        Raises:
            LinkError: anything else.
        """
        again = tenacity.Retrying(
            stop=tenacity.stop_after_attempt(2),
            wait=tenacity.wait_random(0.05, 0.25),
            retry=tenacity.retry_if_exception(_passes),
            sleep=self._pause,
            reraise=True,
        )
        return again(lambda: self._checked(self._send("GET", url, headers, params=params or {})))

    def post_form(self, url: str, form: Mapping[str, str]) -> Answer:
        """A token request: never repeated, since a code and a rotated token count once.

        Raises:
            LinkError: it was not granted; REVOKED where OAuth says `invalid_grant`.
        """
        answer = self._send("POST", url, {}, data=dict(form))
        if answer.status in (400, 401) and answer.document.get("error") == "invalid_grant":
            raise LinkError(self.provider, Trouble.REVOKED)
        if answer.status in (400, 401, 403):
            raise LinkError(self.provider, Trouble.REFUSED)
        return self._checked(answer)

    def _checked(self, answer: Answer) -> Answer:
        if answer.status == 304:
            return answer
        if answer.status == 401:
            raise LinkError(self.provider, Trouble.REVOKED)
        if answer.status == 429:
            raise LinkError(self.provider, Trouble.RATE_LIMITED, answer.retry_after)
        if answer.status >= 500 or answer.status == 408:
            raise LinkError(self.provider, Trouble.UNAVAILABLE, answer.retry_after)
        if answer.status != 200:
            raise LinkError(self.provider, Trouble.REFUSED)
        if not answer.readable:
            raise LinkError(self.provider, Trouble.UNREADABLE)
        return answer

    def _send(self, method: str, url: str, headers: Mapping[str, str], **body: Any) -> Answer:
        until = time.monotonic() + _TOTAL_SECONDS
        answer = None
        try:
            with self._client.stream(method, url, headers=dict(headers), **body) as response:
                content = b""
                for piece in response.iter_bytes():
                    content += piece
                    if time.monotonic() > until or len(content) > _LARGEST_ANSWER:
                        content = b""
                        break
                answer = _read(response, content)
        except (httpx.HTTPError, httpx.InvalidURL):
            pass
        if answer is None:
            raise LinkError(self.provider, Trouble.UNAVAILABLE)
        return answer


def secure_base(url: str, setting: str) -> str:
    """The base URL without a slash at its end.

    Raises:
        UnusableUrlError: it is no URL.
        UnencryptedProviderError: it is `http` to another machine.
    """
    found = httpx.URL(require_url(url, setting))
    if found.scheme != "https" and found.host not in _THIS_MACHINE:
        raise UnencryptedProviderError(f"{setting} cannot be used: write it as https://….")
    return url.rstrip("/")


def _read(response: httpx.Response, content: bytes) -> Answer:
    try:
        document = json.loads(content)
    except (ValueError, RecursionError):
        document = None
    seconds = retry_after_seconds(response.headers, datetime.now(UTC))
    wait = None if seconds is None else min(timedelta(seconds=min(seconds, 1e6)), _LONGEST_WAIT)
    readable = isinstance(document, dict)
    etag = response.headers.get("etag", "")
    # It is sent back in a header, and kept until then.
    etag = etag if etag.isascii() and 0 < len(etag) <= _LONGEST_ETAG else None
    return Answer(response.status_code, etag, wait, document if readable else {}, readable)


def _passes(problem: BaseException) -> bool:
    return isinstance(problem, LinkError) and problem.trouble is Trouble.UNAVAILABLE
