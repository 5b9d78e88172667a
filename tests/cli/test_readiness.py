"""Ports are checked before anything starts; a service is ready when it answers."""

import http.server
import socket
import threading
from collections.abc import Iterator

import pytest

from seda.cli.readiness import PortUnavailableError, accepts_tcp, answers_http, claim_ports


class _Answers(http.server.BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_response(200 if self.path == "/readyz" else 503)
        self.end_headers()

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def port() -> Iterator[int]:
    """The port of an HTTP server that is ready under /readyz alone."""
    with http.server.HTTPServer(("127.0.0.1", 0), _Answers) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server.server_port
        server.shutdown()


def test_zero_becomes_a_free_port_and_others_stay(port: int) -> None:
    free = claim_ports({"A": 0})["A"]

    claimed = claim_ports({"SEDA_API_PORT": free, "SEDA_DAGSTER_PORT": 0})

    assert claimed["SEDA_API_PORT"] == free
    assert claimed["SEDA_DAGSTER_PORT"] not in (0, free, port)


@pytest.mark.parametrize("wanted", [70_000, -1])
def test_a_number_that_is_no_port(wanted: int) -> None:
    with pytest.raises(PortUnavailableError, match="number from 1 to 65535"):
        claim_ports({"SEDA_API_PORT": wanted})


def test_a_port_that_somebody_has(port: int) -> None:
    with pytest.raises(PortUnavailableError, match=f"Port {port} is in use: stop what listens"):
        claim_ports({"SEDA_API_PORT": port})


def test_a_port_that_two_services_want() -> None:
    free = claim_ports({"A": 0})["A"]

    with pytest.raises(PortUnavailableError, match="give SEDA_REALTIME_PORT a port of its own"):
        claim_ports({"SEDA_API_PORT": free, "SEDA_REALTIME_PORT": free})


def test_ready_means_an_answer_of_200(port: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:1")

    assert answers_http(port, "/readyz")()
    assert not answers_http(port, "/other")()
    assert accepts_tcp(port)()


def test_nobody_there_is_not_ready() -> None:
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        port = bound.getsockname()[1]

        assert not answers_http(port, "/readyz")()
        assert not accepts_tcp(port)()
