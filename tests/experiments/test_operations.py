"""What the services' metrics say: over HTTP, of the routes that recommend, since the last look."""

from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread

import pytest

from seda.experiments.operations import (
    Counters,
    MetricsSources,
    operations_of,
    scrape,
)
from seda.settings import Settings
from serving.realtime.numbers import Numbers
from serving.telemetry import Telemetry


@contextmanager
def answering(body: bytes, status: int = 200) -> Iterator[str]:
    """The address of a service that answers with this."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(status)
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *args: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}/metrics"
    finally:
        server.shutdown()
        server.server_close()


def api(fast: int, slow: int, failed: int = 0) -> bytes:
    telemetry = Telemetry()
    for count, status, seconds in ((fast, 200, 0.02), (slow, 200, 0.5), (failed, 503, 0.02)):
        for _ in range(count):
            telemetry.ended("GET", "/feed", status, seconds)
    telemetry.ended("POST", "/onboarding", 500, 9.0)  # recommends nothing
    return telemetry.exposition()


def realtime(fast: int, slow: int) -> bytes:
    numbers = Numbers()
    for count, seconds in ((fast, 0.04), (slow, 2.0)):
        for _ in range(count):
            numbers.lag.observe(seconds)
    return numbers.exposition()


def test_latency_errors_and_delays_of_what_our_services_expose() -> None:
    with answering(api(fast=900, slow=100, failed=10)) as one, answering(realtime(97, 3)) as two:
        found = operations_of(scrape(MetricsSources((one,), (two,))))
    assert (found.requests, found.notifications) == (1010, 100)
    assert 0.4 < found.api_p95 <= 0.6
    assert found.error_share == pytest.approx(10 / 1010)
    assert 1.0 < found.notification_p99 <= 2.5


def test_several_processes_are_one_service() -> None:
    with answering(api(100, 0)) as one, answering(api(0, 100)) as two:
        found = operations_of(scrape(MetricsSources((one, two), ())))
    assert found.requests == 200
    assert found.api_p95 > 0.4


def test_a_service_that_does_not_answer_is_not_known() -> None:
    nobody = "http://127.0.0.1:9/metrics"
    with answering(api(10, 0)) as one, answering(b"", 503) as broken:
        assert scrape(MetricsSources((nobody,), (broken,))) == Counters()
        # Half of a service would tell half of the truth.
        assert scrape(MetricsSources((one, nobody), ())).requests is None
    assert operations_of(Counters()).api_p95 is None


def test_only_what_happened_since_the_last_look_counts() -> None:
    with answering(api(0, 500)) as before, answering(api(600, 500)) as after:
        earlier, now = (scrape(MetricsSources((each,), ())) for each in (before, after))
    assert operations_of(now).api_p95 > 0.4
    since = operations_of(now.since(earlier))
    assert (since.requests, since.api_p95 < 0.025) == (600, True)
    assert now.since(None) == now


def test_a_process_that_began_anew_is_counted_from_its_start() -> None:
    with answering(api(0, 500)) as before, answering(api(300, 0)) as after:
        earlier, now = (scrape(MetricsSources((each,), ())) for each in (before, after))
    assert now.since(earlier) == now


def test_addresses_are_the_configured_ones_or_this_machines_ports() -> None:
    here = MetricsSources.of(Settings(_env_file=None, api_port=8100))
    assert here.api == ("http://127.0.0.1:8100/metrics",)
    two = Settings(_env_file=None, api_metrics_urls="http://a/metrics, http://b/metrics")
    assert MetricsSources.of(two).api == ("http://a/metrics", "http://b/metrics")
