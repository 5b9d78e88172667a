"""Who takes a push to a device, what may come of it, and the local sink.

A sender answers with an outcome and raises nothing that it can foresee: what to do about it is the
outbox's business.
"""

import json
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Protocol
from uuid import UUID

from seda.database.regions import Region


@dataclass(frozen=True, slots=True)
class Push:
    """One message to one device; `idempotency_key` is the same whenever it is tried again."""

    idempotency_key: UUID
    token: str
    title: str
    body: str
    entity_type: str | None
    entity_id: UUID | None
    expires_at: datetime

    def __repr__(self) -> str:  # a token must not end up in a log
        return f"Push({self.idempotency_key})"


@dataclass(frozen=True, slots=True)
class Delivered:
    """The provider has it."""


@dataclass(frozen=True, slots=True)
class TryLater:
    """Not now; `after` is the provider's wish, and `everybody` says that it is about all pushes."""

    reason: str
    after: timedelta | None = None
    everybody: bool = False


@dataclass(frozen=True, slots=True)
class DeadDevice:
    """The token reaches nobody any more."""

    reason: str


@dataclass(frozen=True, slots=True)
class Refused:
    """This message will never be taken."""

    reason: str


Outcome = Delivered | TryLater | DeadDevice | Refused


class Sender(Protocol):
    """Takes pushes to devices, or to where they can be looked at."""

    def send(self, push: Push) -> Outcome:
        """Try once; it ends within ten seconds."""


@dataclass(frozen=True)
class LocalSink:
    """Writes pushes to `SEDA_HOME/sink/<region>/pushes.jsonl`: no device, no network.

    Neither the token nor the person is written; the key finds the outbox's row.
    """

    home: Path
    region: Region
    clock: Callable[[], datetime]

    @property
    def path(self) -> Path:
        """The file, one JSON object a line."""
        return self.home / "sink" / str(self.region) / "pushes.jsonl"

    def send(self, push: Push) -> Outcome:
        """Append one line; a repeated push is a second line with the same key."""
        line = {
            "sent_at": self.clock().isoformat(),
            "idempotency_key": str(push.idempotency_key),
            "title": push.title,
            "body": push.body,
            "entity_type": push.entity_type,
            "entity_id": None if push.entity_id is None else str(push.entity_id),
        }
        try:
            self.path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            with self.path.open("a") as file:
                file.write(json.dumps(line, ensure_ascii=False) + "\n")
        except OSError as problem:
            return TryLater(f"sink_{type(problem).__name__}")
        return Delivered()
