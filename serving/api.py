"""`python -m serving.api`: the API on 127.0.0.1, port `SEDA_API_PORT`."""

from fastapi import FastAPI

from seda.database.regions import Databases, Region
from seda.settings import load_settings
from serving.app import create_app
from serving.draining import Draining
from serving.server import serve


def main() -> None:
    """Run until SIGINT or SIGTERM."""
    settings = load_settings()
    databases = Databases(settings)
    draining = Draining(settings.drain_seconds)

    def build() -> FastAPI:
        _ = databases[Region.GLOBAL]  # starts the embedded server, where no URL is set
        return create_app(settings, databases=databases, draining=draining)

    try:
        serve(
            "serving.api",
            settings.api_port,
            "SEDA_API_PORT",
            build,
            draining=draining,
            trusted_proxies=settings.trusted_proxies,
        )
    finally:
        databases.close()


if __name__ == "__main__":
    main()
