"""Where a person is on disk under `SEDA_HOME`, for their erasure and their export.

Matrices and exports are on the regions' storages and hold positions, not people, or are dropped
whole with their snapshot; logs are scrubbed. What is left are the files here.
"""

from pathlib import Path
from uuid import UUID

PATTERNS = {"sink/*/pushes/{user_id}.jsonl": "pushes that the local sink took for the person"}
"""Paths below the home → what they hold."""


def personal_files(home: Path, user_id: UUID) -> list[Path]:
    """Every file of a person that is there."""
    return sorted(
        path for pattern in PATTERNS for path in home.glob(pattern.format(user_id=user_id))
    )
