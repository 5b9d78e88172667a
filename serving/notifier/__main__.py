"""`python -m serving.notifier`: pushes; its health on 127.0.0.1, port `SEDA_NOTIFIER_PORT`."""

from seda.database.regions import Databases
from seda.settings import load_settings
from serving.notifier.app import create_notifier
from serving.server import serve


def main() -> None:
    """Run until SIGINT or SIGTERM."""
    settings = load_settings()
    databases = Databases(settings)
    try:
        serve(
            "serving.notifier",
            settings.notifier_port,
            "SEDA_NOTIFIER_PORT",
            lambda: create_notifier(settings, databases),
        )
    finally:
        databases.close()


if __name__ == "__main__":
    main()
