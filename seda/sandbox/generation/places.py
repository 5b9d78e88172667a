"""Where the sandbox's listeners live: countries with their time zones, languages and weights."""

from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True)
class Country:
    """An ISO 3166 code, IANA time zones, the languages people choose, and its share of people."""

    code: str
    zones: tuple[str, ...]
    languages: tuple[str, ...]
    weight: float


OUTSIDE_EEA: Final = (
    Country("US", ("America/New_York", "America/Chicago", "America/Los_Angeles"), ("en", "es"), 34),
    Country("GB", ("Europe/London",), ("en",), 14),
    Country("BR", ("America/Sao_Paulo", "America/Manaus"), ("pt", "es"), 11),
    Country("MX", ("America/Mexico_City",), ("es", "en"), 8),
    Country("JP", ("Asia/Tokyo",), ("ja", "en"), 7),
    Country("KR", ("Asia/Seoul",), ("ko", "en"), 6),
    Country("CA", ("America/Toronto", "America/Vancouver"), ("en", "fr"), 6),
    Country("IN", ("Asia/Kolkata",), ("hi", "en"), 5),
    Country("AU", ("Australia/Sydney", "Australia/Perth"), ("en",), 5),
    Country("NG", ("Africa/Lagos",), ("en",), 4),
)
EEA: Final = (
    Country("DE", ("Europe/Berlin",), ("de", "en"), 24),
    Country("FR", ("Europe/Paris",), ("fr", "en"), 18),
    Country("ES", ("Europe/Madrid", "Atlantic/Canary"), ("es", "en"), 14),
    Country("IT", ("Europe/Rome",), ("it", "en"), 12),
    Country("NL", ("Europe/Amsterdam",), ("nl", "en"), 9),
    Country("SE", ("Europe/Stockholm",), ("sv", "en"), 8),
    Country("PL", ("Europe/Warsaw",), ("pl", "en"), 8),
    Country("IE", ("Europe/Dublin",), ("en",), 4),
    Country("NO", ("Europe/Oslo",), ("no", "en"), 3),
)
