"""A server killed under load: every acknowledged event is there, once; the rest can go again."""

import os
import signal
import threading
from typing import Any

import httpx

from tests.serving.serving_world import World
from tests.serving.test_events import event
from tests.serving.test_processes import _answer, _free_port, _start

SENDERS = 3
BATCH = 40


class Sender(threading.Thread):
    """Posts batch after batch until the server is gone; remembers what was sent and answered."""

    def __init__(self, url: str, headers: dict[str, str], make: Any, enough: threading.Event):
        super().__init__()
        self.url, self.headers, self.make, self.enough = url, headers, make, enough
        self.acknowledged: list[str] = []
        self.last: list[dict[str, Any]] = []

    def run(self) -> None:
        with httpx.Client(headers=self.headers, timeout=10) as client:
            while True:
                self.last = [self.make() for _ in range(BATCH)]
                try:
                    response = client.post(f"{self.url}/events", json={"events": self.last})
                except httpx.TransportError:
                    return
                results = response.json()["results"]
                assert {each["status"] for each in results} == {"accepted"}
                self.acknowledged += [each["id"] for each in results]
                if len(self.acknowledged) >= 3 * BATCH:
                    self.enough.set()


def test_a_kill_loses_nothing_that_was_acknowledged(world: World) -> None:
    ada = world.person("Ada")
    artist = world.entity("artist", "Autechre")
    port = _free_port()
    url = f"http://127.0.0.1:{port}"
    process = _start(world, "serving.api", port)
    enough = threading.Event()
    kinds = ("listen_30s", "listen")
    senders = [
        Sender(url, world.headers(ada), lambda n=n: event(artist, kinds[n % 2]), enough)
        for n in range(SENDERS)
    ]
    try:
        assert _answer(process, f"{url}/readyz").status_code == 200
        for sender in senders:
            sender.start()
        assert enough.wait(60)
    finally:
        os.kill(process.pid, signal.SIGKILL)
        process.communicate(timeout=15)
        for sender in senders:
            sender.join(timeout=15)
    # In one statement: the killed server's last transaction may still be ending.
    stored = world.sql(
        "select 'event', event_id::text from seda.fact_events "
        "union all select 'event', event_id::text from seda.social_events "
        "union all select 'receipt', event_id::text from seda.event_receipts"
    )
    ids = [id for kind, id in stored if kind == "event"]
    acknowledged = {id for sender in senders for id in sender.acknowledged}
    assert len(acknowledged) >= 3 * BATCH
    assert len(ids) == len(set(ids))
    assert acknowledged <= set(ids)
    assert sorted(ids) == sorted(id for kind, id in stored if kind == "receipt")
    # What was on its way is there whole or not at all, so sending it again is safe.
    for sender in senders:
        assert len({each["id"] for each in sender.last} & set(ids)) in (0, BATCH)
