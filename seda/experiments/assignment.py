"""Which arm a person is in: a hash of the experiment's name and the person's id, and nothing else.

Stable, independent between experiments (the name is the salt), and the same wherever it is asked:
`seda.arm_of` gives it to SQL.
"""

from collections.abc import Iterable
from hashlib import sha256
from uuid import UUID

import numpy as np
import numpy.typing as npt

CONTROL, CANARY = "control", "canary"
LEAST_SHARE, LARGEST_SHARE = 0.05, 0.10
"""Of the people that a canary may be for."""

_RANGE = 2**32


def arm_of(experiment: str, person: UUID, share: float) -> str:
    """`CANARY` for about `share` of all people, `CONTROL` for the others."""
    return CANARY if _place(experiment, person) < share * _RANGE else CONTROL


def in_canary(experiment: str, people: Iterable[UUID], share: float) -> npt.NDArray[np.bool_]:
    """Bool `(people,)`: who of them is in the canary."""
    return np.array([arm_of(experiment, each, share) == CANARY for each in people], bool)


def _place(experiment: str, person: UUID) -> int:
    return int.from_bytes(sha256(f"{experiment}:{person}".encode()).digest()[:4], "big")
