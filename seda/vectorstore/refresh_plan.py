"""What a refresh has to do, decided from texts, stored vectors and the queue: pure."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from seda.database.identifiers import Ids
from seda.embeddings.budget import Job
from seda.embeddings.freshness import are_due
from seda.vectorstore.rows import StoredVersions


@dataclass(frozen=True, eq=False)
class RefreshPlan:
    """Positions of the texts to embed by job, most urgent first; and what is stored for nothing."""

    by_job: dict[Job, list[int]] = field(default_factory=dict)
    held: list[int] = field(default_factory=list)
    """Positions that wait in the queue, and whose time to try again has not come."""
    gone: Ids = field(default_factory=lambda: np.empty((0, 16), np.uint8))
    """Ids (n, 16) uint8 that have a vector and no text any more."""

    @property
    def urgent(self) -> list[int]:
        """Positions of new and changed texts."""
        return self.by_job.get(Job.NEW_TEXT, []) + self.by_job.get(Job.CHANGED_TEXT, [])


def plan_refresh(
    ids: Ids,
    content_hashes: Sequence[str],
    stored: StoredVersions,
    held: Mapping[bytes, str],
    *,
    today: int,
    period_days: int,
) -> RefreshPlan:
    """Compare texts `(n, 16) uint8` with what is stored; `today` in days since 1970.

    `held` maps ids to the content hash that may not be tried yet: a changed text may.
    """
    keys = keys_of(ids)
    before = dict(zip(keys_of(stored.ids), stored.content_hashes, strict=True))
    due = set(_due(stored, today, period_days))
    by_job: dict[Job, list[int]] = {Job.NEW_TEXT: [], Job.CHANGED_TEXT: [], Job.RE_EMBED: []}
    waiting: list[int] = []
    for position, (key, content_hash) in enumerate(zip(keys, content_hashes, strict=True)):
        job = _job(before.get(key), content_hash, is_due=key in due)
        if job is None:
            continue
        if held.get(key) == content_hash:
            waiting.append(position)
        else:
            by_job[job].append(position)
    gone = sorted(before.keys() - set(keys))
    return RefreshPlan(
        {job: positions for job, positions in by_job.items() if positions},
        waiting,
        np.frombuffer(b"".join(gone), np.uint8).reshape(-1, 16),
    )


def keys_of(ids: npt.NDArray[np.uint8]) -> list[bytes]:
    """Ids (n, 16) uint8 as keys of a dictionary."""
    flat = np.ascontiguousarray(ids, np.uint8).tobytes()
    return [flat[start : start + 16] for start in range(0, len(flat), 16)]


def _due(stored: StoredVersions, today: int, period_days: int) -> list[bytes]:
    if not len(stored.ids):
        return []
    return keys_of(stored.ids[are_due(stored.ids, stored.computed_days, today, period_days)])


def _job(stored_hash: str | None, content_hash: str, *, is_due: bool) -> Job | None:
    if stored_hash is None:
        return Job.NEW_TEXT
    if stored_hash != content_hash:
        return Job.CHANGED_TEXT
    return Job.RE_EMBED if is_due else None
