"""How large the seeded sandbox is."""

from dataclasses import dataclass
from types import MappingProxyType
from typing import Final


@dataclass(frozen=True)
class SandboxProfile:
    """Sizes of one sandbox. `listened_artists` is the median number of artists of a listener."""

    name: str
    users: int
    artists: int
    playlists: int
    rooms: int
    listened_artists: int = 90
    eu_share: float = 0.10


SMOKE: Final = SandboxProfile("smoke", 300, 1_000, 500, 120, listened_artists=50)
MEDIUM: Final = SandboxProfile("medium", 5_000, 20_000, 20_000, 2_000)
LARGE: Final = SandboxProfile("large", 25_000, 100_000, 100_000, 10_000)

PROFILES: Final = MappingProxyType({one.name: one for one in (SMOKE, MEDIUM, LARGE)})
