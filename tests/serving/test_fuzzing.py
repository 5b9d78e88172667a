"""Schemathesis against every route of the OpenAPI document, over a real database.

No answer is a 5xx, none has a status or a form that the document does not declare. More examples:
`SEDA_FUZZ_EXAMPLES=500 python -m pytest tests/serving/test_fuzzing.py`.
"""

import os
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, given, seed, settings
from hypothesis import strategies as st
from hypothesis.errors import Unsatisfiable
from schemathesis.checks import not_a_server_error
from schemathesis.generation import GenerationMode
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
)
from starlette.testclient import TestClient

from serving.app import create_app
from tests.serving.serving_world import World

EXAMPLES = int(os.environ.get("SEDA_FUZZ_EXAMPLES", "12"))
CHECKS = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
]


@pytest.fixture
def fuzzed(world: World) -> Iterator[tuple[Any, list[dict[str, str]]]]:
    """The API's document bound to the running app; headers of two people, and of nobody."""
    ada, ben = world.person("Ada", genres=("techno",)), world.person("Ben")
    rooms = world.entities("room", 5)
    world.publish(ada, rooms, world.entities("artist", 5))
    world.genre_list("techno", rooms)
    options = {"rate_limit_person": 0, "rate_limit_address": 0}
    app = create_app(world.settings.model_copy(update=options), databases=world.databases)
    with TestClient(app):  # keeps the app's pools on one loop for the whole test
        schema = schemathesis.openapi.from_asgi("/openapi.json", app)
        yield schema, [world.headers(ada), world.headers(ben), {}]


def test_no_request_is_answered_by_what_the_document_does_not_say(
    fuzzed: tuple[Any, list[dict[str, str]]],
) -> None:
    schema, headers = fuzzed
    asked: dict[str, int] = {}
    operations = [each.ok() for each in schema.get_all_operations()]
    for operation in operations:
        for mode in GenerationMode:
            _fuzz(operation, mode, headers, asked)
    assert {operation.label for operation in operations} == set(asked)
    assert {200, 401} <= {int(key.split()[-1]) for key in _statuses}


_statuses: dict[str, int] = {}


def _fuzz(
    operation: Any, mode: GenerationMode, headers: list[dict[str, str]], asked: dict[str, int]
) -> None:
    @seed(5)
    @settings(
        max_examples=EXAMPLES,
        deadline=None,
        database=None,
        suppress_health_check=list(HealthCheck),
    )
    @given(case=operation.as_strategy(generation_mode=mode), who=st.sampled_from(headers))
    def ask(case: Any, who: dict[str, str]) -> None:
        case.headers.pop("Authorization", None)
        response = case.call(headers=who)
        asked[operation.label] = asked.get(operation.label, 0) + 1
        _statuses[f"{operation.label} {response.status_code}"] = 1
        case.validate_response(response, checks=CHECKS)

    with suppress(Unsatisfiable):  # an operation without parameters cannot be asked wrongly
        ask()
