"""Tells a person that what they asked for is done: by e-mail, or into the local sink.

The sink keeps no address: a notice of an erasure would else be the last trace of who was erased.
"""

import json
import smtplib
import ssl
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from email.message import EmailMessage
from pathlib import Path
from typing import Final, Protocol
from urllib.parse import unquote, urlsplit
from uuid import UUID

from pydantic import SecretStr

from seda.database.regions import Region
from seda.errors import SedaError
from seda.settings import Settings

_SECONDS: Final = 10
_HERE: Final = frozenset({"127.0.0.1", "::1", "localhost"})


class MailSettingError(SedaError):
    """The mail server's address cannot be used."""


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


@dataclass(frozen=True)
class SmtpMail:
    """Sends notices through a mail server: `smtp://` turns to TLS before it says anything, save to
    this machine; `smtps://` begins with it. Who has no address is told nothing.

    Raises:
        MailSettingError: the address is of another kind.
    """

    url: SecretStr
    sender: str

    def __post_init__(self) -> None:
        parts = urlsplit(self.url.get_secret_value())
        if parts.scheme not in ("smtp", "smtps") or not parts.hostname:
            raise MailSettingError("SEDA_SMTP_URL is smtp://[user:password@]host[:port], or smtps.")

    def send(self, notice: Notice) -> None:
        """Hand it over; the server may know one that is sent again by its Message-ID.

        Raises:
            OSError: the server does not take it, or offers no TLS.
        """
        if notice.to is None:
            return
        message = EmailMessage()
        message["From"], message["To"], message["Subject"] = self.sender, notice.to, notice.subject
        message["Message-ID"] = f"<{notice.job_id}@seda.privacy>"
        message.set_content(notice.body)
        with self._connected() as server:
            server.send_message(message)

    def _connected(self) -> smtplib.SMTP:
        parts = urlsplit(self.url.get_secret_value())
        host, port = parts.hostname or "", parts.port
        secure = ssl.create_default_context()
        if parts.scheme == "smtps":
            server: smtplib.SMTP = smtplib.SMTP_SSL(host, port or 465, timeout=_SECONDS,
                                                    context=secure)  # fmt: skip
        else:
            server = smtplib.SMTP(host, port or 587, timeout=_SECONDS)
            if host not in _HERE:
                server.starttls(context=secure)
        if parts.username:
            server.login(unquote(parts.username), unquote(parts.password or ""))
        return server


def open_mailer(settings: Settings, clock: Callable[[], datetime]) -> Mailer:
    """What the settings name: a mail server, or the local sink."""
    if settings.smtp_url is None:
        return LocalMail(settings.home_directory(), clock)
    return SmtpMail(settings.smtp_url, settings.mail_from)


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
