"""Runs the mock service in the foreground, and says how to point the platform at it."""

import signal
import socket
from collections.abc import Callable, Mapping

import uvicorn

from seda.errors import SedaError
from seda.sandbox.mock_providers.app import create_app
from seda.sandbox.mock_providers.profiles import FailureProfile

HOST = "127.0.0.1"
GRACE_SECONDS = 2


class BusyPortError(SedaError):
    """The port cannot be had."""


def serve(profiles: Mapping[str, FailureProfile], port: int, say: Callable[[str], object]) -> None:
    """Serve until SIGINT or SIGTERM, on a free port where `port` is 0.

    Raises:
        BusyPortError: before anything is said.
    """
    try:
        listener = socket.create_server((HOST, port))
    except OSError as problem:
        raise BusyPortError(
            f"Port {port} cannot be used ({problem.strerror}): stop what listens there or set "
            "SEDA_MOCK_PROVIDERS_PORT."
        ) from problem
    say(introduction(f"http://{HOST}:{listener.getsockname()[1]}"))
    # Connections are cut on purpose, about which the server would complain.
    config = uvicorn.Config(
        create_app(profiles),
        log_level="critical",
        lifespan="off",
        timeout_graceful_shutdown=GRACE_SECONDS,
    )
    # After its graceful stop the server raises the signal once more, which would be a traceback.
    for each in (signal.SIGINT, signal.SIGTERM):
        signal.signal(each, lambda *_: None)
    uvicorn.Server(config).run(sockets=[listener])


def introduction(url: str) -> str:
    """The settings that point the platform at the service, and where its control plane is."""
    return "\n".join(
        (
            "The mock providers are up until Ctrl-C; settings to copy:",
            f"SEDA_OPENAI_BASE_URL={url}/openai/v1",
            "OPENAI_API_KEY=sk-mock",
            f"SEDA_COHERE_BASE_URL={url}/cohere",
            "COHERE_API_KEY=mock",
            f"SEDA_EU_EMBEDDER_URL={url}/runner/v1",
            f"SEDA_SPOTIFY_BASE_URL={url}/spotify",
            "SEDA_SPOTIFY_CLIENT_ID=mock",
            f"SEDA_YOUTUBE_BASE_URL={url}/youtube",
            "SEDA_YOUTUBE_CLIENT_ID=mock",
            "SEDA_YOUTUBE_CLIENT_SECRET=mock",
            f"SEDA_APPLE_BASE_URL={url}/apple",
            f"Control: PUT {url}/control/openai, GET {url}/control/requests",
        )
    )
