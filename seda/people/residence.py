"""Which region a person belongs to, by the country that they live in.

The European Economic Area (the EU's 27, Iceland, Liechtenstein and Norway) is `eu`, with the parts
of EU members that have a country code of their own: Åland and France's outermost regions.
"""

from functools import cache
from importlib.resources import files
from typing import Final

from seda.database.regions import Region

EEA: Final = frozenset(
    {
        "AT", "BE", "BG", "CY", "CZ", "DE", "DK", "EE", "ES", "FI", "FR", "GR", "HR", "HU", "IE",
        "IT", "LT", "LU", "LV", "MT", "NL", "PL", "PT", "RO", "SE", "SI", "SK",
        "IS", "LI", "NO",
        "AX", "GF", "GP", "MF", "MQ", "RE", "YT",
    }
)  # fmt: skip


def region_of_country(country: str) -> Region:
    """The region of who lives in a country (ISO 3166-1 alpha-2)."""
    return Region.EU if country in EEA else Region.GLOBAL


@cache
def countries() -> frozenset[str]:
    """All codes of ISO 3166-1 alpha-2, from the time-zone database."""
    table = (files("tzdata") / "zoneinfo" / "iso3166.tab").read_text(encoding="utf-8")
    lines = [line for line in table.splitlines() if line and not line.startswith("#")]
    return frozenset(line.split("\t")[0] for line in lines)
