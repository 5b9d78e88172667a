"""A push worker that is killed between sending and settling: `killed_worker.py URL FILE NOW`.

Its provider is a file with the idempotency key of each message that arrived, one a line.
"""

import os
import signal
import sys
from datetime import datetime
from pathlib import Path

from seda.database.regions import Region, RegionalDatabase
from seda.notifications.outbox import deliver_due
from seda.notifications.senders import Outcome, Push


class FileProvider:
    """Takes the message and kills the process, without a chance to clean up."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def send(self, push: Push) -> Outcome:
        with self.path.open("a") as file:
            file.write(f"{push.idempotency_key}\n")
        os.kill(os.getpid(), signal.SIGKILL)
        raise AssertionError("unreachable")


if __name__ == "__main__":
    url, path, now = sys.argv[1:]
    deliver_due(
        RegionalDatabase(Region.GLOBAL, url),
        FileProvider(Path(path)),
        lambda: datetime.fromisoformat(now),
        jitter=lambda: 0.5,
    )
