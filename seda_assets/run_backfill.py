"""Runs a backfill here and now, or asks the Dagster that is up for it.

`python -m seda_assets.run_backfill [--model V] [--shards KEY …] [--dry-run] [--ui PORT]`;
`seda backfill` calls it.
"""

import argparse
import http.client
import json
import logging
import sys
import warnings
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

warnings.filterwarnings("ignore", category=UserWarning)
warnings.filterwarnings("ignore", message=".*is currently in beta.*")

import dagster as dg  # noqa: E402

from seda.errors import SedaError  # noqa: E402
from seda_assets.automation.jobs import BACKFILL_TAGS, model_backfill  # noqa: E402
from seda_assets.backfills import Backfill, PlannedRun, plan_backfill, runs_of  # noqa: E402
from seda_assets.definitions import build_definitions  # noqa: E402
from seda_assets.resources import Platform  # noqa: E402

_SECONDS = 60.0
LAUNCH = """
mutation ($params: LaunchBackfillParams!) {
    launchPartitionBackfill(backfillParams: $params) {
        __typename
        ... on LaunchBackfillSuccess { backfillId }
        ... on PythonError { message }
        ... on UnauthorizedError { message }
        ... on PartitionKeysNotFoundError { message }
    } }
"""


class BackfillRefusedError(SedaError):
    """The Dagster that is up did not take the backfill."""


@dataclass
class BackfillRun:
    """What was run, in order, and the runs of it that failed."""

    done: list[PlannedRun] = field(default_factory=list)
    failed: list[tuple[PlannedRun, str]] = field(default_factory=list)

    @property
    def success(self) -> bool:
        """Whether nothing failed."""
        return not self.failed


def plan(
    platform: Platform,
    instance: dg.DagsterInstance,
    *,
    model: str | None = None,
    shards: Sequence[str] = (),
) -> Backfill:
    """What is left to do, over the graph as this process has it."""
    definitions = build_definitions(platform)
    job = definitions.resolve_job_def(model_backfill.name)
    return plan_backfill(
        platform, instance, definitions.resolve_asset_graph(),
        job.asset_layer.selected_asset_keys, model=model, shards=shards,
    )  # fmt: skip


def run_backfill(
    platform: Platform, instance: dg.DagsterInstance, backfill: Backfill
) -> BackfillRun:
    """Run it in this process, one run after another, each recorded by Dagster.

    A run of one shard that fails leaves the others to be done; what they all share does not.
    """
    job = build_definitions(platform).resolve_job_def(model_backfill.name)
    told = BackfillRun()
    runs = runs_of(backfill, list(platform.shards), one=platform.settings.runs == "one")
    for number, each in enumerate(runs, start=1):
        _say(f"Run {number} of {len(runs)}: {len(each.assets)} assets, {_covered(each)}.")
        result = job.execute_in_process(
            instance=instance, tags={**BACKFILL_TAGS, **each.tags},
            asset_selection=list(each.assets), raise_on_error=False,
        )  # fmt: skip
        if result.success:
            told.done.append(each)
            continue
        told.failed.append((each, _problem(result)))
        if each.shards is None:
            break
    return told


def launch(backfill: Backfill, port: int, title: str) -> str:
    """Ask the Dagster whose UI is at this port for it; returns the id of the backfill there.

    Raises:
        BackfillRefusedError: with what Dagster said.
    """
    asset: list[dict[str, object]] = [
        {"assetKey": {"path": list(key.path)}} for key in sorted(backfill.shared)
    ]
    ranges = {"ranges": [{"start": key, "end": key} for key in backfill.shards]}
    asset += [
        {"assetKey": {"path": list(key.path)}, "partitions": ranges}
        for key in sorted(backfill.by_shard)
    ]
    params = {
        "partitionsByAssets": asset,
        "title": title,
        "description": " ".join(backfill.reasons),
        "tags": [{"key": key, "value": value} for key, value in BACKFILL_TAGS.items()],
    }
    said = _ask(port, params)
    if said["__typename"] != "LaunchBackfillSuccess":
        raise BackfillRefusedError(
            f"Dagster did not take the backfill ({said.get('message', said['__typename'])}): look "
            "at the UI, or leave out --ui to run it here."
        )
    return str(said["backfillId"])


def _ask(port: int, params: dict[str, Any]) -> dict[str, Any]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=_SECONDS)
    body = json.dumps({"query": LAUNCH, "variables": {"params": params}})
    try:
        connection.request("POST", "/graphql", body, {"Content-Type": "application/json"})
        answer = json.loads(connection.getresponse().read())
    except OSError as problem:
        raise BackfillRefusedError(
            f"No Dagster UI answers at port {port} ({problem}): start `seda up`."
        ) from problem
    finally:
        connection.close()
    if answer.get("errors"):
        raise BackfillRefusedError(f"Dagster did not take the backfill: {answer['errors']}.")
    said: dict[str, Any] = answer["data"]["launchPartitionBackfill"]
    return said


def _problem(result: dg.ExecuteInProcessResult) -> str:
    for event in result.all_events:
        if event.is_step_failure:
            error = event.step_failure_data.error
            while error and error.cause:
                error = error.cause
            return f"{event.step_key}: {error.message.strip() if error else 'failed'}"
    return "the run failed"


def _covered(run: PlannedRun) -> str:
    if run.shards is None:
        return "of all shards"
    first, last = run.shards
    return f"shard {first}" if first == last else f"shards {first} to {last}"


def _counted(count: int, what: str) -> str:
    return f"{count} {what}{'' if count == 1 else 's'}"


def _say(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


def _tell(backfill: Backfill) -> None:
    for reason in backfill.reasons:
        _say(f"- {reason}")
    names = sorted(key.to_user_string() for key in backfill.shared | backfill.by_shard)
    shards = f" for {_counted(len(backfill.shards), 'shard')}" if backfill.shards else ""
    _say(f"To be computed{shards}: {', '.join(names)}.")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model")
    parser.add_argument("--shards", nargs="*", default=[])
    parser.add_argument("--dry-run", action="store_true")
    parser.add_argument("--ui", type=int, help="port of a Dagster that is up")
    asked = parser.parse_args()
    logging.disable(logging.INFO)  # Dagster's own log of every step; the UI has it
    platform = Platform()
    with dg.DagsterInstance.get() as instance:
        backfill = plan(platform, instance, model=asked.model, shards=asked.shards)
        if backfill.is_empty:
            _say("Nothing to do: every list is the active model's.")
            return 0
        _tell(backfill)
        if asked.dry_run:
            return 0
        if asked.ui is not None:
            title = f"Backfill of {_counted(len(backfill.shards), 'shard')}"
            id = launch(backfill, asked.ui, title)
            _say(f"Dagster runs it: http://127.0.0.1:{asked.ui}/runs/b/{id}")
            return 0
        told = run_backfill(platform, instance, backfill)
    for run, problem in told.failed:
        sys.stderr.write(f"Failed for {_covered(run)}: {problem}\n")
    _say(f"{_counted(len(told.done), 'run')} done, {len(told.failed)} failed.")
    return 0 if told.success else 1


if __name__ == "__main__":
    try:
        sys.exit(main())
    except SedaError as problem:
        sys.exit(str(problem))
    except KeyboardInterrupt:
        sys.exit(130)
