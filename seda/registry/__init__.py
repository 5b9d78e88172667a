"""Model versions and their stages; which one ranks now."""
