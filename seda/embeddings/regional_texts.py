"""Texts that know whose they are: an EU text cannot be handed to a provider of another region.

The two classes have nothing in common but `Texts`, so that the type checker, too, refuses to pass
one region's texts to the other's provider (SPEC EMB-9).
"""

from dataclasses import dataclass
from typing import TypeAlias, TypeVar

from seda.database.regions import Region
from seda.errors import SedaError


class ForeignTextError(SedaError):
    """Texts of one region met a provider of the other."""


@dataclass(frozen=True, slots=True)
class GlobalTexts:
    """Texts of the global region's catalogue."""

    texts: tuple[str, ...]
    region: Region = Region.GLOBAL


@dataclass(frozen=True, slots=True)
class EuTexts:
    """Texts of the EU region's catalogue: they stay on endpoints in the EU."""

    texts: tuple[str, ...]
    region: Region = Region.EU


RegionalTexts: TypeAlias = GlobalTexts | EuTexts
TextsT = TypeVar("TextsT", GlobalTexts, EuTexts)
TextsT_contra = TypeVar("TextsT_contra", GlobalTexts, EuTexts, contravariant=True)
