"""When things run: partitions, jobs, schedules, sensors and freshness policies."""
