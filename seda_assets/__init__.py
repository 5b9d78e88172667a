"""The Dagster code location: thin wiring of the domain in `seda` to assets, checks and automation."""
