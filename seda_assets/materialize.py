"""Runs the graph here and now, in this process, recorded on the same Dagster instance as the UI's.

`python -m seda_assets.materialize [--select KEY …]`; `seda materialize` calls it.
"""

import argparse
import logging
import sys
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain
from uuid import uuid4

warnings.filterwarnings("ignore", category=UserWarning)
warnings.filterwarnings("ignore", message=".*is currently in beta.*")

import dagster as dg  # noqa: E402

from seda.errors import SedaError  # noqa: E402
from seda_assets.automation.jobs import all_shards  # noqa: E402
from seda_assets.definitions import build_definitions  # noqa: E402
from seda_assets.resources import Platform  # noqa: E402


class UnknownAssetError(SedaError):
    """A selection names an asset that does not exist."""


@dataclass(frozen=True)
class GraphRun:
    """What the jobs that were run said, in their order, and how long each took."""

    results: list[dg.ExecuteInProcessResult]
    seconds: dict[str, float]

    @property
    def success(self) -> bool:
        """Whether all of them succeeded."""
        return all(result.success for result in self.results)

    @property
    def events(self) -> Iterator[dg.DagsterEvent]:
        """Every event of every run."""
        return chain.from_iterable(result.all_events for result in self.results)


def materialize_graph(
    platform: Platform,
    instance: dg.DagsterInstance,
    *,
    only: list[str] | None = None,
    told: Callable[[dg.EventLogEntry], None] | None = None,
) -> GraphRun:
    """Observe every source, run the graph over all user shards in one run, then measure it.

    `only` restricts the runs to assets with these names (last part of the key); `told` hears every
    event as it happens. Nothing is measured after a run that failed.
    """
    definitions = build_definitions(platform)
    jobs = [definitions.resolve_job_def(name) for name in ("nightly", "evaluation", "kpis")]
    selections: Sequence[list[dg.AssetKey] | None] = [None, None, None]
    if only:
        selections = _selections(jobs, only)
    else:
        observe = definitions.resolve_job_def("observe_sources")
        observe.execute_in_process(instance=instance)
    run = GraphRun([], {})
    for job, selection in zip(jobs, selections, strict=True):
        if selection == [] or not run.success:
            continue
        run_id, started = str(uuid4()), time.monotonic()
        if told:
            instance.add_event_listener(run_id, told)
        run.results.append(
            job.execute_in_process(
                instance=instance,
                run_id=run_id,
                tags=all_shards(),
                asset_selection=selection,
                raise_on_error=False,
            )
        )
        run.seconds[job.name] = time.monotonic() - started
    return run


def _selections(jobs: list[dg.JobDefinition], only: list[str]) -> list[list[dg.AssetKey]]:
    """Each job's part of the assets with these names."""
    known = [
        {
            key.path[-1]: key
            for key in job.asset_layer.selected_asset_keys
            if job.asset_layer.get(key).is_executable
        }
        for job in jobs
    ]
    names = [name for keys in known for name in keys]
    unknown = sorted(set(only) - set(names))
    if unknown:
        raise UnknownAssetError(
            f"There is no asset named {', '.join(unknown)}; there are {', '.join(sorted(names))}."
        )
    return [[keys[name] for name in only if name in keys] for keys in known]


def _say(entry: dg.EventLogEntry) -> None:
    """One line per finished step, when it finishes."""
    event = entry.dagster_event
    if event and event.is_step_success:
        seconds = event.step_success_data.duration_ms / 1000
        sys.stdout.write(f"  {event.step_key:32s} {seconds:7.1f} s\n")
        sys.stdout.flush()


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--select", nargs="*", help="names of assets; default: all")
    chosen = parser.parse_args().select
    logging.disable(logging.INFO)  # Dagster's own log of every step; ours is shorter
    with dg.DagsterInstance.get() as instance:
        result = materialize_graph(Platform(), instance, only=chosen, told=_say)
    outcome = "materialised" if result.success else "failed"
    parts = ", ".join(f"{job} in {seconds:.0f} s" for job, seconds in result.seconds.items())
    sys.stdout.write(f"The graph {outcome}: {parts}.\n")
    for event in result.events:
        if event.is_step_failure:
            error = event.step_failure_data.error
            while error and error.cause:
                error = error.cause
            sys.stderr.write(f"{event.step_key}: {error.message.strip() if error else ''}\n")
    return 0 if result.success else 1


if __name__ == "__main__":
    try:
        sys.exit(main())
    except SedaError as problem:
        sys.exit(str(problem))
    except KeyboardInterrupt:
        sys.exit(130)
