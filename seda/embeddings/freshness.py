"""Which vectors have come of age: pure arithmetic over days.

Every vector has an age of its own at which it is embedded again, a third around the period, that
its entity's id and its day decide. So a catalogue that was embedded in one night is re-embedded
over a month, a like share every day, and with every round the shares grow more alike.
"""

import numpy as np
import numpy.typing as npt

from seda.database.identifiers import Ids

PERIOD_DAYS = 45
# SPEC EMB-6: everything is embedded again every 30 to 60 days.
YOUNGEST_DAYS, OLDEST_DAYS = 30, 60


def are_due(
    ids: Ids, computed_days: npt.NDArray[np.int64], today: int, period: int = PERIOD_DAYS
) -> npt.NDArray[np.bool_]:
    """Which of the entities' vectors are to be embedded again, `(n,)` bool.

    `ids` is (n, 16) uint8; `computed_days` (n,) and `today` are days since 1970. A day on which
    nothing ran is caught up on the next.
    """
    return today - computed_days >= ages(ids, computed_days, period)


def ages(
    ids: Ids, computed_days: npt.NDArray[np.int64], period: int = PERIOD_DAYS
) -> npt.NDArray[np.int64]:
    """The age in days at which each vector is due, `(n,)` int64: even around the period."""
    youngest = max(YOUNGEST_DAYS, period - period // 3)
    oldest = min(OLDEST_DAYS, period + period // 3)
    words = np.ascontiguousarray(ids).view("<u8").reshape(-1, 2)
    # Both halves: one of them holds an id's constant version bits.
    mixed = (words[:, 0] ^ words[:, 1]) * np.uint64(0x9E37_79B9_7F4A_7C15)
    # The day belongs in it: fixed ages would all meet on the days that many of them divide.
    mixed = (mixed ^ (mixed >> np.uint64(29)) ^ computed_days.astype(np.uint64)) * np.uint64(
        0xBF58_476D_1CE4_E5B9
    )
    spread = (mixed >> np.uint64(33)) % np.uint64(oldest - youngest + 1)
    return youngest + spread.astype(np.int64)
