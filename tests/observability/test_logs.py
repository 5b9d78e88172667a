"""Logs are JSON lines that hold no personal data and are never in the way."""

import io
import logging
import threading

import orjson
import pytest

from seda.observability import logs
from seda.observability.logs import BackgroundHandler, JsonFormatter
from seda.observability.scrubbing import scrub

SUB = "7a0e1f4c-9d1b-4a52-8a33-0d9b6f0e2c11"
TOKEN = "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiJ4In0.c2lnbmF0dXJl"


@pytest.mark.parametrize(
    "personal",
    [
        SUB, SUB.upper(), TOKEN, "ada.lovelace+x@example.co.uk", "cursor=WyJwZXJ.abc.def",
        "Bearer abc123", "postgresql://ada:secret@db/seda", "203.0.113.9",
        "2001:db8::8a2e:370:7334", "::1", "ada%40example.org",
        "BQDnb7_ref-resh0token1of2a3provider4without5a6shape", "refresh_token=AQB1x",
        '"access_token": "AQB2y"',
    ],
)  # fmt: skip
def test_what_is_personal_is_blotted_out(personal: str) -> None:
    text = scrub(f"before {personal} after")
    assert text.startswith("before ")
    assert text.endswith(" after")
    for part in personal.replace("=", " ").replace("//", " ").replace("@", " ").split():
        assert part not in text or part in (
            "cursor", "Bearer", "postgresql:", "db/seda", "refresh_token", '"access_token":',
        )  # fmt: skip


def test_of_a_query_the_names_are_left() -> None:
    path = "GET /links/spotify/callback?code=AQC-1x&state=zz%2F9&email=ada HTTP/1.1 failed"
    assert scrub(path) == (
        "GET /links/spotify/callback?code=[…]&state=[…]&email=[…] HTTP/1.1 failed"
    )


def test_harmless_texts_stay_as_they_are() -> None:
    text = (
        "the genre list failed: QueryCanceledError at 12:30:05, version 0.12.1, 503; tokens: 5, "
        "state: pending, seda.links.syncing: a look; every 1:2:3, why?"
    )
    assert scrub(text) == text


class _RefusedError(Exception):
    sqlstate = "23505"
    constraint_name = "users_email_key"


def _record(name: str, message: str, problem: BaseException | None = None) -> dict:
    info = None if problem is None else (type(problem), problem, problem.__traceback__)
    record = logging.LogRecord(name, logging.ERROR, "", 0, message, None, info)
    return orjson.loads(JsonFormatter().format(record))


def test_an_exception_is_told_by_type_code_and_place_never_by_its_words() -> None:
    def inner() -> None:
        raise _RefusedError("Key (email)=(ada@example.org) exists, named Canary")

    try:
        try:
            inner()
        except _RefusedError as problem:
            raise ValueError("Canary again") from problem
    except ValueError as problem:
        line = _record("serving", "a request failed", problem)
    assert "Canary" not in orjson.dumps(line).decode()
    outer, cause = line["exceptions"]
    assert outer["type"] == "builtins.ValueError"
    assert (cause["sqlstate"], cause["constraint_name"]) == ("23505", "users_email_key")
    assert cause["frames"][-1].endswith(" inner")


def test_asyncios_repr_of_an_exception_is_left_out() -> None:
    line = _record("asyncio", "Task exception was never retrieved\nfuture: <Task Canary>")
    assert line["event"] == "Task exception was never retrieved"


def test_a_stream_that_takes_nothing_holds_nobody_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(logs, "LARGEST_BACKLOG", 100)
    opened = threading.Event()

    class Stuck(io.BytesIO):
        def write(self, lines: bytes) -> int:
            opened.wait(30)
            return super().write(lines)

    stream = Stuck()
    handler = BackgroundHandler(stream)
    handler.setFormatter(JsonFormatter())
    logger = logging.Logger("stuck")
    logger.addHandler(handler)
    for number in range(500):
        logger.info("line %d", number)
    opened.set()
    handler.flush()
    lines = [orjson.loads(line) for line in stream.getvalue().splitlines()]
    lost = sum(line.get("count", 0) for line in lines)
    assert lost > 0
    assert len([line for line in lines if "level" in line]) + lost == 500
