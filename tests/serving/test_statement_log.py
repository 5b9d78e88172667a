"""Whose rights the API's statements run with, as the database's own log tells.

Every statement of the API's login that reads or writes the schema stands in a transaction that has
become `authenticated` before; the exceptions are named here.
"""

import re
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from seda.database.embedded import EmbeddedServer
from seda.database.regions import Region
from tests.serving.serving_world import World, open_api

# What the login asks by itself: numbers of nobody, by definer functions made for it.
BY_THE_LOGIN = ("seda.embedding_health(", "seda.schema_revision(", "seda.record_pages(")
# One line a statement: session, its transaction, the login, the statement.
PREFIX = "seda-audit <%c> <%u@%d> "
_statement = re.compile(
    r"^seda-audit <(?P<session>[^>]+)> <seda_api@(?P<database>[^>]*)> LOG: +"
    r"(?:statement|execute [^:]*): (?P<sql>.*?)(?=^seda-audit|\Z)",
    re.MULTILINE | re.DOTALL,
)
_BECOMES = re.compile(r"set_config\('role', 'authenticated', true\)")
_TOUCHES = re.compile(r"\bseda\.")
_ENDS = re.compile(r"^\s*(commit|rollback|begin)\b", re.IGNORECASE)


@pytest.fixture
def audited(server: EmbeddedServer, world: World) -> Iterator[Path]:
    """The server's log, which tells every statement of the API's login while the test runs."""
    with psycopg.connect(server.uri("postgres"), autocommit=True) as connection:
        connection.execute(f"alter system set log_line_prefix = '{PREFIX}'")
        connection.execute("alter role seda_api set log_statement = 'all'")
        connection.execute("select pg_reload_conf()")
        yield server.data_directory / "log"
        connection.execute("alter role seda_api reset log_statement")
        connection.execute("alter system reset log_line_prefix")
        connection.execute("select pg_reload_conf()")


def unclaimed(log: str, databases: set[str]) -> tuple[list[str], int]:
    """Statements on the schema outside of a person's transaction, and how many were inside."""
    person: dict[str, bool] = {}
    outside: list[str] = []
    inside = 0
    for found in _statement.finditer(log):
        session, sql = found["session"], found["sql"]
        if found["database"] not in databases:
            continue  # other tests share the server
        if _ENDS.match(sql):
            person[session] = False
        elif _BECOMES.search(sql):
            if _TOUCHES.search(sql):  # it takes the role itself, for itself alone
                inside += 1
            else:
                person[session] = True
        elif _TOUCHES.search(sql):
            if person.get(session):
                inside += 1
            elif not any(allowed in sql for allowed in BY_THE_LOGIN):
                outside.append(sql)
    return outside, inside


async def test_every_statement_runs_as_the_person_who_asked(world: World, audited: Path) -> None:
    ada, eva = world.person("Ada", genres=("techno",)), world.person("Eva", Region.EU)
    rooms = world.entities("room", 4)
    world.publish(eva, rooms)
    world.genre_list("techno", rooms)
    began = audited.stat().st_size
    async with open_api(world) as api:
        paths = (await api.client.get("/openapi.json")).json()["paths"]
        card = (await api.page("/feed", eva))["items"][0]
        for path, operations in paths.items():
            asked = re.sub(r"\{kind\}", "rooms", path)
            asked = re.sub(r"\{[^}]+\}", card["id"], asked)
            for method in operations:
                for listener in (ada, eva):
                    await api.client.request(
                        method, asked, headers=world.headers(listener), json=_body(path, card)
                    )
    with audited.open("rb") as file:
        file.seek(began)
        log = file.read().decode("utf-8", "replace")
    outside, inside = unclaimed(
        log, {name for region in Region for (name,) in _name(world, region)}
    )
    assert outside == []
    assert inside >= 8  # not vacuous: the lists, the fall-backs and the directory at least


def _name(world: World, region: Region) -> list[tuple]:
    return world.sql("select current_database()", region=region)


def _body(path: str, card: dict) -> dict | None:
    """Something that the path's write may accept; whatever it answers, its statements are told."""
    return {
        "/recommendations/{id}/dismissals": {"kind": "dismiss"},
        "/events": {
            "events": [
                {
                    "id": card["id"],
                    "type": "rec_click",
                    "entity_type": card["entity_type"],
                    "entity_id": card["entity_id"],
                    "occurred_at": "2026-11-20T12:00:00Z",
                    "props": {},
                }
            ]
        },
        "/onboarding": {"genres": ["techno", "house", "ambient"], "country": "DE"},
    }.get(path)


def test_a_statement_outside_of_a_persons_transaction_would_be_found() -> None:
    def told(sql: str, session: str = "1.a") -> str:
        return f"seda-audit <{session}> <seda_api@x> LOG:  execute <unnamed>: {sql}\n"

    become = told("select set_config('role', 'authenticated', true),\n\tset_config('x', $1, true)")
    read = told("\n\tselect 1 from seda.users")
    assert unclaimed(told("BEGIN;") + become + read, {"x"}) == ([], 1)
    for log in (
        told("BEGIN;") + read,
        told("BEGIN;") + become + told("COMMIT;") + read,
        told("BEGIN;") + become + told("BEGIN;", "2.b") + told("select * from seda.users", "2.b"),
    ):
        outside, _ = unclaimed(log, {"x"})
        assert len(outside) == 1, log
