"""Tells a person that what they asked for is done: the port, and the local sink.

Any sender of e-mail fits the port. The sink keeps no address: a notice of an erasure would else be
the last trace of who was erased.
"""

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Protocol
from uuid import UUID

from seda.database.regions import Region


@dataclass(frozen=True)
class Notice:
    """One e-mail; `job_id` is the same whenever it is sent again."""

    job_id: UUID
    region: Region
    to: str | None = field(repr=False)
    subject: str
    body: str


class Mailer(Protocol):
    """Takes a notice, or raises OSError where it cannot be taken just now."""

    def send(self, notice: Notice) -> None:
        """Send once; repeated, it may arrive twice."""


@dataclass(frozen=True)
class LocalMail:
    """Writes notices to `SEDA_HOME/sink/<region>/mail/<job id>.json`, without the address."""

    home: Path
    clock: Callable[[], datetime]

    def path_of(self, region: Region, job_id: UUID) -> Path:
        """The notice of a job."""
        return self.home / "sink" / str(region) / "mail" / f"{job_id}.json"

    def send(self, notice: Notice) -> None:
        """Write it whole, over the one before."""
        path = self.path_of(notice.region, notice.job_id)
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        beside = path.with_suffix(".new")
        document = {
            "sent_at": self.clock().isoformat(),
            "had_address": notice.to is not None,
            "subject": notice.subject,
            "body": notice.body,
        }
        beside.write_text(json.dumps(document, ensure_ascii=False))
        beside.replace(path)


def export_notice(job_id: UUID, region: Region, to: str | None, until: datetime) -> Notice:
    """The export can be downloaded."""
    return Notice(
        job_id,
        region,
        to,
        "Your data is ready",
        f"The export you asked for can be downloaded in the app until {until:%d %B %Y %H:%M} UTC.",
    )


def deletion_notice(job_id: UUID, region: Region, to: str | None, scope: str) -> Notice:
    """What was to be deleted is deleted."""
    what = "Your account" if scope == "account" else "What you imported from other services"
    return Notice(
        job_id, region, to, f"{what} has been deleted", f"{what} has been deleted, as you asked."
    )
