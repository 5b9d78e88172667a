"""Firebase Cloud Messaging's HTTP v1 API: one message, one request, one outcome.

FCM knows no idempotency key. Ours goes along as the name under which a device files the message:
Android's tag, Apple's collapse id, the browser's tag and topic; a repeated message takes the place
of the one before it instead of standing beside it.
"""

import json
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import jwt

from seda.embeddings.providers.failures import require_url, retry_after_seconds
from seda.errors import SedaError
from seda.notifications.senders import (
    DeadDevice,
    Delivered,
    Outcome,
    Push,
    Refused,
    TryLater,
)

BASE_URL = "https://fcm.googleapis.com"
_SCOPE = "https://www.googleapis.com/auth/firebase.messaging"
_GRANT = "urn:ietf:params:oauth:grant-type:jwt-bearer"
_FCM_ERROR = "type.googleapis.com/google.firebase.fcm.v1.FcmError"
_LARGEST_ANSWER = 64 * 1024
_TIMEOUT = httpx.Timeout(2.5, connect=1.0)
_TOTAL_SECONDS = 4.0  # two requests, at worst, are within the outbox's ten seconds
_THIS_MACHINE = ("127.0.0.1", "localhost", "::1")
_EARLY = timedelta(minutes=1)
_QUOTA_WAIT = timedelta(minutes=1)  # what FCM asks for where it names no time


class UnusableServiceAccountError(SedaError):
    """The file that `FCM_SERVICE_ACCOUNT_FILE` names is no service account."""


class UnencryptedUrlError(SedaError):
    """Tokens would travel in clear text."""


class _NoAccessError(Exception):
    """No access token can be had now; the message is a reason for the log."""


@dataclass(frozen=True, slots=True)
class ServiceAccount:
    """What signs the request for an access token."""

    project_id: str
    client_email: str
    token_uri: str
    private_key: str = field(repr=False)

    @classmethod
    def read(cls, path: Path, project_id: str | None = None) -> "ServiceAccount":
        """The account of a JSON key file; `project_id` takes the place of the file's.

        Raises:
            UnusableServiceAccountError: it cannot be read, or lacks a part.
        """
        try:
            found = json.loads(path.expanduser().read_text())
            account = cls(
                project_id or found["project_id"],
                found["client_email"],
                found["token_uri"],
                found["private_key"],
            )
            account.assertion(datetime.now().astimezone())
        except (OSError, ValueError, KeyError, TypeError, jwt.PyJWTError) as problem:
            # The parser's own message could quote the key.
            raise UnusableServiceAccountError(
                f"FCM_SERVICE_ACCOUNT_FILE cannot be used ({type(problem).__name__}): name the "
                "JSON key file of a Firebase service account."
            ) from None
        return account

    def assertion(self, now: datetime) -> str:
        """The signed request for an access token (RFC 7523), good for an hour."""
        issued = int(now.timestamp())
        claims = {
            "iss": self.client_email,
            "scope": _SCOPE,
            "aud": self.token_uri,
            "iat": issued,
            "exp": issued + 3600,
        }
        return jwt.encode(claims, self.private_key, algorithm="RS256")


@dataclass(frozen=True, slots=True)
class _Answer:
    """A response; `document` is empty where the body is cut or no JSON object."""

    status: int
    headers: httpx.Headers
    document: dict[str, Any]


class FcmSender:
    """Sends pushes; one access token is kept until a minute before its end."""

    def __init__(
        self,
        account: ServiceAccount,
        clock: Callable[[], datetime],
        *,
        base_url: str = BASE_URL,
        total_seconds: float = _TOTAL_SECONDS,
    ) -> None:
        base = _require_tls(base_url, "FCM_BASE_URL").rstrip("/")
        _require_tls(account.token_uri, "token_uri in FCM_SERVICE_ACCOUNT_FILE")
        self._url = f"{base}/v1/projects/{account.project_id}/messages:send"
        self._account = account
        self._clock = clock
        self._total_seconds = total_seconds
        self._client = httpx.Client(timeout=_TIMEOUT)
        self._access: tuple[str, datetime] | None = None

    def close(self) -> None:
        """Let go of the connections."""
        self._client.close()

    def send(self, push: Push) -> Outcome:
        """Try once, and once more with a new access token where the old one is refused."""
        try:
            answer = self._post(push)
            if answer.status == 401 and _code(answer) != "THIRD_PARTY_AUTH_ERROR":
                self._access = None
                answer = self._post(push)
        except _NoAccessError as problem:
            return TryLater(str(problem), everybody=True)
        except httpx.HTTPError as problem:
            return TryLater(f"fcm_{type(problem).__name__}")
        return outcome_of(answer.status, answer.headers, answer.document, self._clock())

    def _post(self, push: Push) -> _Answer:
        access = self._access_token()
        return self._request(
            self._url,
            headers={"authorization": f"Bearer {access}"},
            json={"message": message_of(push, self._clock())},
        )

    def _access_token(self) -> str:
        now = self._clock()
        if self._access is not None and now < self._access[1]:
            return self._access[0]
        form = {"grant_type": _GRANT, "assertion": self._account.assertion(now)}
        try:
            answer = self._request(self._account.token_uri, data=form)
            token, seconds = answer.document["access_token"], answer.document["expires_in"]
            self._access = (str(token), now + timedelta(seconds=int(seconds)) - _EARLY)
        except httpx.HTTPError as problem:
            raise _NoAccessError(f"fcm_token_{type(problem).__name__}") from problem
        except (KeyError, TypeError, ValueError) as problem:
            raise _NoAccessError(f"fcm_token_{answer.status}") from problem
        return self._access[0]

    def _request(self, url: str, **request: Any) -> _Answer:
        """One POST; the client's timeout is for each read, the total for all of them."""
        until = time.monotonic() + self._total_seconds
        content = b""
        with self._client.stream("POST", url, **request) as response:
            try:
                for piece in response.iter_bytes():
                    content += piece
                    if time.monotonic() > until or len(content) > _LARGEST_ANSWER:
                        break
            except httpx.HTTPError:
                pass  # the status is there, and says what happened
        try:
            document = json.loads(content)
        except ValueError:
            document = {}
        return _Answer(
            response.status_code,
            response.headers,
            document if isinstance(document, dict) else {},
        )


def _require_tls(url: str, setting: str) -> str:
    """The URL itself.

    Raises:
        UnusableUrlError: it is no URL.
        UnencryptedUrlError: it is `http` to another machine.
    """
    found = httpx.URL(require_url(url, setting))
    if found.scheme != "https" and found.host not in _THIS_MACHINE:
        raise UnencryptedUrlError(f"{setting} cannot be used: write it as https://….")
    return url


def message_of(push: Push, now: datetime) -> dict[str, Any]:
    """The message as FCM takes it; values of `data` are strings, whatever they mean."""
    key = str(push.idempotency_key)
    seconds = max(0, int((push.expires_at - now).total_seconds()))
    data = {"idempotency_key": key}
    if push.entity_type is not None and push.entity_id is not None:
        data |= {"entity_type": push.entity_type, "entity_id": str(push.entity_id)}
    return {
        "token": push.token,
        "notification": {"title": push.title, "body": push.body},
        "data": data,
        "android": {"ttl": f"{seconds}s", "priority": "HIGH", "notification": {"tag": key}},
        "apns": {
            "headers": {
                "apns-collapse-id": key,
                "apns-expiration": str(int(push.expires_at.timestamp())),
            }
        },
        "webpush": {
            "headers": {"TTL": str(seconds), "Topic": push.idempotency_key.hex},
            "notification": {"tag": key},
        },
    }


def outcome_of(
    status: int, headers: httpx.Headers, document: dict[str, Any], now: datetime
) -> Outcome:
    """What an answer means, by FCM's table of error codes.

    A 200 counts as delivered even where its body is cut: the message was taken. A 404 removes the
    device only where FCM itself says UNREGISTERED: a wrong project is a 404 as well.
    """
    if status == 200:
        return Delivered()
    answer = _Answer(status, headers, document)
    code = _code(answer)
    reason = f"fcm_{(code or str(status)).lower()}"
    if code == "UNREGISTERED" or (code == "INVALID_ARGUMENT" and _blames_token(document)):
        return DeadDevice(reason)
    if status == 429 or status >= 500:
        seconds = retry_after_seconds(headers, now)
        after = None if seconds is None else timedelta(seconds=seconds)
        if status == 429:
            return TryLater(reason, after or _QUOTA_WAIT, everybody=True)
        return TryLater(reason, after, everybody=after is not None)
    if status in (401, 403, 404) and code != "SENDER_ID_MISMATCH":
        # Our own credentials, certificate or project: an operator repairs it for all.
        return TryLater(reason, everybody=True)
    return Refused(reason)


def _code(answer: _Answer) -> str | None:
    """FCM's own error code, else the general status."""
    error = answer.document.get("error")
    if not isinstance(error, dict):
        return None
    for detail in _details(error):
        if detail.get("@type") == _FCM_ERROR and isinstance(detail.get("errorCode"), str):
            return str(detail["errorCode"])
    status = error.get("status")
    return status if isinstance(status, str) else None


def _blames_token(document: dict[str, Any]) -> bool:
    """A 400 about the message names a field; one about the token does not, but says so."""
    error = document["error"]
    named = any("fieldViolations" in detail for detail in _details(error))
    return not named and "registration token" in str(error.get("message", ""))


def _details(error: dict[str, Any]) -> list[dict[str, Any]]:
    details = error.get("details")
    return [each for each in details if isinstance(each, dict)] if isinstance(details, list) else []
