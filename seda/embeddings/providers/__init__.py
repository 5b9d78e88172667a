"""One file per provider: a single request to one endpoint; nothing here retries, waits or pays."""
