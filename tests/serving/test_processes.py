"""The services as processes: they start, serve, refuse a busy port in one sentence, and stop."""

import os
import signal
import socket
import subprocess
import sys
import time

import httpx
import pytest

from tests.serving.serving_world import World, names

SETTINGS = {"serving.api": "SEDA_API_PORT", "serving.realtime": "SEDA_REALTIME_PORT"}


def _start(world: World, module: str, port: int) -> subprocess.Popen[str]:
    environment = {
        **os.environ,
        "SEDA_HOME": str(world.settings.home),
        **{
            f"SEDA_{name}DATABASE_URL": each.url
            for name, each in zip(("", "EU_"), world.databases, strict=True)
        },
        SETTINGS[module]: str(port),
    }
    return subprocess.Popen(
        [sys.executable, "-m", module], env=environment, stderr=subprocess.PIPE, text=True
    )


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _answer(process: subprocess.Popen[str], url: str, **options) -> httpx.Response:
    for _ in range(200):
        assert process.poll() is None, process.communicate()[1]
        try:
            return httpx.get(url, timeout=5, **options)
        except httpx.TransportError:
            time.sleep(0.1)
    raise AssertionError(f"{url} never answered")


def test_the_api_serves_a_feed_and_stops_cleanly(world: World) -> None:
    ada = world.person("Ada")
    world.publish(ada, world.entities("room", 2))
    port = _free_port()
    process = _start(world, "serving.api", port)
    try:
        url = f"http://127.0.0.1:{port}"
        response = _answer(process, f"{url}/feed", headers=world.headers(ada))
        assert names(response.json()) == ["room 1", "room 2"]
        assert _answer(process, f"{url}/readyz").status_code == 200
        assert "server" not in response.headers
    finally:
        process.send_signal(signal.SIGTERM)
        _, log = process.communicate(timeout=15)
    assert process.returncode == 0
    assert world.token(ada) not in log
    assert str(ada.sub) not in log
    assert "Traceback" not in log


@pytest.mark.parametrize("module", sorted(SETTINGS))
def test_a_busy_port_is_one_sentence(world: World, module: str) -> None:
    with socket.socket() as holder:
        holder.bind(("127.0.0.1", 0))
        holder.listen()
        port = holder.getsockname()[1]
        process = _start(world, module, port)
        _, message = process.communicate(timeout=30)
    assert process.returncode == 1
    assert message.count("\n") == 1
    assert str(port) in message
    assert SETTINGS[module] in message


def test_the_real_time_service_starts_and_stops(world: World) -> None:
    port = _free_port()
    process = _start(world, "serving.realtime", port)
    try:
        url = f"http://127.0.0.1:{port}/socket.io/?EIO=4&transport=polling"
        assert _answer(process, url).status_code == 200
    finally:
        process.send_signal(signal.SIGINT)
        _, log = process.communicate(timeout=15)
    assert process.returncode == 0
    assert "Traceback" not in log


def test_serving_imports_none_of_the_pipelines_libraries() -> None:
    probe = (
        "import sys, serving.api, serving.realtime.app; "
        "print([m for m in ('dagster', 'implicit', 'pandas', 'sklearn', 'numba') "
        "if m in sys.modules])"
    )
    result = subprocess.run(
        [sys.executable, "-c", probe], capture_output=True, text=True, check=True
    )
    assert result.stdout.strip() == "[]"
