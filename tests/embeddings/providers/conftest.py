"""The providers' tests go through real HTTP to the mock service."""

from tests.embeddings.mock_server import mock_server, mock_service

__all__ = ["mock_server", "mock_service"]
