"""What a data engineer does and reads in the Dagster UI, through the GraphQL that the UI asks."""

import json
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import httpx

REPOSITORY = {"repositoryLocationName": "seda", "repositoryName": "__repository__"}
PATIENCE_SECONDS = 900.0
"""How long anything is waited for, on a machine that may be busy."""
ENDED = ("SUCCESS", "FAILURE", "CANCELED")
Found = TypeVar("Found")
Part = tuple[str, str | None]
"""An asset by its path, with slashes, and one of its partitions; None of what has none."""

LAUNCH = """
mutation ($params: ExecutionParams!) { launchRun(executionParams: $params) {
    __typename
    ... on LaunchRunSuccess { run { runId } }
    ... on PythonError { message }
    ... on RunConfigValidationInvalid { errors { message } }
    ... on InvalidSubsetError { message }
    ... on PipelineNotFoundError { message } } }
"""
RUN = """
query ($run: ID!) { runOrError(runId: $run) { ... on Run {
    jobName status startTime endTime assetMaterializations { assetKey { path } partition } } } }
"""
RUNS = """
query ($filter: RunsFilter!) { runsOrError(filter: $filter) { ... on Runs { results {
    runId jobName status } } } }
"""
BACKFILL = """
query ($backfill: String!) { partitionBackfillOrError(backfillId: $backfill) {
    ... on PartitionBackfill { status title description error { message }
        runs { runId status assetMaterializations { assetKey { path } partition } } } } }
"""
FAILURE = """
query ($run: ID!) { logsForRun(runId: $run) { ... on EventConnection { events {
    ... on ExecutionStepFailureEvent { stepKey error {
        message errorChain { error { message } } } } } } } }
"""
SENSOR = """
query ($sensor: SensorSelector!) { sensorOrError(sensorSelector: $sensor) { __typename
    ... on Sensor { sensorState { id status
        ticks(limit: 5) { status timestamp runIds skipReason error { message } } } } } }
"""
START = """
mutation ($sensor: SensorSelector!) { startSensor(sensorSelector: $sensor) { __typename } }
"""
STOP = "mutation ($id: String!) { stopSensor(id: $id) { __typename } }"
ASSETS = """
query { assetNodes { assetKey { path } isMaterializable isPartitioned
    internalFreshnessPolicy { __typename } freshnessStatusInfo { freshnessStatus }
    staleCauses { key { path } category reason }
    assetChecksOrError { ... on AssetChecks { checks { name blocking
        executionForLatestMaterialization { status evaluation { severity } } } } } } }
"""
STALE_PARTS = """
query ($keys: [AssetKeyInput!]!, $shards: [String!]!) { assetNodes(assetKeys: $keys) {
    assetKey { path } staleCausesByPartition(partitions: $shards) {
        key { path } category reason } } }
"""
_ENTRIES = """
    timestamp runId partition metadataEntries { label
        ... on TextMetadataEntry { text } ... on MarkdownMetadataEntry { mdStr }
        ... on IntMetadataEntry { intValue } ... on FloatMetadataEntry { floatValue } }
"""
METADATA = f"""
query ($keys: [AssetKeyInput!]!, $partitions: [String!], $limit: Int) {{
    assetNodes(assetKeys: $keys) {{
        assetMaterializations(partitions: $partitions, limit: $limit) {{ {_ENTRIES} }} }} }}
"""
OBSERVATIONS = f"""
query ($keys: [AssetKeyInput!]!, $limit: Int) {{ assetNodes(assetKeys: $keys) {{
    assetObservations(limit: $limit) {{ description {_ENTRIES} }} }} }}
"""
QUERIES = (
    LAUNCH, RUN, RUNS, BACKFILL, FAILURE, SENSOR, START, STOP, ASSETS, STALE_PARTS, METADATA,
    OBSERVATIONS,
)  # fmt: skip


class DagsterUiError(Exception):
    """The UI refused what was asked, or what was waited for did not come."""


@dataclass(frozen=True)
class Run:
    """One run; `made` are the parts that it materialised, `seconds` how long it executed."""

    id: str
    job: str
    status: str
    seconds: float
    made: frozenset[Part]


@dataclass(frozen=True)
class AssetHealth:
    """An asset as its page tells it: freshness where it has a policy, checks by their status."""

    freshness: str | None
    checks: Mapping[str, str]


class DagsterUi:
    """The UI at a port of this machine."""

    def __init__(self, port: int) -> None:
        self._client = httpx.Client(
            base_url=f"http://127.0.0.1:{port}", timeout=60.0, trust_env=False
        )

    def ask(self, query: str, **variables: Any) -> Any:
        """The answer's data.

        Raises:
            DagsterUiError: GraphQL did not take the question.
        """
        answer = self._client.post("/graphql", json={"query": query, "variables": variables})
        body = answer.json()
        if body.get("errors"):
            raise DagsterUiError(json.dumps(body["errors"])[:2000])
        return body["data"]

    def launch(
        self, job: str, *, assets: Iterable[str] = (), shards: Sequence[str] = (),
        config: Mapping[str, Any] | None = None,
    ) -> str:  # fmt: skip
        """Start a run as the launchpad does; `shards` are a contiguous range of partitions."""
        selector: dict[str, Any] = {**REPOSITORY, "jobName": job}
        if assets:
            selector["assetSelection"] = [_key(each) for each in assets]
        edges = {"start": shards[0], "end": shards[-1]} if shards else {}
        tags = [
            {"key": f"dagster/asset_partition_range_{edge}", "value": shard}
            for edge, shard in edges.items()
        ]
        params = {
            "selector": selector,
            "runConfigData": config or {},
            "executionMetadata": {"tags": tags},
        }
        said = self.ask(LAUNCH, params=params)["launchRun"]
        if said["__typename"] != "LaunchRunSuccess":
            raise DagsterUiError(f"{job}: {json.dumps(said)}")
        return str(said["run"]["runId"])

    def run(self, id: str) -> Run:
        """One run as it is now."""
        said = self.ask(RUN, run=id)["runOrError"]
        began, ended = said["startTime"], said["endTime"]
        return Run(
            id, said["jobName"], said["status"], ended - began if began and ended else 0.0,
            _made(said),
        )  # fmt: skip

    def ended(self, id: str) -> Run:
        """The run when it has ended, however it did."""
        return self.awaited(
            lambda: run if (run := self.run(id)).status in ENDED else None, f"run {id}"
        )

    def runs_of(self, job: str) -> list[str]:
        """Ids of a job's runs, newest first."""
        found = self.ask(RUNS, filter={"pipelineName": job})["runsOrError"]["results"]
        return [each["runId"] for each in found]

    def failed_runs(self) -> list[str]:
        """Ids of all runs that failed."""
        found = self.ask(RUNS, filter={"statuses": ["FAILURE"]})["runsOrError"]["results"]
        return [each["runId"] for each in found]

    def backfill(self, id: str) -> tuple[str, str, frozenset[Part]]:
        """Status, description and what was materialised of a backfill, once it has ended."""

        def ended() -> Any:
            said = self.ask(BACKFILL, backfill=id)["partitionBackfillOrError"]
            return said if said["status"].startswith(("COMPLETED", "FAILED", "CANCELED")) else None

        said = self.awaited(ended, f"backfill {id}")
        made = [_made(run) for run in said["runs"]]
        return said["status"], said["description"], frozenset().union(*made)

    def failure(self, id: str) -> tuple[str, str]:
        """The step of a run that failed first, and the message at the root of it."""
        for event in self.ask(FAILURE, run=id)["logsForRun"]["events"]:
            if event:
                error = event["error"]
                chain = [each["error"]["message"] for each in error["errorChain"]]
                return event["stepKey"], (chain or [error["message"]])[-1].strip()
        raise DagsterUiError(f"no step of {id} failed")

    def sensor(self, name: str) -> dict[str, Any]:
        """State and newest ticks of a sensor."""
        said = self.ask(SENSOR, sensor={**REPOSITORY, "sensorName": name})["sensorOrError"]
        if said["__typename"] != "Sensor":
            raise DagsterUiError(f"no sensor {name}: {said}")
        return dict(said["sensorState"])

    def switch(self, sensor: str, *, on: bool) -> None:
        """Start or stop a sensor."""
        if on:
            self.ask(START, sensor={**REPOSITORY, "sensorName": sensor})
        else:
            self.ask(STOP, id=self.sensor(sensor)["id"])
        status = self.sensor(sensor)["status"]
        if status != ("RUNNING" if on else "STOPPED"):
            raise DagsterUiError(f"the sensor {sensor} is {status}")

    def stale(self, shards: Sequence[str]) -> dict[Part, frozenset[str]]:
        """What is stale, and why, such as `seda/model_registry has a new data version`."""
        nodes = [each for each in self.ask(ASSETS)["assetNodes"] if each["isMaterializable"]]
        found = {(_path(each), None): _why(each["staleCauses"]) for each in nodes}
        keys = [each["assetKey"] for each in nodes if each["isPartitioned"]]
        for each in self.ask(STALE_PARTS, keys=keys, shards=shards)["assetNodes"]:
            for shard, causes in zip(shards, each["staleCausesByPartition"], strict=True):
                found[_path(each), shard] = _why(causes)
        return {part: why for part, why in found.items() if why}

    def health(self) -> dict[str, AssetHealth]:
        """Freshness and checks of every asset that is materialised here."""
        return {
            _path(each): AssetHealth(
                each["freshnessStatusInfo"]["freshnessStatus"]
                if each["internalFreshnessPolicy"] else None,
                dict(_checks(each["assetChecksOrError"]["checks"])),
            )
            for each in self.ask(ASSETS)["assetNodes"]
        }  # fmt: skip

    def metadata(self, asset: str, partitions: Sequence[str] | None = None) -> dict[str, Any]:
        """The newest materialisation's metadata, of these partitions."""
        (node,) = self.ask(METADATA, keys=[_key(asset)], partitions=partitions, limit=1)[
            "assetNodes"
        ]
        newest = node["assetMaterializations"]
        return _entries(newest[0]) if newest else {}

    def observed(self, asset: str, since: float) -> list[dict[str, Any]]:
        """Observations of an asset since a moment (seconds since 1970), with their description."""
        (node,) = self.ask(OBSERVATIONS, keys=[_key(asset)], limit=10)["assetNodes"]
        return [
            {**_entries(each), "description": each["description"]}
            for each in node["assetObservations"]
            if float(each["timestamp"]) / 1000 >= since
        ]

    def awaited(self, look: Callable[[], Found | None], what: str) -> Found:
        """What `look` finds, once it finds something.

        Raises:
            DagsterUiError: it did not in PATIENCE_SECONDS.
        """
        deadline = time.monotonic() + PATIENCE_SECONDS
        while (found := look()) is None:
            if time.monotonic() > deadline:
                raise DagsterUiError(f"{what} did not come within {PATIENCE_SECONDS:.0f} s")
            time.sleep(0.5)
        return found


def _key(asset: str) -> dict[str, list[str]]:
    return {"path": asset.split("/")}


def _path(said: Mapping[str, Any]) -> str:
    return "/".join(said["assetKey"]["path"])


def _made(run: Mapping[str, Any]) -> frozenset[Part]:
    return frozenset((_path(each), each["partition"]) for each in run["assetMaterializations"])


def _why(causes: Iterable[Mapping[str, Any]]) -> frozenset[str]:
    return frozenset(f"{'/'.join(each['key']['path'])} {each['reason']}" for each in causes)


def _checks(checks: Iterable[Mapping[str, Any]]) -> Iterator[tuple[str, str]]:
    for each in checks:
        run = each["executionForLatestMaterialization"]
        status = run["status"] if run else "NOT RUN"
        if status == "FAILED" and run["evaluation"]["severity"] == "WARN":
            status = "WARNED"
        yield each["name"], status


def _entries(event: Mapping[str, Any]) -> dict[str, Any]:
    values = ("text", "mdStr", "intValue", "floatValue")
    return {
        each["label"]: next((each[name] for name in values if each.get(name) is not None), None)
        for each in event["metadataEntries"]
    }
