"""Ids that are functions of what they name, so that loading the same thing again finds itself."""

import hashlib
import uuid
from collections.abc import Iterable
from typing import Final

import numpy as np

from seda.database.identifiers import Ids

NAMESPACE: Final = uuid.uuid5(uuid.NAMESPACE_DNS, "sandbox.seda.fm")
"""Never change it: every imported or seeded row would get another id."""


def entity_ids(kind: str, keys: Iterable[object]) -> Ids:
    """UUIDv5 of `"{kind}:{key}"` in our namespace (RFC 9562, 5.5), as `(n, 16)` uint8."""
    base = hashlib.sha1(NAMESPACE.bytes + f"{kind}:".encode(), usedforsecurity=False)
    digests = []
    for key in keys:
        digest = base.copy()
        digest.update(str(key).encode())
        digests.append(digest.digest()[:16])
    ids = np.frombuffer(b"".join(digests), np.uint8).reshape(-1, 16).copy()
    ids[:, 6] = (ids[:, 6] & 0x0F) | 0x50
    ids[:, 8] = (ids[:, 8] & 0x3F) | 0x80
    return ids


def id_texts(ids: Ids) -> list[str]:
    """The canonical text of each id; `ids` is `(n, 16)` uint8."""
    text = ids.tobytes().hex()
    return [
        f"{h[:8]}-{h[8:12]}-{h[12:16]}-{h[16:20]}-{h[20:]}"
        for h in (text[start : start + 32] for start in range(0, len(text), 32))
    ]
