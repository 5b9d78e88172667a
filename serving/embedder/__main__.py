"""`python -m serving.embedder`: the embedder on 127.0.0.1, port `SEDA_EMBEDDER_PORT`."""

import sys

from starlette.applications import Starlette

from seda.settings import load_settings
from serving.embedder.app import create_embedder
from serving.embedder.models import ServedModel, served_model
from serving.server import serve


def main() -> None:
    """Run until SIGINT or SIGTERM; what it serves is printed as the settings to copy."""
    settings = load_settings()

    def build() -> Starlette:
        model = served_model(settings.embedder_model_dir)
        sys.stdout.write(_introduction(model, settings.embedder_port))
        sys.stdout.flush()
        return create_embedder(model)

    serve("serving.embedder", settings.embedder_port, "SEDA_EMBEDDER_PORT", build)


def _introduction(model: ServedModel, port: int) -> str:
    lines = (
        "The embedder is up until Ctrl-C; settings of whoever uses it:",
        f"SEDA_EU_EMBEDDER_URL=http://127.0.0.1:{port}/v1",
        f"SEDA_EU_EMBEDDER_MODEL={model.name}",
        f"SEDA_EU_EMBEDDER_DIM={model.dim}",
        f"SEDA_EU_EMBEDDER_VERSION={model.version}",
        f"Health: http://127.0.0.1:{port}/healthz",
    )
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    main()
