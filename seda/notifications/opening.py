"""Which sender a process uses: FCM where its key file is set, else the local sink."""

from collections.abc import Callable
from datetime import datetime

from seda.database.regions import Region
from seda.errors import SedaError
from seda.notifications.fcm import BASE_URL, FcmSender, ServiceAccount
from seda.notifications.senders import LocalSink, Sender
from seda.settings import Settings


class IncompleteFcmSettingsError(SedaError):
    """Some `FCM_*` setting is there, but not the one that it takes."""


def open_sender(settings: Settings, region: Region, clock: Callable[[], datetime]) -> Sender:
    """The sender of a region's pushes.

    Raises:
        IncompleteFcmSettingsError: an `FCM_*` setting is there without the key file.
        UnusableServiceAccountError: the key file cannot be used.
    """
    if settings.fcm_service_account_file is None:
        if settings.fcm_project_id or settings.fcm_base_url:
            raise IncompleteFcmSettingsError(
                "FCM needs a key: set FCM_SERVICE_ACCOUNT_FILE, or no FCM_* setting at all for the "
                "local sink."
            )
        return LocalSink(settings.home_directory(), region, clock)
    account = ServiceAccount.read(settings.fcm_service_account_file, settings.fcm_project_id)
    return FcmSender(account, clock, base_url=settings.fcm_base_url or BASE_URL)
