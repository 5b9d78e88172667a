"""Linking in the services' tests: the API with providers, and the pipelines' part behind it."""

from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from seda.database.regions import Region
from seda.links.imports import apply_staged
from seda.links.opening import open_connectors
from seda.links.syncing import sync_due
from seda.privacy.vault import open_vault
from seda.sandbox.mock_providers.listeners import sandbox_artists
from seda.sandbox.mock_providers.running import MockServer
from serving.links import Begun, Links
from tests.links.test_connectors import apple_key, consent, settings_for
from tests.serving.serving_world import Api, Listener, World, open_api


class Linked:
    """The API with providers, and what the pipelines do behind it."""

    def __init__(self, api: Api, world: World, mock: MockServer, settings) -> None:
        self.api, self.world, self.mock, self.settings = api, world, mock, settings
        self.vault = open_vault(settings)

    @property
    def now(self) -> datetime:
        return datetime.now(UTC)

    async def begin(self, who: Listener, provider: str = "spotify") -> str:
        answer = await self.api.call("POST", f"/links/{provider}", who)
        assert answer.status_code == 201, answer.text
        Begun.model_validate(answer.json())
        self.api.client.cookies.clear()
        return str(answer.json()["authorize_url"])

    async def back(self, who: Listener | None, provider: str = "spotify", **query: str):
        return await self.api.call("GET", f"/links/{provider}/callback", who, params=query)

    async def link(self, who: Listener, provider: str = "spotify", listener: str = "ada") -> None:
        answer = await self.back(
            who, provider, **consent(await self.begin(who, provider), listener)
        )
        assert answer.status_code == 200, answer.text
        assert answer.json()["state"] == "pending"

    async def links(self, who: Listener) -> dict:
        page = await self.api.page("/links", who)
        Links.model_validate(page)
        return {each["provider"]: each for each in page["links"]}

    def sync(self, region: Region = Region.GLOBAL, later: timedelta = timedelta()):
        database, now = self.world.databases[region], self.now + later
        report = sync_due(database, open_connectors(self.settings), self.vault, now=now)
        return report, apply_staged(database, now=now)

    def token(self, who: Listener, provider: str = "spotify") -> bytes:
        ((token,),) = self.world.sql(
            "select refresh_token_encrypted from seda.linked_accounts "
            "where user_id = %s and provider = %s",
            who.id, provider, region=who.region,
        )  # fmt: skip
        return bytes(token)


@pytest.fixture
async def linked(world: World, mock_server: MockServer, tmp_path: Path) -> AsyncIterator[Linked]:
    options = settings_for(
        mock_server, tmp_path, apple_key_file=apple_key(tmp_path), apple_key_id="K",
        apple_team_id="T",
    )  # fmt: skip
    names = ("spotify_client_id", "spotify_base_url", "youtube_client_id", "youtube_client_secret",
             "youtube_base_url", "apple_base_url", "apple_key_file", "apple_key_id",
             "apple_team_id")  # fmt: skip
    settings = world.settings.model_copy(update={n: getattr(options, n) for n in names})
    async with open_api(world, settings=settings) as api:
        yield Linked(api, world, mock_server, settings)


def know(world: World, share: int = 2) -> int:
    """Puts every `share`-th artist of the listeners' world into the catalogue, in both regions."""
    artists = sandbox_artists()[::share]
    for region in Region:
        world.sql(
            "insert into seda.artists (id, name, external_ids) select md5(name)::uuid, name, '{}' "
            "from unnest(%s::text[]) as a(name)",
            [each.name for each in artists], region=region,
        )  # fmt: skip
        world.sql(
            "insert into seda.artist_genres (artist_id, genre, weight) "
            "select md5(n)::uuid, g, 1 from unnest(%s::text[], %s::text[]) as a(n, g)",
            [each.name for each in artists for _ in set(each.genres)],
            [genre for each in artists for genre in sorted(set(each.genres))],
            region=region,
        )  # fmt: skip
    return len(artists)


def found_in_database(world: World, secret: str) -> list[str]:
    """Every table with a row whose text, or bytes, hold the secret."""
    found = []
    for (table,) in world.sql(
        "select c.relname from pg_class c where relnamespace = 'seda'::regnamespace "
        "and relkind = 'r'"
    ):
        ((rows,),) = world.sql(
            f"select count(*) from seda.{table} t where strpos(t::text, %s) > 0 "
            "or strpos(t::text, %s) > 0",
            secret, secret.encode().hex(),
        )  # fmt: skip
        if rows:
            found.append(table)
    return found
