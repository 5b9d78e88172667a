"""Translates what goes wrong in HTTP and in the SDKs into `Failure`: pure decisions.

SDK exceptions carry the request, and with it the key and the texts. So nothing of them is kept but
their kind: an error is built here, and raised outside of the `except` block that saw them.
"""

import math
import re
from collections.abc import Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from types import ModuleType

from pydantic import SecretStr

from seda.embeddings.providers.provider import Failure, ProviderError
from seda.embeddings.regional_texts import EuTexts, ForeignTextError, GlobalTexts, RegionalTexts
from seda.errors import SedaError

_LONGEST_DETAIL = 200


class UnusableKeyError(SedaError):
    """An API key that cannot be sent in a header."""


class UnusableUrlError(SedaError):
    """A base URL that no request can be sent to."""


def require_usable(key: SecretStr, setting: str) -> str:
    """The key's value.

    Raises:
        UnusableKeyError: it is empty, or holds white space or other than ASCII characters; HTTP
            libraries repeat such a key in their exceptions.
    """
    value = key.get_secret_value()
    if not re.fullmatch(r"[!-~]+", value):
        raise UnusableKeyError(
            f"{setting} is empty or holds characters that no API key has (spaces, line ends, "
            "quotation marks of a text editor): copy it anew."
        )
    return value


def require_url(url: str, setting: str) -> str:
    """The URL itself.

    Raises:
        UnusableUrlError: it is no `http(s)://host…`.
    """
    if not re.fullmatch(r"https?://[^\s/]+\S*", url):
        raise UnusableUrlError(
            f"{setting} cannot be used: write it as https://host/path, without spaces."
        )
    return url


def require_own(
    texts: RegionalTexts, own: type[GlobalTexts] | type[EuTexts], provider: str
) -> None:
    """The check at run time behind the one of the types.

    Raises:
        ForeignTextError: the texts are of another class, or name another region.
    """
    region = own(()).region
    if not isinstance(texts, own) or texts.region is not region:
        raise ForeignTextError(
            f"{provider} takes texts of the region {region} only and got {type(texts).__name__} "
            "of another: nothing was sent."
        )


def failure_of_status(status: int, code: object = None) -> Failure:
    """What a status that is not 200 means; `code` is the provider's own error code."""
    # An account without quota or credit answers like a wrong key until somebody pays.
    if status in (401, 402, 403) or code == "insufficient_quota":
        return Failure.UNAUTHORISED
    if status == 429:
        return Failure.RATE_LIMITED
    if status == 408:
        return Failure.TIMED_OUT
    return Failure.SERVER_ERROR if status >= 500 else Failure.REFUSED


def failure_of_transport(problem: BaseException, httpx: ModuleType) -> Failure:
    """What an exception below HTTP means; `httpx` is the library that raised it.

    The distinction that costs money is whether the request may have arrived.
    """
    never_sent = (httpx.ConnectTimeout, httpx.PoolTimeout, httpx.ConnectError, httpx.ProxyError)
    if isinstance(problem, never_sent):
        return Failure.UNREACHABLE
    if isinstance(problem, httpx.TimeoutException):
        return Failure.TIMED_OUT
    if isinstance(problem, httpx.LocalProtocolError | httpx.UnsupportedProtocol):
        return Failure.REFUSED
    return Failure.BAD_ANSWER


def retry_after_seconds(headers: Mapping[str, str], now: datetime) -> float | None:
    """`Retry-After`, seconds or HTTP date (RFC 9110, section 10.2.3), as seconds from `now`."""
    given = headers.get("retry-after", "").strip()
    if re.fullmatch(r"\d+(\.\d+)?", given):
        return float(given)
    try:
        until = parsedate_to_datetime(given)
    except ValueError:
        return None
    # HTTP dates are in GMT; a "-0000" zone parses as none.
    until = until if until.tzinfo else until.replace(tzinfo=UTC)
    return max(0.0, (until - now).total_seconds())


def error_of_status(
    provider: str,
    status: int,
    headers: Mapping[str, str],
    now: datetime,
    *,
    message: object = None,
    code: object = None,
    key: str | None = None,
) -> ProviderError:
    """The error of an answered refusal; the provider's words are kept where they help."""
    failure = failure_of_status(status, code)
    detail = f"status {status}"
    if failure is Failure.REFUSED and isinstance(message, str):
        detail += f": {_without(key, message)[:_LONGEST_DETAIL]}"
    elif isinstance(code, str) and re.fullmatch(r"[a-z_]{1,40}", code):
        detail += f", {code}"
    return ProviderError(provider, failure, detail, retry_after=retry_after_seconds(headers, now))


def bad_answer(provider: str, detail: str) -> ProviderError:
    """The error of a 200 that is of no use."""
    return ProviderError(provider, Failure.BAD_ANSWER, detail)


def whole_tokens(provider: str, given: object) -> int:
    """The tokens that an answer names.

    Raises:
        ProviderError: it names none, so that nobody could say what it cost.
    """
    is_truth = isinstance(given, bool)
    if isinstance(given, int | float) and not is_truth and 0 <= given < math.inf:
        return math.ceil(given)
    raise bad_answer(provider, "the answer does not say how many tokens it cost")


def _without(key: str | None, message: str) -> str:
    return message.replace(key, "…") if key else message
