"""The mock providers on a real port: `mock_server` for a test, `running_mock_server` for one's own.

Import the fixtures into a conftest or a test module:
`from tests.embeddings.mock_server import mock_server, mock_service  # noqa: F401`.
"""

from collections.abc import Iterator

import pytest

from seda.sandbox.mock_providers.running import KEY, MockServer, running_mock_server

__all__ = ["KEY", "MockServer", "mock_server", "mock_service", "running_mock_server"]


@pytest.fixture(scope="session")
def mock_service() -> Iterator[MockServer]:
    """One service for all tests of a worker."""
    with running_mock_server() as mock:
        yield mock


@pytest.fixture
def mock_server(mock_service: MockServer) -> MockServer:
    """The service with healthy providers and an empty recording."""
    mock_service.reset()
    return mock_service
