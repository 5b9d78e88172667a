"""Who takes a push to a device, what may come of it, and the local sink.

A sender answers with an outcome and raises nothing that it can foresee: what to do about it is the
outbox's business.
"""

import fcntl
import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Protocol
from uuid import UUID

from seda.database.regions import Region


@dataclass(frozen=True, slots=True)
class Push:
    """One message to one device; `idempotency_key` is the same whenever it is tried again.

    `user_id` is for the local sink alone: no provider is told whose device it is.
    """

    idempotency_key: UUID
    token: str
    title: str
    body: str
    entity_type: str | None
    entity_id: UUID | None
    expires_at: datetime
    user_id: UUID | None = None

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
    """Writes pushes to `SEDA_HOME/sink/<region>/pushes/<user_id>.jsonl`: no device, no network.

    A file is personal data: of the person in its name, whose erasure deletes it, and of the friends
    that its lines name, which `forget` takes out as the outbox forgets its rows.
    """

    home: Path
    region: Region
    clock: Callable[[], datetime]

    @property
    def folder(self) -> Path:
        """Where the files are, one of each person."""
        return self.home / "sink" / str(self.region) / "pushes"

    def path_of(self, user_id: UUID) -> Path:
        """A person's file, one JSON object a line."""
        return self.folder / f"{user_id}.jsonl"

    def send(self, push: Push) -> Outcome:
        """Append one line; a repeated push is a second line with the same key."""
        if push.user_id is None:
            return Refused("nobody")
        line = {
            "sent_at": self.clock().isoformat(),
            "idempotency_key": str(push.idempotency_key),
            "title": push.title,
            "body": push.body,
            "entity_type": push.entity_type,
            "entity_id": None if push.entity_id is None else str(push.entity_id),
        }
        try:
            self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            with self._alone(), self.path_of(push.user_id).open("a") as file:
                file.write(json.dumps(line, ensure_ascii=False) + "\n")
        except OSError as problem:
            return TryLater(f"sink_{type(problem).__name__}")
        return Delivered()

    def forget(self, before: datetime) -> int:
        """Take out the lines that were written before a time; how many."""
        forgotten = 0
        for path in sorted(self.folder.glob("*.jsonl")):
            with self._alone():
                lines = path.read_text().splitlines(keepends=True)
                kept = [line for line in lines if _written_at(line) >= before]
                if not kept:
                    path.unlink()
                elif len(kept) < len(lines):
                    beside = path.with_suffix(".kept")
                    beside.write_text("".join(kept))
                    beside.replace(path)
            forgotten += len(lines) - len(kept)
        return forgotten

    @contextmanager
    def _alone(self) -> Iterator[None]:
        """No line is written while lines are taken out, whichever process does either."""
        with (self.folder / ".lock").open("w") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            yield


def _written_at(line: str) -> datetime:
    return datetime.fromisoformat(json.loads(line)["sent_at"])
