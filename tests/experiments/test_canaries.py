"""A canary from its start to its end: legal steps only, one at a time, each of them audited."""

import itertools
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from functools import partial

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


def test_a_promotions_arm_stays_until_every_shard_serves_its_version(database, committing) -> None:
    shards = [published(database, shard) and shard for shard in ("global-00", "global-01")]
    start(committing)
    with committing.transaction():
        promote_canary(committing, reason="better", **WHO)
    for number, shard in enumerate(shards):
        with committing.transaction():
            assert not close_promoted(committing, now=NOW)
        assert serving_experiment(committing) is not None
        night = open_generation(database, shard=shard, model_version="new-1", run_id="run",
                                data_versions={}, now=NOW)  # fmt: skip
        load_recommendations(database, night, recommendation_rows())
        load_cards(database, night, card_rows())
        publish(database, night, entity_types=("room", "playlist", "artist"), now=NOW)
        assert len(pointers_of(committing, shard, "canary")) == 3, number
    with committing.transaction():
        assert close_promoted(committing, now=NOW)
    assert pointers_of(committing, shards[0], "canary") == {}
    _reset(committing)


def _reset(connection: psycopg.Connection) -> None:
    """The registry as the other tests find it."""
    with connection.transaction():
        connection.execute("delete from seda.canary_looks")
        connection.execute("delete from seda.generation_pointer")
        connection.execute("update seda.model_registry set stage = 'shadow'")
        connection.execute(
            "update seda.model_registry set stage = 'active' where version = 'linear-design-1'"
        )


def _at_once(database: RegionalDatabase, *steps: Callable[[psycopg.Connection], object]) -> list:
    """Each step in a transaction of its own, all at the same time; what became of them."""
    together = threading.Barrier(len(steps))

    def take(step: Callable[[psycopg.Connection], object]) -> object:
        with database.connect() as connection:
            connection.execute("select 1")
            together.wait(30)
            try:
                done = step(connection)
                connection.commit()
            except Exception as problem:
                return problem
            return done

    with ThreadPoolExecutor(len(steps)) as pool:
        return list(pool.map(take, steps))


def test_of_two_canaries_at_once_one_begins_and_the_other_is_told_of_it(
    database, committing
) -> None:
    for turn in range(5):
        done = _at_once(database, *(
            partial(start_canary, version=version, share=0.1, name=f"two-{turn}-{version}", **WHO)
            for version in ("new-1", "new-2")
        ))  # fmt: skip
        (begun,) = [each for each in done if isinstance(each, Experiment)]
        (refused,) = [each for each in done if isinstance(each, Exception)]
        assert isinstance(refused, CanaryError)
        assert f"{begun.canary_version} is a canary here" in str(refused)
        assert sorted(stages(committing).values()) == ["active", "canary", "shadow"]
        with committing.transaction():
            roll_back(committing, reason="x", **WHO)


def test_steps_that_meet_leave_one_active_version_and_a_control_that_ranks(
    database, committing
) -> None:
    published(database, "global-02")
    for turn in range(5):
        _at_once(
            database,
            partial(start_canary, version="new-1", share=0.1, name=f"meets-{turn}", **WHO),
            partial(promote, name=BLEND, version="new-2", now=NOW),
        )
        experiment = serving_experiment(committing)
        now = stages(committing)
        assert [each for each, stage in now.items() if stage == "active"] == [
            experiment.control_version
        ]
        # A look that concludes while somebody takes the canary back by hand, or promotes it.
        leaking = canary_generation(database, "global-02", experiment.name)
        publish(database, leaking, entity_types=["room"], arm="canary",
                experiment=experiment.name, now=NOW)  # fmt: skip
        found = look(database, Counters(), now=NOW)
        assert found.judgement.rollback
        done = _at_once(
            database,
            lambda _, found=found: conclude(database, found, automatic=True),
            partial(roll_back, reason="by hand", **WHO),
        )
        assert not any(isinstance(each, Exception) and not isinstance(each, CanaryError)
                       for each in done)  # fmt: skip
        assert isinstance(done[0], bool), done
        assert serving_experiment(committing) is None
        _reset(committing)


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
