"""Runs the graph here and now, in this process, recorded on the same Dagster instance as the UI's.

`python -m seda_assets.materialize [--select KEY …]`; `seda materialize` calls it.
"""

import argparse
import logging
import sys
import time
import warnings
from collections.abc import Callable
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


def materialize_graph(
    platform: Platform,
    instance: dg.DagsterInstance,
    *,
    only: list[str] | None = None,
    told: Callable[[dg.EventLogEntry], None] | None = None,
) -> dg.ExecuteInProcessResult:
    """Observe every source, then run the graph over all user shards in one run.

    `only` restricts the run to assets with these names (last part of the key); `told` hears every
    event as it happens.
    """
    definitions = build_definitions(platform)
    if not only:
        observe = definitions.resolve_job_def("observe_sources")
        observe.execute_in_process(instance=instance)
    job = definitions.resolve_job_def("nightly")
    selection = None
    if only:
        known = {key.path[-1]: key for key in job.asset_layer.executable_asset_keys}
        unknown = sorted(set(only) - known.keys())
        if unknown:
            raise UnknownAssetError(
                f"There is no asset named {', '.join(unknown)}; there are {', '.join(known)}."
            )
        selection = [known[name] for name in only]
    run_id = str(uuid4())
    if told:
        instance.add_event_listener(run_id, told)
    return job.execute_in_process(
        instance=instance,
        run_id=run_id,
        tags=all_shards(),
        asset_selection=selection,
        raise_on_error=False,
    )


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
    started = time.monotonic()
    with dg.DagsterInstance.get() as instance:
        result = materialize_graph(Platform(), instance, only=chosen, told=_say)
    outcome = "materialised" if result.success else "failed"
    sys.stdout.write(f"The graph {outcome} in {time.monotonic() - started:.0f} s.\n")
    for event in result.all_events:
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
