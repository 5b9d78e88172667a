"""How old each cadence's assets may get before the UI warns, and before it fails."""

from datetime import timedelta

import dagster as dg

NIGHTLY = dg.FreshnessPolicy.time_window(
    warn_window=timedelta(hours=26), fail_window=timedelta(hours=36)
)
HOURLY = dg.FreshnessPolicy.time_window(
    warn_window=timedelta(minutes=90), fail_window=timedelta(hours=3)
)
