"""Exports as they lie in the regions' storages, for whoever holds a link to one."""

from datetime import timedelta
from functools import cached_property
from typing import TYPE_CHECKING

from seda.database.regions import Region
from seda.settings import Settings

if TYPE_CHECKING:
    from seda.database.storage import RegionalStorage


class ExportFiles:
    """Opens the storages when the first export is asked for; blocking, so called in a thread."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings

    @cached_property
    def _storages(self) -> "dict[Region, RegionalStorage]":
        from seda.database.storage import storages  # with numpy, which nothing else here needs

        return storages(self._settings)

    def signed_url(self, region: Region, key: str, lifetime: timedelta) -> str | None:
        """The storage's own link, where it makes such; None where the API sends the file."""
        return self._storages[region].signed_url(key, lifetime)

    def read(self, region: Region, key: str) -> bytes | None:
        """The file; None where it is no more."""
        from seda.database.storage import NotStoredError

        try:
            return self._storages[region].get_bytes(key)
        except NotStoredError:
            return None
