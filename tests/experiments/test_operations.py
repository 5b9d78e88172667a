"""What the services' metrics say: over HTTP, of the reads of each arm, since the last look."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread

import orjson
import pytest

from seda.experiments.operations import (
    Counters,
    MetricsSources,
    Operations,
    Requests,
    operations_of,
    scrape,
)
from seda.settings import Settings
from serving.realtime.numbers import Numbers
from serving.telemetry import NO_ARM, Telemetry


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


CANARY, CONTROL = ("canary", "global"), ("control", "global")
Ended = tuple[int, int, float]
"""How many requests, their status, and their seconds."""


def api(**arms: list[Ended]) -> bytes:
    """What a process of the API says that ended these; `nobody` are requests of no known arm."""
    telemetry = Telemetry()
    known = {"canary": CANARY, "control": CONTROL, "european": ("canary", "eu"), "nobody": NO_ARM}
    for name, ended in arms.items():
        for count, status, seconds in ended:
            for _ in range(count):
                telemetry.ended("GET", "/feed", status, seconds, known[name])
    telemetry.ended("POST", "/onboarding", 500, 9.0)  # recommends nothing
    return telemetry.exposition()


def figures(counters: Counters, share: float = 0.1) -> Operations:
    return operations_of(counters, "global", share)


def realtime(fast: int, slow: int) -> bytes:
    numbers = Numbers()
    for count, seconds in ((fast, 0.04), (slow, 2.0)):
        for _ in range(count):
            numbers.lag.observe(seconds)
    return numbers.exposition()


def test_each_arm_is_judged_by_its_own_requests_and_delays_are_everybodys() -> None:
    said = api(
        canary=[(900, 200, 0.02), (100, 200, 0.5), (10, 503, 0.02)], control=[(9000, 200, 0.02)],
        european=[(50, 500, 9.0)],
    )  # fmt: skip
    with answering(said) as one, answering(realtime(97, 3)) as two:
        counted = scrape(MetricsSources((one,), (two,)))
    found = figures(counted)
    assert (found.canary.count, found.control.count, found.notifications) == (1010, 9000, 100)
    assert 0.4 < found.canary.p95 <= 0.6
    assert found.control.p95 < 0.025
    assert found.canary.error_share == pytest.approx(10 / 1010)
    assert found.control.error_share == 0
    assert 1.0 < found.notification_p99 <= 2.5
    elsewhere = operations_of(counted, "eu", 0.1)
    assert (elsewhere.canary.error_share, elsewhere.control.count) == (1, 0)


def test_who_failed_before_they_were_known_counts_for_each_arm_by_its_people() -> None:
    with answering(api(canary=[(990, 200, 0.02)], control=[(8910, 200, 0.02)],
                       nobody=[(100, 503, 0.02)])) as one:  # fmt: skip
        found = figures(scrape(MetricsSources((one,), ())))
    assert (found.canary.count, found.control.count) == (1000, 9000)
    assert found.canary.error_share == pytest.approx(0.01)
    assert found.control.error_share == pytest.approx(0.01)


def test_several_processes_are_one_service() -> None:
    fast, slow = api(canary=[(100, 200, 0.02)]), api(canary=[(100, 200, 0.5)])
    with answering(fast) as one, answering(slow) as two:
        found = figures(scrape(MetricsSources((one, two), ())))
    assert found.canary.count == 200
    assert found.canary.p95 > 0.4


def test_a_service_that_does_not_answer_is_not_known() -> None:
    nobody = "http://127.0.0.1:9/metrics"
    with answering(api(canary=[(10, 200, 0.02)])) as one, answering(b"", 503) as broken:
        assert scrape(MetricsSources((nobody,), (broken,))) == Counters()
        # Half of a service would tell half of the truth.
        assert scrape(MetricsSources((one, nobody), ())).requests is None
    assert figures(Counters()).canary == Requests()


def test_only_what_happened_since_the_last_look_counts() -> None:
    before = api(canary=[(500, 200, 0.5)])
    after = api(canary=[(600, 200, 0.02), (500, 200, 0.5)], control=[(7, 200, 0.02)])
    with answering(before) as one, answering(after) as two:
        earlier, now = (scrape(MetricsSources((each,), ())) for each in (one, two))
    assert figures(now).canary.p95 > 0.4
    # As a look notes them: through JSON.
    earlier = Counters.stored(orjson.loads(orjson.dumps(asdict(earlier))))
    since = figures(now.since(earlier))
    assert (since.canary.count, since.canary.p95 < 0.025, since.control.count) == (600, True, 7)
    assert now.since(None) == now


def test_a_process_that_began_anew_is_counted_from_its_start() -> None:
    with (
        answering(api(canary=[(500, 200, 0.5)])) as before,
        answering(api(canary=[(300, 200, 0.02)], control=[(900, 200, 0.02)])) as after,
    ):
        earlier, now = (scrape(MetricsSources((each,), ())) for each in (before, after))
    assert now.since(earlier) == now
    # What a version without arms noted was counted by processes that are gone.
    noted = {"latencies": {"+Inf": 70}, "requests": 70, "errors": 0, "delays": {"+Inf": 9}}
    assert Counters.stored(noted) == Counters(delays={"+Inf": 9})


def test_a_process_that_knows_no_arms_yet_counts_for_none() -> None:
    older = b'seda_http_requests_total{method="GET",route="/feed",status="2xx"} 70.0\n'
    with answering(older) as one:
        assert scrape(MetricsSources((one,), ())).requests == {"none": 70}


def test_addresses_are_the_configured_ones_or_this_machines_ports() -> None:
    here = MetricsSources.of(Settings(_env_file=None, api_port=8100))
    assert here.api == ("http://127.0.0.1:8100/metrics",)
    two = Settings(_env_file=None, api_metrics_urls="http://a/metrics, http://b/metrics")
    assert MetricsSources.of(two).api == ("http://a/metrics", "http://b/metrics")
