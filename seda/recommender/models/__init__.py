"""Models that are fitted on interactions, one file each: a config, a fit, and what it learned."""
