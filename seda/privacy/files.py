"""The data map of what is not a table: files under `SEDA_HOME` and in the storages, keys in Redis.

A test fails on a file or a key that the services and the graph write and that has no entry here, as
one does on a column without a class.
"""

from fnmatch import fnmatchcase
from pathlib import Path
from typing import Final
from uuid import UUID

from seda.privacy.datamap import PrivacyClass

PATTERNS = {"sink/*/pushes/{user_id}.jsonl": "pushes that the local sink took for the person"}
"""A person's own files: paths below the home → what they hold."""

FILES: Final = {
    "sink/*/pushes/*.jsonl": PrivacyClass.DERIVED,
    "sink/*/pushes/.lock": PrivacyClass.OPERATIONAL,
    # Of a job, without an address.
    "sink/*/mail/*.json": PrivacyClass.OPERATIONAL,
    # Deleted after seven days, and with the person.
    "storage/*/exports/*.zip": PrivacyClass.IDENTITY,
    "storage/*/erasures/*": PrivacyClass.PSEUDONYM,
    "storage/*/audit/head": PrivacyClass.OPERATIONAL,
    # Ids of people by position; a deletion takes the id out.
    "storage/*/interaction_matrices/*": PrivacyClass.BEHAVIOUR,
    "storage/*/taste_vectors/*": PrivacyClass.DERIVED,
    "storage/*/collaborative_factors/*": PrivacyClass.DERIVED,
    "storage/*/*_candidates/*": PrivacyClass.DERIVED,
    "storage/*/candidate_sets/*": PrivacyClass.DERIVED,
    "storage/*/ranked_recommendations/*": PrivacyClass.DERIVED,
    # Weights and trees, fitted on many people; positions of none.
    "storage/*/learned_rankers/*": PrivacyClass.OPERATIONAL,
    "storage/*/entity_clusters/*": PrivacyClass.CATALOGUE,
    "secrets/*": PrivacyClass.OPERATIONAL,
    # They unwrap the data keys of people's tokens.
    "keys/*": PrivacyClass.SECRET,
    "flags.json": PrivacyClass.OPERATIONAL,
    "logs/*": PrivacyClass.OPERATIONAL,
    "run/*": PrivacyClass.OPERATIONAL,
    "dagster/*": PrivacyClass.OPERATIONAL,
    # Looked at table by table, and as bytes.
    "postgres/*": PrivacyClass.OPERATIONAL,
}
"""Paths below the home → class; a region's storage counts as `storage/<region>`, wherever it is."""

KEYS: Final = {
    # Counted under digests with a secret, for a minute.
    "seda:rate/*": PrivacyClass.PSEUDONYM,
    "seda:rate:*": PrivacyClass.PSEUDONYM,
    # Which process passes announcements on.
    "seda:realtime:*": PrivacyClass.OPERATIONAL,
}
"""Keys in Redis → class."""


def personal_files(home: Path, user_id: UUID) -> list[Path]:
    """Every file of a person that is there."""
    return sorted(
        path for pattern in PATTERNS for path in home.glob(pattern.format(user_id=user_id))
    )


def unclassified_files(paths: list[str]) -> list[str]:
    """Of these paths below the home, those without a class."""
    return [path for path in paths if not any(fnmatchcase(path, each) for each in FILES)]


def unclassified_keys(keys: list[str]) -> list[str]:
    """Of these keys in Redis, those without a class."""
    return [key for key in keys if not any(fnmatchcase(key, each) for each in KEYS)]
