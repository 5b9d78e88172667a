"""The data map: every column of every table has exactly one privacy class.

The map itself is `datamap.toml`, a table per relation; a test walks the database's catalogue and
fails on a column without a class, and on a class for a column that is gone.
"""

import tomllib
from enum import StrEnum
from functools import cache
from pathlib import Path


class PrivacyClass(StrEnum):
    """What a column holds, from the point of view of the person it may be about."""

    IDENTITY = "identity"
    """Tells by itself who a person is: name, e-mail, birthday, avatar."""
    PSEUDONYM = "pseudonym"
    """Stands for a person: our ids, token subjects, provider ids."""
    SECRET = "secret"
    """Opens something in a person's name: tokens, device tokens."""
    CHOICE = "choice"
    """What a person told us: preferences, settings, jobs."""
    BEHAVIOUR = "behaviour"
    """What a person did: listens, joins, impressions, friendships, where they are."""
    DERIVED = "derived"
    """What we computed about a person: taste, lists, assignments."""
    CATALOGUE = "catalogue"
    """About music and rooms, nobody's."""
    OPERATIONAL = "operational"
    """About the platform's own running."""


PERSONAL = frozenset(PrivacyClass) - {PrivacyClass.CATALOGUE, PrivacyClass.OPERATIONAL}


@cache
def data_map() -> dict[str, dict[str, PrivacyClass]]:
    """Relation name → column name → class.

    Raises:
        ValueError: a column has two classes, or a class is unknown.
    """
    text = (Path(__file__).parent / "datamap.toml").read_text()
    classified: dict[str, dict[str, PrivacyClass]] = {}
    for relation, classes in tomllib.loads(text).items():
        columns: dict[str, PrivacyClass] = {}
        for name, members in classes.items():
            for column in members.split():
                if column in columns:
                    raise ValueError(f"datamap.toml: {relation}.{column} has two classes")
                columns[column] = PrivacyClass(name)
        classified[relation] = columns
    return classified


def holds_people(relation: str) -> bool:
    """Whether any column of the relation is personal."""
    return any(kind in PERSONAL for kind in data_map()[relation].values())
