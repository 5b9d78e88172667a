"""The databases and the mock providers of the embeddings' tests serve here too."""

from tests.embeddings.conftest import (
    database,
    databases,
    kept_databases,
    mock_server,
    mock_service,
)

__all__ = ["database", "databases", "kept_databases", "mock_server", "mock_service"]
