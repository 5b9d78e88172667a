"""The Dagster code location: thin wiring of the domain to assets, checks and automation."""
