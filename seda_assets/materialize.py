"""Runs the graph here and now, in this process, recorded on the same Dagster instance as the UI's.

`python -m seda_assets.materialize [--select KEY …]`; `seda materialize` calls it.
"""

import argparse
import logging
import sys
import time
import warnings

warnings.filterwarnings("ignore", category=UserWarning)
warnings.filterwarnings("ignore", message=".*is currently in beta.*")

import dagster as dg  # noqa: E402

from seda_assets.automation.jobs import all_shards  # noqa: E402
from seda_assets.definitions import build_definitions  # noqa: E402
from seda_assets.resources import Platform  # noqa: E402


def materialize_graph(
    platform: Platform, instance: dg.DagsterInstance, *, only: list[str] | None = None
) -> dg.ExecuteInProcessResult:
    """Observe every source, then run the graph over all user shards in one run.

    `only` restricts the run to assets with these names (last part of the key).
    """
    definitions = build_definitions(platform)
    if not only:
        observe = definitions.resolve_job_def("observe_sources")
        observe.execute_in_process(instance=instance)
    job = definitions.resolve_job_def("nightly")
    selection = None
    if only:
        known = {key.path[-1]: key for key in job.asset_layer.executable_asset_keys}
        selection = [known[name] for name in only]
    return job.execute_in_process(
        instance=instance, tags=all_shards(), asset_selection=selection, raise_on_error=False
    )


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--select", nargs="*", help="names of assets; default: all")
    chosen = parser.parse_args().select
    logging.disable(logging.INFO)  # Dagster's own log of every step; the table below is ours
    started = time.monotonic()
    with dg.DagsterInstance.get() as instance:
        result = materialize_graph(Platform(), instance, only=chosen)
        for stats in instance.get_run_step_stats(result.run_id):
            seconds = (stats.end_time or 0) - (stats.start_time or 0)
            state = stats.status.value.lower() if stats.status else "not run"
            sys.stdout.write(f"  {stats.step_key:32s} {state:8s} {seconds:7.1f} s\n")
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
    sys.exit(main())
