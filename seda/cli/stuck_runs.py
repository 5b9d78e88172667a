"""Ends Dagster runs that a killed process left "in progress": they would fill the queue for ever.

Dagster's default launcher cannot ask whether a run's process is alive, and only this supervisor
knows that nobody else executes runs here.
"""

import http.client
import json
from typing import Any

from seda.cli.readiness import HOST

_SECONDS = 30.0
_IN_PROGRESS = """
query { runsOrError(filter: {statuses: [STARTING, STARTED, CANCELING]}) {
    ... on Runs { results { runId } } } }
"""
_END = """
mutation ($run: String!) {
    terminateRun(runId: $run, terminatePolicy: MARK_AS_CANCELED_IMMEDIATELY) { __typename } }
"""
_LIMIT = """
mutation ($pool: String!, $limit: Int!) {
    setConcurrencyLimit(concurrencyKey: $pool, limit: $limit) }
"""


def end_stuck_runs(port: int) -> list[str]:
    """Mark every run in progress as cancelled, through the UI's GraphQL; returns their ids."""
    found = _ask(port, _IN_PROGRESS, {})["runsOrError"].get("results", [])
    runs = [str(run["runId"]) for run in found]
    for run in runs:
        _ask(port, _END, {"run": run})
    return runs


def limit_pool(port: int, pool: str, limit: int) -> None:
    """Say how many runs of a pool may be in progress: of one that nobody has limited, Dagster would
    start all that wait at once the first time."""
    _ask(port, _LIMIT, {"pool": pool, "limit": limit})


def _ask(port: int, query: str, variables: dict[str, str | int]) -> dict[str, Any]:
    connection = http.client.HTTPConnection(HOST, port, timeout=_SECONDS)
    try:
        connection.request(
            "POST",
            "/graphql",
            json.dumps({"query": query, "variables": variables}),
            {"Content-Type": "application/json"},
        )
        answer = json.loads(connection.getresponse().read())
    finally:
        connection.close()
    data: dict[str, Any] = answer["data"]
    return data
