"""The services as real processes for tests: started, asked until they answer, stopped."""

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import httpx

from tests.serving.serving_world import World


@dataclass
class ApiProcess:
    """A running API: its address, its process and the file that its log goes to."""

    url: str
    process: subprocess.Popen[bytes]
    log: Path

    @property
    def port(self) -> int:
        return int(self.url.rpartition(":")[2])

    def ready(self) -> bool:
        try:
            return httpx.get(f"{self.url}/readyz", timeout=5).status_code == 200
        except httpx.TransportError:
            return False

    def wait_ready(self) -> None:
        for _ in range(1200):
            assert self.process.poll() is None, self.log.read_text()
            if self.ready():
                return
            time.sleep(0.05)
        raise AssertionError(f"never ready: {self.log.read_text()[-2000:]}")

    def stop(self) -> int:
        """Ask it to stop; its exit status."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        return self.process.wait(timeout=20)


_Kind = TypeVar("_Kind", bound=ApiProcess)


@dataclass
class RealtimeProcess(ApiProcess):
    """A running real-time service; it is ready when it listens."""

    def ready(self) -> bool:
        try:
            socket.create_connection(("127.0.0.1", self.port), timeout=5).close()
        except OSError:
            return False
        return True


def free_port() -> int:
    """A port that nobody listens on just now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextmanager
def api_process(world: World, folder: Path, **settings: str) -> Iterator[ApiProcess]:
    """The API over the world's databases, ready; settings by their environment names."""
    settings = {"SEDA_API_PORT": str(free_port()), **settings}
    with _process(
        ApiProcess, "serving.api", settings["SEDA_API_PORT"], world, folder, settings
    ) as it:
        yield it


@contextmanager
def realtime_process(world: World, folder: Path, **settings: str) -> Iterator[RealtimeProcess]:
    """The real-time service over the world's databases, likewise."""
    settings = {"SEDA_REALTIME_PORT": str(free_port()), **settings}
    port = settings["SEDA_REALTIME_PORT"]
    with _process(RealtimeProcess, "serving.realtime", port, world, folder, settings) as running:
        yield running


@contextmanager
def _process(
    kind: type[_Kind], module: str, port: str, world: World, folder: Path, settings: dict[str, str]
) -> Iterator[_Kind]:
    environment = {
        **os.environ,
        "SEDA_HOME": str(world.settings.home),
        "SEDA_DRAIN_SECONDS": "0",
        **{
            f"SEDA_{name}DATABASE_URL": each.url
            for name, each in zip(("", "EU_"), world.databases, strict=True)
        },
        **settings,
    }
    log = folder / f"{module}.log"
    with log.open("wb") as output:
        process = subprocess.Popen([sys.executable, "-m", module], env=environment, stderr=output)
    running = kind(f"http://127.0.0.1:{port}", process, log)
    try:
        running.wait_ready()
        yield running
        running.stop()
    finally:
        if process.poll() is None:
            process.kill()
            process.wait()
