"""A request sets off one run, which does what was asked; nothing due sets off none. What is
promised is looked at whether anybody asks or not."""

from datetime import UTC, datetime, timedelta
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


def _upkeep(platform: Platform, instance: dg.DagsterInstance) -> dict[str, bool]:
    job = build_definitions(platform).resolve_job_def("privacy_upkeep")
    assert job.execute_in_process(instance=instance).success
    keys = [dg.AssetCheckKey(dg.AssetKey("privacy_promises"), name)
            for name in ("audit_chain", "residency")]  # fmt: skip
    records = map(instance.get_latest_asset_check_evaluation_record, keys)
    return {
        key.name: record.event.asset_check_evaluation.passed
        for key, record in zip(keys, records, strict=True)
    }


def test_what_is_promised_is_kept_where_nobody_asks_for_anything(
    databases: Databases, tmp_path: Path
) -> None:
    now = datetime.now(UTC)
    platform = Platform(databases.settings, now=now)
    database, storage = platform.databases[Region.EU], platform.storages[Region.EU]
    with database.transaction() as connection:
        ((person,),) = connection.execute("insert into seda.users default values returning id")
        ((job,),) = connection.execute(
            "insert into seda.privacy_jobs (user_id, kind, scope, next_attempt_at) "
            "values (%s, 'export', 'account', %s) returning id", [person, now],
        )  # fmt: skip
    with dg.DagsterInstance.ephemeral() as instance:
        assert _upkeep(platform, instance) == {"audit_chain": True, "residency": True}
        assert list(storage.list("exports")) == [f"exports/{job}.zip"]
        # Seven days later: the file goes, and the sensor does not wait for the day's upkeep.
        week = Platform(databases.settings, now=now + timedelta(days=7, minutes=1))
        context = dg.build_sensor_context(instance=instance, resources={"platform": week})
        assert isinstance(privacy_jobs(context), dg.RunRequest)
        assert _upkeep(week, instance)["audit_chain"]
        assert list(storage.list("exports")) == []
        assert isinstance(privacy_jobs(context), dg.SkipReason)
        with platform.databases[Region.GLOBAL].transaction() as connection:
            connection.execute("insert into seda.audit_log (actor, action) values ('a', 'b')")
        assert _upkeep(week, instance)["audit_chain"]
        assert platform.storages[Region.GLOBAL].exists("audit/head")
        # Both are planted, and found.
        with platform.databases[Region.GLOBAL].transaction() as connection:
            connection.execute("set local session_replication_role = replica")
            connection.execute("delete from seda.audit_log")
            connection.execute("insert into seda.user_profiles (user_id) values (%s)", [person])
        assert _upkeep(week, instance) == {"audit_chain": False, "residency": False}
        shown = str(instance.fetch_materializations(dg.AssetKey("privacy_promises"), limit=9))
        assert str(person) not in shown
