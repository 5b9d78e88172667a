"""The registry: challengers wait in shadow, one version is active, a promotion moves no other."""

from datetime import UTC, datetime

import pytest

from seda.database.regions import RegionalDatabase
from seda.registry.models import (
    BLEND,
    ModelVersion,
    NoActiveModelError,
    get_active,
    promote,
    register,
)

NOW = datetime(2026, 11, 1, 3, tzinfo=UTC)
TUNED = ModelVersion(BLEND, "tuned-1", "tuned", {})


def stages(database: RegionalDatabase) -> dict[str, str]:
    with database.transaction() as connection:
        return dict(connection.execute("select version, stage from seda.model_registry").fetchall())


def test_a_registered_version_ranks_nothing_until_it_is_promoted(
    database: RegionalDatabase,
) -> None:
    with database.transaction() as connection:
        register(connection, TUNED, {"inner_ndcg_at_10": {"artist": 0.2}})
        assert get_active(connection, BLEND).version == "linear-design-1"
        promote(connection, BLEND, TUNED.version, now=NOW)
        assert get_active(connection, BLEND) == TUNED
    assert stages(database) == {"linear-design-1": "shadow", "tuned-1": "active"}


def test_registering_again_keeps_the_stage_and_renews_the_figures(
    database: RegionalDatabase,
) -> None:
    with database.transaction() as connection:
        register(connection, TUNED, {"a": 1})
        promote(connection, BLEND, TUNED.version, now=NOW)
        register(connection, TUNED, {"a": 2})
        (metrics,) = connection.execute(
            "select metrics from seda.model_registry where version = 'tuned-1'"
        ).fetchone()
    assert metrics == {"a": 2}
    assert stages(database)["tuned-1"] == "active"


def test_no_active_version_is_a_sentence(database: RegionalDatabase) -> None:
    with database.transaction() as connection:
        connection.execute("update seda.model_registry set stage = 'retired'")
        with pytest.raises(NoActiveModelError, match=r"seda\.model_registry"):
            get_active(connection, BLEND)
