"""From which moment on a run's lists must know what people hid and who left."""

import time
from uuid import uuid4

import dagster as dg

from seda_assets.assets.read_models import begun


def _run(instance: dg.DagsterInstance, after: dg.DagsterRun | None = None, **tags: str):
    run = dg.DagsterRun(
        job_name="nightly",
        run_id=str(uuid4()),
        tags=tags,
        parent_run_id=after.run_id if after else None,
        root_run_id=(after.root_run_id or after.run_id) if after else None,
    )
    time.sleep(0.002)  # moments are kept in milliseconds
    return instance.add_run(run)


def _created(instance: dg.DagsterInstance, run: dg.DagsterRun) -> float:
    record = instance.get_run_record_by_id(run.run_id)
    assert record is not None
    return record.create_timestamp.timestamp()


def test_only_a_run_that_goes_on_where_another_failed_began_with_that_one() -> None:
    with dg.DagsterInstance.ephemeral() as instance:
        night = _run(instance)
        repeated = _run(instance, night)
        resumed = _run(instance, repeated, **{"dagster/resume_retry": "true"})
        again = _run(instance, resumed, **{"dagster/resume_retry": "true"})
        at = [begun(instance, run).timestamp() for run in (night, repeated, resumed, again)]
        assert at[0] == _created(instance, night)
        assert at[1:] == [_created(instance, repeated)] * 3 != [at[0]] * 3
