"""Statuses, dates and token counts are read the same way for every provider."""

from datetime import UTC, datetime

import pytest

from seda.embeddings.providers.failures import (
    error_of_status,
    failure_of_status,
    retry_after_seconds,
    whole_tokens,
)
from seda.embeddings.providers.provider import Failure, ProviderError

NOW = datetime(2026, 11, 24, 8, 0, tzinfo=UTC)


@pytest.mark.parametrize(
    ("status", "code", "failure"),
    [
        (429, None, Failure.RATE_LIMITED),
        (429, "rate_limit_exceeded", Failure.RATE_LIMITED),
        (429, "insufficient_quota", Failure.UNAUTHORISED),
        (401, None, Failure.UNAUTHORISED),
        (402, None, Failure.UNAUTHORISED),
        (403, None, Failure.UNAUTHORISED),
        (408, None, Failure.TIMED_OUT),
        (400, None, Failure.REFUSED),
        (404, None, Failure.REFUSED),
        (422, None, Failure.REFUSED),
        (307, None, Failure.REFUSED),
        (500, None, Failure.SERVER_ERROR),
        (503, None, Failure.SERVER_ERROR),
        (529, None, Failure.SERVER_ERROR),
    ],
)
def test_a_status_has_one_meaning(status: int, code: str | None, failure: Failure) -> None:
    assert failure_of_status(status, code) is failure


@pytest.mark.parametrize(
    ("header", "seconds"),
    [
        ("7", 7.0),
        ("0.25", 0.25),
        (" 3 ", 3.0),
        ("Tue, 24 Nov 2026 08:01:30 GMT", 90.0),
        ("Tue, 24 Nov 2026 08:01:30 -0000", 90.0),
        ("Tue, 24 Nov 2026 07:00:00 GMT", 0.0),
        ("soon", None),
        ("-5", None),
        ("inf", None),
        ("", None),
    ],
)
def test_retry_after_is_seconds_or_a_date(header: str, seconds: float | None) -> None:
    assert retry_after_seconds({"retry-after": header}, NOW) == seconds


def test_without_the_header_nobody_named_a_time() -> None:
    assert retry_after_seconds({}, NOW) is None


def test_a_message_that_repeats_the_key_is_quoted_without_it() -> None:
    error = error_of_status("openai", 400, {}, NOW, message="bad sk-secret" * 99, key="sk-secret")

    assert "sk-secret" not in str(error)
    assert len(str(error)) < 260


def test_of_a_refused_key_nothing_is_quoted() -> None:
    said = "Incorrect API key provided: sk-s****t."
    error = error_of_status("openai", 401, {}, NOW, message=said, code="invalid_api_key")

    assert str(error) == "openai: unauthorised (status 401, invalid_api_key)"


@pytest.mark.parametrize("tokens", [None, True, -1, "12", float("nan"), float("inf")])
def test_an_answer_that_names_no_tokens_is_a_bad_one(tokens: object) -> None:
    with pytest.raises(ProviderError, match="how many tokens") as caught:
        whole_tokens("cohere", tokens)

    assert caught.value.failure is Failure.BAD_ANSWER


def test_tokens_are_whole_and_never_rounded_down() -> None:
    assert [whole_tokens("cohere", tokens) for tokens in (0, 12, 12.0, 12.2)] == [0, 12, 12, 13]
