"""A small world for the services' tests, written by SQL as the owner, and the API over it."""

import json
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4, uuid5

import httpx
import psycopg

from seda.database.regions import Databases, Region, shards_of
from seda.people.tokens import mint_token
from serving.app import create_app
from tests.serving.list_rows import write_list

TABLES = {"room": "rooms", "playlist": "playlists", "artist": "artists"}

_GENRE = {
    "artist": "insert into seda.artist_genres (artist_id, genre, weight) values (%s, %s, 1)",
    "room": "update seda.rooms set genre = v.g from (values (%s::uuid, %s)) v(i, g) where id = i",
    "playlist": "update seda.playlists set genre = v.g from (values (%s::uuid, %s)) v(i, g) "
    "where id = i",
}
_CLEAR = """
do $$
declare
    name text;
    found boolean;
begin
    set local session_replication_role = replica;
    for name in select c.oid::regclass::text from pg_class c
        where relnamespace = 'seda'::regnamespace and relispartition and relkind = 'r'
          and relname ~ '_g[0-9]+$'
    loop
        execute 'drop table ' || name;
    end loop;
    for name in select c.oid::regclass::text from pg_class c
        where relnamespace = 'seda'::regnamespace and relkind = 'r' and relname <> 'model_registry'
    loop
        execute format('select exists (select from %s)', name) into found;
        if found then
            execute 'delete from ' || name;
        end if;
    end loop;
end
$$
"""


@dataclass(frozen=True)
class Listener:
    """A row of `users`."""

    id: UUID
    sub: UUID
    region: Region
    name: str


@dataclass(frozen=True)
class Entity:
    """A catalogue row, the same in both regions."""

    type: str
    id: UUID
    name: str
    genre: str = ""
    is_new: bool = False


class World:
    """Builds what a test needs, and reads what it left."""

    def __init__(self, databases: Databases) -> None:
        self.databases = databases
        self.settings = databases.settings
        self._people = 0
        self._connections = {each.region: each.connect(autocommit=True) for each in databases}

    def clear(self) -> None:
        """Remove every row and every generation's partition, also beside a service that is up."""
        for region in Region:
            for last in (False, False, True):
                try:
                    self.sql(_CLEAR, region=region)
                    break
                except psycopg.errors.DeadlockDetected:
                    if last:
                        raise

    def close(self) -> None:
        for connection in self._connections.values():
            connection.close()

    def sql(self, query: str, *values: object, region: Region = Region.GLOBAL) -> list[tuple]:
        """Run one statement as the owner; its rows, if it has any."""
        cursor = self._connections[region].execute(query, values or None)
        return cursor.fetchall() if cursor.description else []

    def person(
        self,
        name: str,
        region: Region = Region.GLOBAL,
        *,
        hidden: bool = False,
        genres: tuple[str, ...] = (),
        role: str = "user",
        deleted: bool = False,
        sandboxed: bool = False,
    ) -> Listener:
        """Who signed up has a random subject; who is sandboxed has one that a seed would make."""
        # A shard apart from the one before: a test's publications then do not replace each other.
        id = UUID(bytes=uuid4().bytes[:15] + bytes([self._people * 8 % 64]))
        self._people += 1
        listener = Listener(id, uuid5(id, name) if sandboxed else uuid4(), region, name)
        self.sql(
            "insert into seda.users (id, auth_user_id, display_name, avatar_url, role, "
            "preferences, privacy_settings, deleted_at) values (%s, %s, %s, %s, %s, %s, %s, %s)",
            listener.id,
            str(listener.sub),
            name,
            f"https://cdn.example/{name}.jpg",
            role,
            json.dumps({"genres": genres} if genres else {}),
            json.dumps({"hide_presence": True} if hidden else {}),
            datetime.now(UTC) if deleted else None,
            region=region,
        )
        self.sql(
            "insert into seda.region_directory (auth_user_id, user_id, region) values (%s, %s, %s)",
            str(listener.sub),
            listener.id,
            region,
        )
        return listener

    def entity(self, type: str, name: str, *, genre: str = "", is_new: bool = False) -> Entity:
        entity = Entity(type, uuid4(), name, genre, is_new)
        for region in Region:
            insert = f"insert into seda.{TABLES[type]} (id, name) values (%s, %s)"
            self.sql(insert, entity.id, name, region=region)
            if genre:
                self.sql(_GENRE[type], entity.id, genre, region=region)
        return entity

    def entities(self, type: str, count: int) -> list[Entity]:
        return [self.entity(type, f"{type} {number}") for number in range(1, count + 1)]

    def befriend(self, one: Listener, *others: Listener, kind: str = "friend") -> None:
        """Two rows for a friendship; one for a block."""
        for other in others:
            pairs = [(one, other)] if kind == "block" else [(one, other), (other, one)]
            for user, friend in pairs:
                self.sql(
                    "insert into seda.friends (user_id, friend_user_id, relationship_type) "
                    "values (%s, %s, %s)",
                    user.id,
                    friend.id,
                    kind,
                    region=user.region,
                )

    def enter(self, room: Entity, *people: Listener) -> None:
        for listener in people:
            self.sql(
                "insert into seda.room_presence (room_id, user_id, joined_at) "
                "values (%s, %s, clock_timestamp())",
                room.id,
                listener.id,
                region=listener.region,
            )

    def publish(
        self,
        listener: Listener,
        *lists: list[Entity],
        lifetime: timedelta = timedelta(hours=36),
        model_version: str = "test-1",
        experiment: str | None = None,
    ) -> int:
        """Publish lists of one type each as a new generation of the listener's shard; of an
        experiment's canary, where one is named."""
        arm = "canary" if experiment else "control"
        region = listener.region
        shard = self.shard(listener)
        ((generation,),) = self.sql(
            "insert into seda.generations (shard, model_version, state, published_at, arm, "
            "experiment) values (%s, %s, 'published', now(), %s, %s) returning generation",
            shard,
            model_version,
            arm,
            experiment,
            region=region,
        )
        self._partitions(generation, region)
        for entities in lists:
            write_list(self.sql, listener, generation, entities, lifetime, model_version)
            self.sql(
                "insert into seda.generation_pointer (shard, entity_type, arm, generation) "
                "values (%s, %s, %s, %s) on conflict (shard, entity_type, arm) "
                "do update set generation = excluded.generation",
                shard,
                entities[0].type,
                arm,
                generation,
                region=region,
            )
        return generation

    def shard(self, listener: Listener) -> str:
        ((bucket,),) = self.sql(
            "select bucket from seda.users where id = %s", listener.id, region=listener.region
        )
        return next(
            shard.key
            for shard in shards_of(self.settings)
            if shard.region is listener.region and bucket in range(*shard.buckets)
        )

    def _partitions(self, generation: int, region: Region) -> None:
        for parent in ("recommendations", "mv_user_top_candidates"):
            partition = f"seda.{parent}_g{generation}"
            self.sql(
                f"create table {partition} partition of seda.{parent} for values in ({generation})",
                region=region,
            )
            for clause in ("enable", "force"):
                self.sql(f"alter table {partition} {clause} row level security", region=region)

    def drop_generation(self, generation: int, region: Region = Region.GLOBAL) -> None:
        """What retention does once no pointer names it."""
        for parent in ("recommendations", "mv_user_top_candidates"):
            self.sql(f"drop table seda.{parent}_g{generation}", region=region)

    def does(
        self, listener: Listener, kind: str, entity: Entity | str, ago: timedelta = timedelta()
    ) -> None:
        """One of the events that the app sends; `entity` may be anything that it sent."""
        props = {"entity_id": entity if isinstance(entity, str) else str(entity.id)}
        self.sql(
            "insert into seda.fact_events (event_id, user_id, event_type, props, created_at) "
            "values (gen_random_uuid(), %s, %s, %s, now() - %s::interval)",
            *(listener.id, kind, json.dumps(props), ago),
            region=listener.region,
        )

    def suppress(
        self, listener: Listener, entity: Entity, duration: timedelta | None = None
    ) -> None:
        """For a while, or for ever."""
        until = None if duration is None else datetime.now(UTC) + duration
        self.sql(
            "insert into seda.suppressions (user_id, entity_type, entity_id, kind, "
            "suppressed_until) values (%s, %s, %s, %s, %s)",
            listener.id,
            entity.type,
            entity.id,
            "never" if until is None else "dismiss",
            until,
            region=listener.region,
        )

    def genre_list(self, genre: str, entities: list[Entity]) -> None:
        for region in Region:
            for rank, entity in enumerate(entities, start=1):
                self.sql(
                    "insert into seda.genre_top_entities (genre, entity_type, rank, entity_id, "
                    "name, score) values (%s, %s, %s, %s, %s, %s)",
                    genre,
                    entity.type,
                    rank,
                    entity.id,
                    entity.name,
                    1 / rank,
                    region=region,
                )

    def token(self, listener: Listener, now: datetime | None = None) -> str:
        return mint_token(
            self.settings.signing_secret(),
            listener.sub,
            audience="authenticated",
            lifetime=timedelta(hours=1),
            now=now or datetime.now(UTC),
        )

    def headers(self, listener: Listener) -> dict[str, str]:
        return {"Authorization": f"Bearer {self.token(listener)}"}

    def as_person(self, listener: Listener | None, role: str = "authenticated"):
        """A connection's transaction as the API opens it, for tests of the policies themselves."""
        region = Region.GLOBAL if listener is None else listener.region
        connection = psycopg.connect(self.databases[region].url)
        claims = {} if listener is None else {"sub": str(listener.sub), "role": role}
        connection.execute(
            "select set_config('role', %s, true), set_config('request.jwt.claims', %s, true)",
            [role, json.dumps(claims)],
        )
        return connection


class Api:
    """An HTTP client of the app; `get` signs in as somebody."""

    def __init__(self, world: World, client: httpx.AsyncClient) -> None:
        self.world = world
        self.client = client

    async def get(
        self, path: str, listener: Listener | None = None, **query: Any
    ) -> httpx.Response:
        headers = {} if listener is None else self.world.headers(listener)
        return await self.client.get(path, headers=headers, params=query)

    async def call(
        self,
        method: str,
        path: str,
        listener: Listener | None = None,
        *,
        now: datetime | None = None,
        **options: Any,
    ) -> httpx.Response:
        """Any request, signed in as somebody by a token that was made at `now`."""
        headers = (
            {}
            if listener is None
            else {"Authorization": f"Bearer {self.world.token(listener, now)}"}
        )
        headers |= options.pop("headers", {})
        return await self.client.request(method, path, headers=headers, **options)

    async def page(self, path: str, listener: Listener, **query: Any) -> dict[str, Any]:
        response = await self.get(path, listener, **query)
        assert response.status_code == 200, response.text
        return response.json()


def quiet(world: World) -> None:
    """Wait for whatever is open now, in any database: other tests share the server."""
    for region in Region:
        ((now,),) = world.sql("select pg_current_xact_id()::text", region=region)
        for _ in range(2400):
            if world.sql("select pg_snapshot_xmin(pg_current_snapshot()) > %s::xid8", now,
                         region=region) == [(True,)]:  # fmt: skip
                break
            time.sleep(0.05)
        else:
            raise AssertionError("a transaction stayed open for two minutes")


@asynccontextmanager
async def open_api(world: World, **options: Any) -> AsyncIterator[Api]:
    """The app, in process, over the world's databases or over other settings."""
    options = {"settings": world.settings, "databases": world.databases, **options}
    app = create_app(**options)
    transport = httpx.ASGITransport(app, raise_app_exceptions=False)
    async with (
        app.router.lifespan_context(app),
        httpx.AsyncClient(transport=transport, base_url="http://api") as client,
    ):
        yield Api(world, client)


def names(page: dict[str, Any]) -> list[str]:
    """The items' names, in order."""
    return [item["name"] for item in page["items"]]
