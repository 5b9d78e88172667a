"""`python -m serving.realtime`: Socket.IO on 127.0.0.1, port `SEDA_REALTIME_PORT`."""

import socketio

from seda.database.regions import Databases, Region
from seda.settings import load_settings
from serving.draining import Draining
from serving.realtime.app import create_realtime
from serving.server import serve


def main() -> None:
    """Run until SIGINT or SIGTERM."""
    settings = load_settings()
    databases = Databases(settings)
    draining = Draining(settings.drain_seconds)

    def build() -> socketio.ASGIApp:
        _ = databases[Region.GLOBAL]  # starts the embedded server, where no URL is set
        return create_realtime(settings, databases=databases, draining=draining)

    try:
        serve(
            "serving.realtime",
            settings.realtime_port,
            "SEDA_REALTIME_PORT",
            build,
            draining=draining,
        )
    finally:
        databases.close()


if __name__ == "__main__":
    main()
