"""`seda replay` against a real service: nothing is lost, and only friends hear of it.

`SEDA_TEST_PROFILE=full` asks for the audience among 25,000 people.
"""

import os
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import psycopg
import pytest
import socketio
import uvicorn

from benchmarks.drills.kills import Service, free_port
from seda.database.embedded import EmbeddedServer
from seda.database.regions import Databases, Region
from seda.people.tokens import token_of
from seda.progress import SilentProgress
from seda.sandbox.friend_graphs import seed_friend_graph
from seda.sandbox.replay.crowd import load_crowd
from seda.sandbox.replay.expectation import hearing
from seda.sandbox.replay.intake import RowIntake
from seda.sandbox.replay.replaying import Stage, replay
from seda.sandbox.replay.schedule import Plan, Scenario, make_schedule, one_room_each
from seda.settings import Settings
from tests.cli.cli_runs import invoke_seda

PEOPLE, CLIENTS, RATE = {"full": (25_000, 2500, 2000.0)}.get(
    os.environ.get("SEDA_TEST_PROFILE", "small"), (400, 60, 400.0)
)
LINGER = timedelta(milliseconds=200)


class Town:
    """A friend graph in databases of its own, and a real-time service over them."""

    def __init__(self, databases: Databases, folder: Path) -> None:
        self.databases, self.folder, self.port = databases, folder, free_port()
        seed_friend_graph(databases, people=PEOPLE, rooms=PEOPLE, seed=7, now=datetime.now(UTC))
        self.environment = {
            "SEDA_HOME": str(databases.settings.home),
            "SEDA_DATABASE_URL": databases[Region.GLOBAL].url,
            "SEDA_EU_DATABASE_URL": databases[Region.EU].url,
            "SEDA_REALTIME_PORT": str(self.port),
            "SEDA_PRESENCE_LINGER_MS": str(round(LINGER.total_seconds() * 1000)),
        }
        environment = {**os.environ, **self.environment}
        self.service = Service("serving.realtime", environment, folder / "realtime.log")

    def wait(self) -> None:
        for _ in range(300):
            try:
                socket.create_connection(("127.0.0.1", self.port), timeout=1).close()
                return
            except OSError:
                time.sleep(0.1)
        raise AssertionError((self.folder / "realtime.log").read_text()[-2000:])

    def stage(self, plan: Plan, clients: int, rooms: int, port: int | None = None) -> Stage:
        crowd = load_crowd(self.databases[Region.GLOBAL], rooms)
        viewers = crowd.viewers(clients, plan.seed)
        settings = self.databases.settings
        return Stage(
            url=f"http://127.0.0.1:{port or self.port}",
            crowd=crowd,
            schedule=make_schedule(plan, len(crowd.people), rooms),
            viewers=viewers,
            tokens=[
                token_of(settings, crowd.subs[viewer], timedelta(hours=1), datetime.now(UTC))
                for viewer in viewers
            ],
        )

    def intake(self) -> RowIntake:
        return RowIntake(self.databases[Region.GLOBAL], LINGER)


@pytest.fixture(scope="module")
def town(server: EmbeddedServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Town]:
    worker = os.environ.get("PYTEST_XDIST_WORKER", "main")
    names = {region: f"town_{worker}_{region}" for region in Region}
    with psycopg.connect(server.uri("postgres"), autocommit=True) as connection:
        for region, name in names.items():
            connection.execute(f'create database "{name}" template "template_{region}"')
    folder = tmp_path_factory.mktemp("town")
    settings = Settings(
        _env_file=None,
        home=folder,
        database_url=server.uri(names[Region.GLOBAL]),
        eu_database_url=server.uri(names[Region.EU]),
    )
    town = Town(Databases(settings), folder)
    try:
        town.wait()
        yield town
    finally:
        town.service.stop()


def test_only_friends_of_the_actor_hear_of_it(town: Town) -> None:
    plan = Plan(Scenario.STEADY, RATE, 2 * PEOPLE / RATE, RATE, seed=3, repeats=0)
    stage = town.stage(plan, CLIENTS, PEOPLE)
    stage = replace(stage, schedule=one_room_each(PEOPLE, RATE))
    report = replay(stage, plan, town.intake(), SilentProgress())
    told = report.heard.told
    # A room is a person here: these are exactly the pairs of who hears of whom.
    heard = np.zeros((CLIENTS, PEOPLE), np.int64)
    np.add.at(heard, (told.viewers, told.rooms), told.changes)
    friends = hearing(stage.crowd.graph, stage.viewers).toarray()
    assert friends.sum() > 5 * CLIENTS
    assert np.array_equal(heard, 2 * friends)
    assert report.faithful


def test_the_command_measures_and_writes_its_report(
    town: Town, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    page, plot = tmp_path / "replay.html", tmp_path / "replay.png"
    answer = invoke_seda(
        monkeypatch, tmp_path, "replay", "--clients", 30, "--rate", 60, "--seconds", 1.5,
        "--report", page, "--plot", plot,
        **town.environment,
    )  # fmt: skip
    assert answer.returncode == 0, answer.stderr + answer.stdout
    assert "lost / duplicated" in answer.stdout
    assert "exactly once" in answer.stdout
    assert page.read_text().startswith("<!doctype html>")
    assert plot.read_bytes().startswith(b"\x89PNG")
    with town.databases[Region.GLOBAL].connect() as connection:
        (inside,) = connection.execute("select count(*) from seda.room_presence").fetchone()
    assert inside == 0  # everybody has left again


@contextmanager
def mute_service() -> Iterator[int]:
    """A Socket.IO service that lets everybody in and tells nobody anything; its port."""
    app = socketio.ASGIApp(socketio.AsyncServer(async_mode="asgi"))
    listener = socket.create_server(("127.0.0.1", 0))
    config = uvicorn.Config(app, log_level="critical", lifespan="off", timeout_graceful_shutdown=1)
    running = uvicorn.Server(config)
    thread = threading.Thread(target=running.run, args=([listener],), daemon=True)
    thread.start()
    yield listener.getsockname()[1]
    running.should_exit = True
    thread.join()


def test_a_service_that_tells_nobody_has_lost_everything(town: Town) -> None:
    plan = Plan(Scenario.CONCERT, 200, 0.5, 200, seed=5)
    with mute_service() as port:
        stage = replace(town.stage(plan, 10, 5, port), patience=0.5)
        report = replay(stage, plan, town.intake(), SilentProgress())
    assert report.difference.lost == report.difference.expected > 0
    assert not report.faithful


def test_who_is_deleted_during_a_replay_never_comes_back(town: Town) -> None:
    """Last here, since the town loses people."""
    plan = Plan(Scenario.STEADY, 100.0, 3.0, 100.0, seed=5)
    stage = town.stage(plan, 10, PEOPLE)
    late = stage.schedule.actors[stage.schedule.at > 2.0].tolist()
    gone = [stage.crowd.people[actor] for actor in sorted({*late} - {*stage.viewers.tolist()})[:20]]
    after = "select count(*) from seda.social_events where received_at > %s and user_id {} (%s)"
    moving = threading.Thread(
        target=replay, args=(stage, plan, town.intake(), SilentProgress()), daemon=True
    )
    with town.databases[Region.GLOBAL].connect(autocommit=True) as connection:
        since = connection.execute("select clock_timestamp()").fetchone()
        moving.start()
        while moving.is_alive():
            if (
                connection.execute(after.format("= any"), [*since, stage.crowd.people]).fetchone()[
                    0
                ]
                >= 50
            ):
                break
            time.sleep(0.02)
        deleted = connection.execute(
            "select max(clock_timestamp()) from unnest(%s::uuid[]) as person, "
            "lateral (select seda.withdraw_person(person, now())) as done", [gone],
        ).fetchone()  # fmt: skip
        moving.join()
        assert connection.execute(after.format("= any"), [*deleted, gone]).fetchone() == (0,)
        assert connection.execute(after.format("<> all"), [*deleted, gone]).fetchone()[0] > 50
        assert connection.execute(
            "select count(*) from seda.room_presence where user_id = any (%s)", [gone]
        ).fetchone() == (0,)
