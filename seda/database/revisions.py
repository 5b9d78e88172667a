"""Which migration this code was written for, read from the migrations' files, without Alembic."""

import re
from functools import lru_cache
from pathlib import Path

_VERSIONS = Path(__file__).parent / "migrations" / "versions"
_line = re.compile(r'^(revision|down_revision)\s*(?::[^=]*)?=\s*["\']([^"\']+)["\']', re.MULTILINE)


@lru_cache(maxsize=1)
def head_revision() -> str:
    """The one revision that no other one follows.

    Raises:
        ValueError: there is no such revision, or more than one.
    """
    found: dict[str, set[str]] = {"revision": set(), "down_revision": set()}
    for path in _VERSIONS.glob("*.py"):
        for name, value in _line.findall(path.read_text()):
            found[name].add(value)
    (head,) = found["revision"] - found["down_revision"]
    return head


def is_behind(revision: str | None) -> bool:
    """Whether a database at this revision lacks what the code needs.

    One that is ahead does not: migrations run beside the version before them.
    """
    head = head_revision()
    if revision is None or not revision.isdigit():
        return True
    return int(revision) < int(head)
