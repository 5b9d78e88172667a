"""The values that options may take; the domain's own types would cost every `--help` a second."""

from enum import StrEnum


class Profile(StrEnum):
    """Sizes of the sandbox, as in `seda.sandbox.profiles`."""

    SMOKE = "smoke"
    MEDIUM = "medium"
    LARGE = "large"


class RegionName(StrEnum):
    """Regions, as in `seda.database.regions`."""

    GLOBAL = "global"
    EU = "eu"


class EntityType(StrEnum):
    """What is recommended, as in `seda.publishing.cards`."""

    ARTIST = "artist"
    PLAYLIST = "playlist"
    ROOM = "room"


class ReplayScenario(StrEnum):
    """How moves are spread over time, as in `seda.sandbox.replay.schedule`."""

    STEADY = "steady"
    BURST = "burst"
    CONCERT = "concert"


class ReplayWay(StrEnum):
    """How a replay's moves get in."""

    ROWS = "rows"
    API = "api"
