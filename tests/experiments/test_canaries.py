"""A canary from its start to its end: legal steps only, one at a time, each of them audited."""

import itertools
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import psycopg
import pytest

from seda.database.regions import RegionalDatabase
from seda.experiments.canaries import (
    CanaryError,
    Experiment,
    close_promoted,
    move_aside,
    note_assignments,
    promote_canary,
    roll_back,
    serving_experiment,
    start_canary,
)
from seda.experiments.looks import conclude, look
from seda.experiments.operations import Counters
from seda.publishing.generations import (
    ExperimentOverError,
    drop_unreferenced,
    load_cards,
    load_recommendations,
    open_generation,
    publish,
)
from seda.registry.models import BLEND, ModelVersion, promote, register, registered
from seda.registry.stages import IllegalStageError, Stage
from tests.publishing.publishing_world import (
    LIFETIME,
    card_rows,
    pointers_of,
    published,
    recommendation_rows,
    state_of,
)

NOW = datetime(2026, 11, 1, 12, tzinfo=UTC)
WHO = {"actor": "ops", "now": NOW}
_names = itertools.count()


@pytest.fixture
def connection(database: RegionalDatabase) -> Iterator[psycopg.Connection]:
    """A transaction of which nothing stays."""
    with database.connect() as connection:
        _register(connection)
        yield connection
        connection.rollback()


@pytest.fixture
def committing(database: RegionalDatabase) -> Iterator[psycopg.Connection]:
    with database.connect(autocommit=True) as connection:
        _register(connection)
        yield connection


def _register(connection: psycopg.Connection) -> None:
    for version in ("new-1", "new-2"):
        register(connection, ModelVersion(BLEND, version, "linear", {}), {})


def start(connection: psycopg.Connection, version: str = "new-1", **options) -> Experiment:
    options = {"share": 0.1, "name": f"experiment-{next(_names)}"} | WHO | options
    with connection.transaction():
        return start_canary(connection, version, **options)


def stages(connection) -> dict[str, str]:
    return {each.version: each.stage for each in registered(connection)}


def audited(connection) -> list[tuple]:
    return connection.execute(
        "select actor, action, subject from seda.audit_log order by id"
    ).fetchall()


def test_a_rolled_back_canary_is_a_challenger_again_and_every_step_is_audited(connection) -> None:
    name = start(connection).name
    assert stages(connection)["new-1"] == "canary"
    ended = roll_back(connection, reason="worse", **WHO)
    assert (ended.state, ended.serving, ended.reason) == ("rolled_back", False, "worse")
    assert stages(connection) == {
        "linear-design-1": "active", "new-1": "shadow", "new-2": "shadow",
    }  # fmt: skip
    assert audited(connection)[-4:] == [
        ("ops", "model_stage_changed", "blend new-1"),
        ("ops", "canary_started", name),
        ("ops", "model_stage_changed", "blend new-1"),
        ("ops", "canary_rolled_back", name),
    ]
    with pytest.raises(CanaryError, match="seda model canary"):
        roll_back(connection, reason="again", **WHO)


def test_a_promotion_retires_the_control_and_may_be_taken_back_until_it_is_closed(
    connection,
) -> None:
    start(connection)
    promote_canary(connection, reason="better", **WHO)
    assert stages(connection)["new-1"] == "active"
    assert stages(connection)["linear-design-1"] == "retired"
    with pytest.raises(CanaryError, match="promoted already"):
        promote_canary(connection, reason="again", **WHO)
    with pytest.raises(CanaryError, match="rank again first"):
        start(connection, "new-2")
    roll_back(connection, reason="second thoughts", **WHO)
    assert stages(connection)["linear-design-1"] == "active"
    start(connection)
    promote_canary(connection, reason="better", **WHO)
    assert close_promoted(connection, now=NOW)
    assert serving_experiment(connection) is None
    start(connection, "new-2")


def test_one_canary_at_a_time_of_a_version_in_shadow_for_five_to_ten_percent(connection) -> None:
    for share in (0.01, 0.5):
        with pytest.raises(CanaryError, match="5 to 10 %"):
            start(connection, share=share)
    with pytest.raises(CanaryError, match="lower-case"):
        start(connection, name="Über uns")
    assert stages(connection)["new-1"] == "shadow"  # refused as a whole
    with pytest.raises(IllegalStageError, match="is active and cannot become canary"):
        start(connection, "linear-design-1")
    with pytest.raises(IllegalStageError, match="seda model list"):
        start(connection, "nothing")
    name = start(connection).name
    with pytest.raises(CanaryError, match="roll it back first"):
        start(connection, "new-2")
    roll_back(connection, reason="x", **WHO)
    with pytest.raises(CanaryError, match="was not used before"):
        start(connection, name=name)


def test_what_ranks_is_not_retired_and_what_is_retired_may_come_back(connection) -> None:
    start(connection)
    for version in ("new-1", "linear-design-1"):
        with pytest.raises(CanaryError, match="and ranks"):
            move_aside(connection, version, Stage.RETIRED, reason="x", **WHO)
    move_aside(connection, "new-2", Stage.RETIRED, reason="old", **WHO)
    with pytest.raises(IllegalStageError, match="retired and cannot become retired"):
        move_aside(connection, "new-2", Stage.RETIRED, reason="old", **WHO)
    move_aside(connection, "new-2", Stage.SHADOW, reason="new", **WHO)
    assert stages(connection)["new-2"] == "shadow"


def test_evaluation_promotes_nothing_while_a_canary_is_compared(connection) -> None:
    start(connection)
    promote(connection, BLEND, "new-2", now=NOW)
    assert stages(connection)["linear-design-1"] == "active"
    roll_back(connection, reason="x", **WHO)
    promote(connection, BLEND, "new-2", now=NOW)
    assert stages(connection)["new-2"] == "active"
    move_aside(connection, "new-1", Stage.RETIRED, reason="people said so", **WHO)
    promote(connection, BLEND, "new-1", now=NOW)
    assert stages(connection)["new-2"] == "active"


def canary_generation(database: RegionalDatabase, shard: str, experiment: str) -> int:
    generation = open_generation(
        database, shard=shard, model_version="new-1", run_id="run", data_versions={}, now=NOW,
        experiment=experiment,
    )  # fmt: skip
    load_recommendations(database, generation, recommendation_rows())
    load_cards(database, generation, card_rows())
    return generation


def test_its_arm_is_served_until_the_rollback_and_the_controls_lists_stay(
    database, committing
) -> None:
    shard = "global-00"
    control = published(database, shard)
    experiment = start(committing).name
    kinds = ("room", "playlist", "artist")
    # Nothing is ranked yet: the control's lists for both arms.
    assert pointers_of(committing, shard, "canary") == dict.fromkeys(kinds, control)
    generation = canary_generation(database, shard, experiment)
    arm = {"entity_types": kinds, "arm": "canary", "experiment": experiment, "now": NOW}
    publish(database, generation, **arm)
    assert pointers_of(committing, shard, "canary") == dict.fromkeys(kinds, generation)
    late = canary_generation(database, shard, experiment)
    with committing.transaction():
        roll_back(committing, reason="worse", **WHO)
    with pytest.raises(ExperimentOverError):  # a night that was under way
        publish(database, late, **arm)
    assert pointers_of(committing, shard, "canary") == {}
    assert pointers_of(committing, shard) == dict.fromkeys(kinds, control)
    assert state_of(committing, generation) == "superseded"
    later = NOW + 2 * LIFETIME
    dropped = drop_unreferenced(database, now=later, cursor_lifetime=LIFETIME).dropped
    assert generation in dropped
    assert control not in dropped


def test_who_was_in_it_is_kept_for_their_own_export(connection) -> None:
    connection.execute(
        "insert into seda.users (id) select gen_random_uuid() from generate_series(1, 300)"
    )
    experiment = start(connection)
    noted = note_assignments(connection, experiment, (0, 64), now=NOW)
    assert 10 < noted < 60
    assert note_assignments(connection, experiment, (0, 64), now=NOW) == 0
    assert connection.execute(
        "select count(*) from seda.experiment_assignments where experiment = %s "
        "and arm = 'canary' and seda.arm_of(%s, user_id, 0.1) = 'canary'",
        [experiment.name, experiment.name],
    ).fetchone() == (noted,)


def _asked_for(requests: int) -> Counters:
    arm = "global/canary"
    return Counters({arm: {"+Inf": requests}}, {arm: requests}, {arm: 0})


def test_a_look_reads_and_a_concluded_one_is_noted_and_rolls_back(database, committing) -> None:
    assert look(database, Counters(), now=NOW) is None
    published(database, "global-01")
    experiment = start(committing)
    generation = canary_generation(database, "global-01", experiment.name)
    publish(database, generation, entity_types=["room"], arm="canary",
            experiment=experiment.name, now=NOW)  # fmt: skip
    # Its lists are of people whom nobody knows.
    first = look(database, _asked_for(70), now=NOW)
    assert "privacy" in first.judgement.rollback
    assert committing.execute("select count(*) from seda.canary_looks").fetchone() == (0,)
    assert not conclude(database, first, automatic=False)
    assert serving_experiment(committing) is not None
    later = NOW + timedelta(minutes=10)
    again = look(database, _asked_for(100), now=later)
    (api,) = [gate for gate in again.judgement.gates if gate.name == "api_p95"]
    assert api.reason == "30 of at least 200"  # since the look that was noted
    assert conclude(database, again, automatic=True)
    assert serving_experiment(committing) is None
    assert not conclude(database, again, automatic=True)  # it is over: nothing more to do
    assert ("canary gate", "canary_rolled_back", experiment.name) in audited(committing)
    noted = committing.execute(
        "select decision, rolled_back, jsonb_array_length(gates) from seda.canary_looks "
        "order by looked_at"
    ).fetchall()
    assert [row[:2] for row in noted] == [("fail", False), ("fail", True)]
    assert {row[2] for row in noted} == {len(again.judgement.gates)}
