"""Error reports say what went wrong and where, and nothing of anybody."""

import logging
from collections.abc import Iterator

import orjson
import pytest
import sentry_sdk

from seda.observability.error_reports import scrubbed_event
from tests.observability.sentry_server import sentry_envelopes

CANARIES = ("ada@example.org", "7a0e1f4c-9d1b-4a52-8a33-0d9b6f0e2c11", "canary-secret")


@pytest.fixture
def envelopes() -> Iterator[list[bytes]]:
    with sentry_envelopes() as received:
        yield received


def _fail(email: str) -> None:
    secret = "canary-secret"
    raise ValueError(f"no such row: {email} {secret}")


def test_an_error_arrives_with_its_place_and_without_anybodys_values(
    envelopes: list[bytes],
) -> None:
    logger = logging.getLogger("serving.test")
    sentry_sdk.set_user({"id": CANARIES[1], "email": CANARIES[0]})
    sentry_sdk.set_tag("who", CANARIES[0])
    sentry_sdk.set_context("request", {"cookie": "canary-secret"})
    logger.warning("a crumb of %s", CANARIES[0])
    try:
        _fail(CANARIES[0])
    except ValueError:
        logger.exception("it failed for %s", CANARIES[1], extra={"token": "canary-secret"})
    sentry_sdk.flush(5)
    (envelope,) = envelopes
    for canary in CANARIES:
        assert canary.encode() not in envelope
    event = orjson.loads(envelope.splitlines()[2])
    (told,) = event["exception"]["values"]
    assert told["type"] == "ValueError"
    assert told["stacktrace"]["frames"][-1]["function"] == "_fail"
    assert (event["environment"], event["level"]) == ("qa", "error")


def test_what_a_library_adds_is_dropped() -> None:
    event = {
        "message": f"of {CANARIES[0]}",
        "request": {"url": CANARIES[1]},
        "extra": {"a": CANARIES[2]},
        "modules": {},
        "new_member": CANARIES[0],
        "exception": {"values": [{"type": "E", "value": CANARIES[0], "stacktrace": {"frames": [
            {"function": "f", "vars": {"x": CANARIES[2]}, "abs_path": "/home/ada"}]}}]},
    }  # fmt: skip
    kept = scrubbed_event(event)
    assert set(kept) == {"message", "exception"}
    assert not any(canary in str(kept) for canary in (*CANARIES, "/home/ada"))
