"""How old each cadence's assets may get before the UI warns, and before it fails.

A policy looks at when an asset was last materialised, whatever its partition and rows. Whether each
shard is served recent lists, and sources still receive rows, is for checks (`seda_assets.checks`).
Sources are observed, never materialised, and so have no policy.
"""

from collections.abc import Mapping
from datetime import timedelta
from typing import Final

import dagster as dg

NIGHTLY = dg.FreshnessPolicy.time_window(
    warn_window=timedelta(hours=26), fail_window=timedelta(hours=36)
)
HOURLY = dg.FreshnessPolicy.time_window(
    warn_window=timedelta(minutes=90), fail_window=timedelta(hours=3)
)
POLICIES: Final[Mapping[str, dg.FreshnessPolicy]] = {"nightly": NIGHTLY, "hourly": HOURLY}
"""By the cadence that a job is tagged with; an asset of several jobs has the strictest."""
