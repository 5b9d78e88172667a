"""The mock service in a thread of this process, on a real port, with its control plane at hand.

For tests and drills; `server` runs it in the foreground for a person.
"""

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import httpx
import uvicorn

from seda.sandbox.mock_providers.app import create_app
from seda.sandbox.mock_providers.profiles import PROVIDERS

KEY = "sk-mock-0123456789abcdef"


class MockServer:
    """A running mock service; `url` has no path, the others are what a provider is given."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.openai_url = f"{url}/openai/v1"
        self.cohere_url = f"{url}/cohere"
        self.runner_url = f"{url}/runner/v1"
        self.spotify_url = f"{url}/spotify"
        self.youtube_url = f"{url}/youtube"
        self.apple_url = f"{url}/apple"
        # The server may close a kept connection at the moment that it is used again.
        unkept = httpx.Limits(max_keepalive_connections=0)
        self._control = httpx.Client(base_url=f"{url}/control", trust_env=False, limits=unkept)

    def set_profile(self, provider: str, **fields: Any) -> None:
        """Let one of `PROVIDERS` behave like `FailureProfile(**fields)` from now on.

        Requests and outages are counted from here; a field that is not named has its default.
        """
        answer = self._control.put(f"/{provider}", json=fields)
        assert answer.status_code == 200, answer.text

    def requests(self, provider: str | None = None) -> list[dict[str, Any]]:
        """What arrived so far, oldest first: `RecordedRequest` as dictionaries."""
        recorded = self._control.get("/requests").json()
        return [each for each in recorded if provider in (None, each["provider"])]

    def texts(self, provider: str) -> list[str]:
        """Every text that reached a provider, in the order of arrival."""
        return [text for each in self.requests(provider) for text in each["texts"]]

    def billed_tokens(self, provider: str) -> int:
        """What a provider will put on its bill."""
        return sum(each["billed_tokens"] for each in self.requests(provider))

    def reset(self) -> None:
        """Healthy providers, an empty recording."""
        for provider in PROVIDERS:
            self.set_profile(provider)
        self._control.delete("/requests")

    def steer(self, method: str, path: str, **options: Any) -> Any:
        """A music provider's control, such as `DELETE /spotify/control/grants`; its JSON."""
        answer = self._control.request(method, f"{self.url}{path}", **options)
        assert answer.is_success, answer.text
        return answer.json() if answer.content else None

    def close(self) -> None:
        """Let go of the control plane; the service itself runs on."""
        self._control.close()


@contextmanager
def running_mock_server() -> Iterator[MockServer]:
    """A service of one's own, which can be stopped while a test runs; it is gone afterwards."""
    listener = socket.create_server(("127.0.0.1", 0))
    config = uvicorn.Config(
        create_app(), log_level="critical", lifespan="off", timeout_graceful_shutdown=1
    )
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, args=([listener],), daemon=True)
    thread.start()
    mock = MockServer(f"http://127.0.0.1:{listener.getsockname()[1]}")
    try:
        mock.reset()
        yield mock
    finally:
        mock.close()
        server.should_exit = True
        thread.join()
        listener.close()
