"""The domain of seda.fm's recommendation platform; knows nothing of Dagster or FastAPI."""
