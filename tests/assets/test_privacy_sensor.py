"""A request sets off one run, which does what was asked; nothing due sets off none."""

from pathlib import Path

import dagster as dg

from seda.database.regions import Databases, Region
from seda_assets.automation.privacy_sensor import privacy_jobs
from seda_assets.definitions import build_definitions
from seda_assets.resources import Platform


def test_a_deletion_that_is_due_is_worked_on_by_one_run(
    databases: Databases, tmp_path: Path
) -> None:
    # Every table waits for the job that writes them anew.
    platform = Platform(databases.settings.model_copy(update={"rewrite_at_once_mib": 0}))
    with dg.DagsterInstance.ephemeral() as instance:
        context = dg.build_sensor_context(instance=instance, resources={"platform": platform})
        assert isinstance(privacy_jobs(context), dg.SkipReason)
        with platform.databases[Region.EU].transaction() as connection:
            ((person,),) = connection.execute(
                "insert into seda.users (display_name) values ('Ada') returning id"
            )
            connection.execute(
                "insert into seda.privacy_jobs (user_id, kind, scope) "
                "values (%s, 'delete', 'account')",
                [person],
            )
            connection.execute("select seda.withdraw_person(%s, now())", [person])
        assert isinstance(privacy_jobs(context), dg.RunRequest)
        done = (
            build_definitions(platform)
            .resolve_job_def("privacy")
            .execute_in_process(instance=instance)
        )
        assert done.success
        event = instance.get_latest_materialization_event(dg.AssetKey("privacy_requests"))
        assert event is not None
        metadata = event.asset_materialization.metadata
        assert metadata["delete_completed"].value == 1
        assert str(person) not in str(metadata)
        assert metadata["tables_rewritten"].value == 0
        assert isinstance(privacy_jobs(context), dg.SkipReason)
        rewriting = build_definitions(platform).resolve_job_def("rewrite_tables")
        # The write-ahead log is the whole test run's.
        config = {"ops": {"write_tables_anew": {"config": {"renew_log": False}}}}
        for _ in range(2):  # the second one finds nothing to do
            assert rewriting.execute_in_process(instance=instance, run_config=config).success
    with platform.databases[Region.EU].transaction() as connection:
        assert connection.execute("select count(*) from seda.users").fetchone() == (0,)
        actions = connection.execute("select action from seda.audit_log order by id").fetchall()
    assert actions == [("privacy.account_erased",), ("privacy.tables_rewritten",)]
