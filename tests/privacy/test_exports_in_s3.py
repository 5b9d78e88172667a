"""An export in S3: stored, opened by the storage's own signed link, and deleted."""

import urllib.request
from collections.abc import Iterator
from datetime import timedelta
from urllib.parse import parse_qs, urlsplit

import pytest

from seda.database.regions import Region
from seda.database.storage import NotStoredError, RegionalStorage


@pytest.fixture
def storage(monkeypatch: pytest.MonkeyPatch) -> Iterator[RegionalStorage]:
    """A bucket of a local server that speaks S3."""
    from moto.server import ThreadedMotoServer

    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0)
    server.start()
    host, port = server.get_host_and_port()
    for name, value in {
        "AWS_ENDPOINT_URL": f"http://{host}:{port}",
        "AWS_ACCESS_KEY_ID": "key",
        "AWS_SECRET_ACCESS_KEY": "secret",
        "AWS_REGION": "eu-central-1",
        "AWS_ALLOW_HTTP": "true",
    }.items():
        monkeypatch.setenv(name, value)
    request = urllib.request.Request(f"http://{host}:{port}/exports-eu", method="PUT")
    urllib.request.urlopen(request).close()
    yield RegionalStorage(Region.EU, "s3://exports-eu/seda")
    server.stop()


def test_an_export_is_stored_signed_read_and_deleted(storage: RegionalStorage) -> None:
    storage.put_bytes("exports/a.zip", b"PK content")
    assert storage.modified_at("exports/a.zip") is not None
    url = storage.signed_url("exports/a.zip", timedelta(days=7))
    assert url is not None
    assert parse_qs(urlsplit(url).query)["X-Amz-Expires"] == [str(7 * 24 * 3600)]
    with urllib.request.urlopen(url) as answer:
        assert answer.read() == b"PK content"
    assert storage.list("exports") == ["exports/a.zip"]
    storage.delete("exports/a.zip")
    assert storage.modified_at("exports/a.zip") is None
    with pytest.raises(NotStoredError):
        storage.get_bytes("exports/a.zip")
