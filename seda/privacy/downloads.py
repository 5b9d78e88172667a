"""Links to an export: signed, timed, and without anything that says whose it is.

The signature alone opens the file; it is as good as the file, and ends with it.
"""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from itsdangerous import BadData, URLSafeSerializer

from seda.database.regions import Region
from seda.errors import SedaError


class ForgedLinkError(SedaError):
    """A link was not made by us, or was changed."""


class ExpiredLinkError(SedaError):
    """A link's time is over."""


@dataclass(frozen=True)
class DownloadLinks:
    """Makes and reads the token of a link."""

    secret: str
    clock: Callable[[], datetime]

    def seal(self, region: Region, job_id: UUID, until: datetime) -> str:
        """The token, safe in a path."""
        sealed = self._serializer().dumps([str(region), job_id.hex, int(until.timestamp())])
        return sealed if isinstance(sealed, str) else sealed.decode()

    def open(self, token: str) -> tuple[Region, UUID]:
        """The region and the job of a token.

        Raises:
            ForgedLinkError, ExpiredLinkError
        """
        try:
            region, job, until = self._serializer().loads(token)
        except BadData as problem:
            raise ForgedLinkError("This is no link of ours: ask for the job again.") from problem
        if until <= self.clock().timestamp():
            raise ExpiredLinkError("The link is over: ask for a new export.")
        return Region(region), UUID(hex=job)

    def _serializer(self) -> URLSafeSerializer:
        return URLSafeSerializer(self.secret, salt="seda.export")
