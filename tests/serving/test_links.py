"""Linking through the API, against the stand-ins of the providers over real HTTP."""

import logging
import traceback
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from urllib.parse import parse_qs, urlsplit
from uuid import UUID

import httpx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydantic import SecretStr

from seda.database.regions import Region
from seda.links.apple import DEVELOPER_TOKEN, developer_token
from seda.links.connector import Provider, Trouble
from seda.links.imports import apply_staged
from seda.links.opening import open_connectors
from seda.links.syncing import due_accounts, sync_due
from seda.privacy.keys import ForeignCiphertextError
from seda.privacy.sealed_columns import KeyInUseError, key_counts, retire_key, rewrap_values
from seda.privacy.vault import open_vault
from seda.sandbox.mock_providers.listeners import account_of, sandbox_artists
from seda.sandbox.mock_providers.running import MockServer
from serving.links import Begun, Links
from tests.embeddings.mock_server import mock_server, mock_service
from tests.links.test_connectors import apple_key, apple_session, consent, settings_for
from tests.serving.serving_world import Api, Listener, World, open_api

__all__ = ["mock_server", "mock_service"]


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


@pytest.mark.parametrize("region", list(Region))
@pytest.mark.parametrize("provider", ["spotify", "youtube"])
async def test_a_person_links_and_their_summary_is_in_the_catalogues_terms(
    linked: Linked, world: World, provider: str, region: Region
) -> None:
    know(world)
    ada, ben = world.person("Ada", region), world.person("Ben", region)
    assert await linked.links(ada) == {}
    began = linked.now
    await linked.link(ada, provider)
    report, done = linked.sync(region)
    assert (report.read, dict(report.troubles)) == (1, {})
    loved = account_of(provider, "ada", sandbox_artists()).artists[:50]
    known = {each.name for each in sandbox_artists()[::2]}
    expected = [each.name for each in loved if each.name in known]
    assert (done.artists, done.matched) == (50, len(expected))
    rows = world.sql(
        "select a.name, c.plays from seda.activity_counts c join seda.artists a "
        "on a.id = c.entity_id where c.user_id = %s and c.source = %s and c.entity_type = 'artist' "
        "order by c.plays desc", ada.id, provider, region=region,
    )  # fmt: skip
    assert [name for name, _ in rows] == expected
    assert [plays for _, plays in rows] == [
        50 - place for place, each in enumerate(loved) if each.name in known
    ]
    lists = world.sql(
        "select p.name, p.visibility, count(a.artist_id) from seda.playlists p "
        "join seda.playlist_artists a on a.playlist_id = p.id "
        "where p.owner_user_id = %s and p.provider = %s group by p.id order by p.name",
        ada.id, provider, region=region,
    )  # fmt: skip
    assert len(lists) >= 3
    assert {visibility for _, visibility, _ in lists} == {"private"}
    link = (await linked.links(ada))[provider]
    assert (link["state"], link["problem"]) == ("linked", None)
    assert link["imported"]["matched_artists"] == len(expected)
    assert link["imported"]["genres"]
    assert await linked.links(ben) == {}
    # Again, nothing is repeated; nobody is due before tomorrow.
    assert linked.sync(region)[0].read == 0
    report, again = linked.sync(region, timedelta(days=2))
    assert (report.read, again.imports) == (1, 1)
    assert again.changed == (0 if provider == "spotify" else 1)
    # No private playlist asks for an embedding.
    assert world.sql(
        "select 1 from seda.catalogue_changes where changed_at >= %s and entity_type = 'playlist'",
        began, region=region,
    ) == []  # fmt: skip


async def test_a_browser_comes_back_by_its_cookie_and_only_it(linked: Linked, world: World) -> None:
    ada = world.person("Ada")
    answer = await linked.api.call("POST", "/links/spotify", ada)
    cookie = answer.headers["set-cookie"]
    assert "HttpOnly" in cookie
    assert "SameSite=lax" in cookie
    assert "Path=/links/spotify/callback" in cookie
    back = consent(answer.json()["authorize_url"])
    value = cookie.partition("=")[2].partition(";")[0]
    linked.api.client.cookies.clear()
    assert (await linked.back(None, **back)).status_code == 401
    for wrong in ("x", value[:-2] + "aa", value + "x"):
        headers = {"cookie": f"seda_link={wrong}"}
        refused = await linked.api.client.get(
            "/links/spotify/callback", params=back, headers=headers
        )
        assert refused.status_code == 401
    headers = {"cookie": f"seda_link={value}"}
    other = await linked.api.client.get("/links/youtube/callback", params=back, headers=headers)
    assert other.status_code == 401
    done = await linked.api.client.get("/links/spotify/callback", params=back, headers=headers)
    assert done.status_code == 200
    assert "Max-Age=0" in done.headers["set-cookie"]


async def test_states_count_once_for_who_began_and_for_ten_minutes(
    linked: Linked, world: World
) -> None:
    ada, eve = world.person("Ada"), world.person("Eve")
    back = consent(await linked.begin(ada))
    foreign = await linked.back(eve, **back)
    assert (foreign.status_code, foreign.json()["code"]) == (400, "invalid_state")
    elsewhere = await linked.back(ada, "youtube", **back)
    assert elsewhere.json()["code"] == "invalid_state"
    assert (await linked.back(ada, **back)).status_code == 200
    replayed = await linked.back(ada, **back)
    assert (replayed.status_code, replayed.json()["code"]) == (400, "invalid_state")
    assert {**foreign.json(), "request_id": ""} == {**replayed.json(), "request_id": ""}
    late = consent(await linked.begin(ada))
    world.sql("update seda.link_attempts set expires_at = now() - interval '1 second'")
    assert (await linked.back(ada, **late)).json()["code"] == "invalid_state"
    denied = consent(await linked.begin(ada), decision="deny")
    assert (await linked.back(ada, **denied)).json()["code"] == "link_denied"
    assert (await linked.back(ada, **denied)).json()["code"] == "invalid_state"
    forged = consent(await linked.begin(ada)) | {"code": "made-up"}
    assert (await linked.back(ada, **forged)).json()["code"] == "link_refused"
    assert world.sql("select 1 from seda.link_attempts") == []


async def test_fuzzed_callbacks_are_refused_and_say_nothing(linked: Linked, world: World) -> None:
    ada = world.person("Ada")
    address = await linked.begin(ada)
    state = parse_qs(urlsplit(address).query)["state"][0]
    text = st.text(st.characters(codec="utf-8"), max_size=80)

    @settings(max_examples=25, deadline=None, suppress_health_check=list(HealthCheck))
    @given(
        query=st.dictionaries(
            st.sampled_from(["state", "code", "error", "x"]),
            st.one_of(text, st.just(state[:-1]), st.just("a" * 3000)),
        ),
        signed=st.booleans(),
    )
    def fuzz(query: dict[str, str], signed: bool) -> None:
        asked.append((query, signed))

    asked: list[tuple[dict[str, str], bool]] = []
    fuzz()
    for query, signed in asked:
        answer = await linked.back(ada if signed else None, **query)
        assert answer.status_code in ((400, 414, 422) if signed else (401, 414)), answer.text
        assert answer.headers["content-type"] == "application/problem+json"
        if len(query.get("code", "")) > 8:
            assert query["code"] not in answer.text
    # The attempt itself is none the worse.
    assert (await linked.back(ada, **consent(address))).status_code == 200


async def test_what_a_provider_does_is_a_state_that_passes_or_asks_to_link_again(
    linked: Linked, world: World
) -> None:
    ada = world.person("Ada")
    await linked.link(ada)
    linked.mock.set_profile("spotify", rate_limit_rate=1, retry_after_seconds=120)
    report, _ = linked.sync()
    assert dict(report.troubles) == {Trouble.RATE_LIMITED: 1}
    link = (await linked.links(ada))["spotify"]
    assert (link["state"], link["problem"]) == ("waiting", "rate_limited")
    assert "try again" in link["message"]
    wait = datetime.fromisoformat(link["next_sync_at"]) - linked.now
    assert timedelta(seconds=120) <= wait <= timedelta(seconds=133)
    # Retried before its time only by the person, and not in a loop.
    assert linked.sync()[0].read == 0
    assert (await linked.api.call("POST", "/links/spotify/sync", ada)).status_code == 409
    world.sql("update seda.linked_accounts set created_at = now() - interval '1 hour'")
    asked = await linked.api.call("POST", "/links/spotify/sync", ada)
    assert asked.status_code == 202, asked.text
    linked.mock.set_profile("spotify", error_rate=1)
    assert dict(linked.sync()[0].troubles) == {Trouble.UNAVAILABLE: 1}
    linked.mock.set_profile("spotify")
    assert linked.sync(later=timedelta(hours=1))[0].read == 1
    assert (await linked.links(ada))["spotify"]["state"] == "linked"
    linked.mock.steer("DELETE", "/spotify/control/grants")
    assert dict(linked.sync(later=timedelta(days=3))[0].troubles) == {Trouble.REVOKED: 1}
    link = (await linked.links(ada))["spotify"]
    assert (link["state"], link["next_sync_at"]) == ("revoked", None)
    assert (await linked.api.call("POST", "/links/spotify/sync", ada)).status_code == 409
    await linked.link(ada)
    assert linked.sync(later=timedelta(days=4))[0].read == 1


async def test_a_provider_that_is_down_at_the_return_is_503_and_leaves_nothing(
    linked: Linked, world: World
) -> None:
    ada = world.person("Ada")
    back = consent(await linked.begin(ada))
    linked.mock.set_profile("spotify", error_rate=1)
    answer = await linked.back(ada, **back)
    assert (answer.status_code, answer.json()["code"]) == (503, "provider_unavailable")
    assert answer.headers["retry-after"]
    assert await linked.links(ada) == {}


async def test_a_killed_look_is_taken_up_when_its_lease_ends(linked: Linked, world: World) -> None:
    know(world)
    ada = world.person("Ada")
    await linked.link(ada)
    # As a process leaves it that died in the middle: leased, the token renewed or not.
    world.sql(
        "update seda.linked_accounts set leased_until = %s", linked.now + timedelta(minutes=5)
    )
    database, connectors = world.databases[Region.GLOBAL], open_connectors(linked.settings)
    assert due_accounts(database, connectors, linked.now) == 0
    assert linked.sync()[0].read == 0
    assert linked.sync(later=timedelta(minutes=6))[0].read == 1
    first = world.sql("select * from seda.activity_counts order by entity_id")
    # Dead between staging and mapping: what was staged is mapped, and not read again.
    world.sql("update seda.linked_accounts set next_sync_at = %s, marks = '{}'", linked.now)
    report = sync_due(database, connectors, linked.vault, now=linked.now)
    assert report.read == 1
    world.sql("update seda.linked_accounts set next_sync_at = %s", linked.now)
    assert linked.sync(later=timedelta(minutes=6))[0].read == 0
    assert world.sql("select * from seda.activity_counts order by entity_id") == first


async def test_a_pass_that_takes_too_long_leaves_the_rest_to_the_next(
    linked: Linked, world: World
) -> None:
    ada, ben = world.person("Ada"), world.person("Ben")
    for who in (ada, ben):
        await linked.link(who)
    database, connectors = world.databases[Region.GLOBAL], open_connectors(linked.settings)
    ticks = iter([0.0, 1.0, 1000.0])
    report = sync_due(
        database, connectors, linked.vault, now=linked.now, seconds=lambda: next(ticks)
    )
    assert report.read == 1
    assert linked.sync(later=timedelta(minutes=6))[0].read == 1


async def test_unlinking_deletes_the_token_and_if_asked_all_that_came_in(
    linked: Linked, world: World
) -> None:
    know(world)
    ada, ben = world.person("Ada", genres=("techno",)), world.person("Ben")
    for who in (ada, ben):
        await linked.link(who, "youtube")
    linked.sync()
    world.sql(
        "insert into seda.activity_counts values (%s, 'artist', %s, 'seda', '2026-01-01', 3)",
        ada.id, UUID(int=9),
    )  # fmt: skip
    before = world.sql("select count(*) from seda.activity_counts where user_id = %s", ben.id)
    gone = await linked.api.call("DELETE", "/links/youtube", ada)
    assert gone.status_code == 204
    assert await linked.links(ada) == {}
    mine = "select count(*) from seda.activity_counts where user_id = %s and source = 'youtube'"
    assert world.sql(mine, ada.id)[0][0] > 10
    assert (await linked.api.call("DELETE", "/links/youtube", ada)).status_code == 404
    path = "/links/youtube?delete_imports=true"
    assert (await linked.api.call("DELETE", path, ada)).status_code == 204
    assert world.sql("select source from seda.activity_counts where user_id = %s", ada.id) == [
        ("seda",)
    ]
    for table, column in (("provider_imports", "user_id"), ("playlists", "owner_user_id")):
        assert world.sql(f"select 1 from seda.{table} where {column} = %s", ada.id) == []
    assert world.sql("select taste_at from seda.import_changes where user_id = %s", ada.id) == [
        (None,)
    ]
    assert (
        world.sql("select count(*) from seda.activity_counts where user_id = %s", ben.id) == before
    )
    # The grant was taken back at the provider: Ben's goes on.
    linked.mock.steer("DELETE", "/youtube/control/requests")
    assert linked.sync(later=timedelta(days=2))[0].read == 1


async def test_a_session_at_apple_is_read_once_and_nothing_of_it_is_kept(
    linked: Linked, world: World, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    know(world)
    ada = world.person("Ada")
    user = apple_session(linked.mock)
    body = {"user_token": user.get_secret_value()}
    refused = await linked.api.call("POST", "/links/apple/session-import", ada, json=body)
    assert refused.status_code == 404  # no developer token yet
    key = linked.settings.apple_key_file
    developer = developer_token(key, "K", "T", linked.now)
    place = {"table": "provider_credentials", "column": "secret_encrypted", "row": DEVELOPER_TOKEN}
    world.sql(
        "insert into seda.provider_credentials values (%s, %s, now())",
        DEVELOPER_TOKEN, linked.vault.seal(developer, **place),
    )  # fmt: skip
    answer = await linked.api.call("POST", "/links/apple/session-import", ada, json=body)
    assert answer.status_code == 202, answer.text
    _, done = linked.sync()
    assert (done.imports, done.artists) == (1, 50)
    assert (await linked.links(ada))["apple"]["state"] == "linked"
    assert world.sql("select refresh_token_encrypted from seda.linked_accounts") == [(None,)]
    for secret in (user.get_secret_value(), developer.get_secret_value()):
        assert found_in_database(world, secret) == []
        assert secret not in caplog.text
        assert secret not in answer.text
    linked.mock.steer("DELETE", "/apple/control/grants")
    ended = await linked.api.call("POST", "/links/apple/session-import", ada, json=body)
    assert (ended.status_code, ended.json()["code"]) == (400, "link_refused")
    short = await linked.api.call(
        "POST", "/links/apple/session-import", ada, json={"user_token": "canary-short"}
    )
    assert short.status_code == 422
    assert "canary-short" not in short.text


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


async def test_no_secret_of_a_link_is_in_database_logs_or_answers(
    linked: Linked, world: World, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    ada = world.person("Ada")
    address = await linked.begin(ada)
    back = consent(address)
    answers = [await linked.back(ada, **back), await linked.back(ada, **back)]
    place = {"table": "linked_accounts", "column": "refresh_token_encrypted",
             "row": f"{ada.id}/spotify"}  # fmt: skip
    first = linked.vault.unseal(linked.token(ada), **place).get_secret_value()
    linked.sync()
    second = linked.vault.unseal(linked.token(ada), **place).get_secret_value()
    assert first != second  # a refresh replaced it
    answers.append(await linked.api.get("/links", ada))
    state = parse_qs(urlsplit(address).query)["state"][0]
    for secret in (first, second, back["code"], state):
        assert found_in_database(world, secret) == []
        assert all(secret not in each.text for each in answers)
        # The test's own client and server name the addresses that they ask for.
        mine = [
            r.getMessage() for r in caplog.records if not r.name.startswith(("httpx", "httpcore"))
        ]
        assert not any(secret in each for each in mine)
    assert "canary-client-secret" not in caplog.text + repr(linked.settings)


async def test_a_token_of_another_row_does_not_open(linked: Linked, world: World) -> None:
    ada, eve = world.person("Ada"), world.person("Eve")
    for who, listener in ((ada, "ada"), (eve, "eve")):
        await linked.link(who, listener=listener)
    # Eve, or who can write rows, puts Ada's sealed token into Eve's row.
    world.sql(
        "update seda.linked_accounts set refresh_token_encrypted = %s where user_id = %s",
        linked.token(ada), eve.id,
    )  # fmt: skip
    with pytest.raises(ForeignCiphertextError) as caught:
        linked.vault.unseal(
            linked.token(eve), table="linked_accounts", column="refresh_token_encrypted",
            row=f"{eve.id}/spotify",
        )  # fmt: skip
    assert caught.value.__context__ is None or "S1" not in "".join(
        traceback.format_exception(caught.value)
    )
    report, _ = linked.sync()
    assert (report.read, dict(report.troubles)) == (1, {Trouble.REVOKED: 1})
    assert (await linked.links(eve))["spotify"]["state"] == "revoked"


async def test_keys_rotate_while_people_link_and_old_ones_retire_when_nothing_needs_them(
    linked: Linked, world: World
) -> None:
    ada, ben, cleo = (world.person(name) for name in ("Ada", "Ben", "Cleo"))
    database, vault = world.databases[Region.GLOBAL], linked.vault
    for who in (ada, ben):
        await linked.link(who, "youtube")
    address = await linked.begin(cleo, "youtube")
    old = vault.keys.current().key_id
    new = vault.keys.rotate(datetime.now(UTC)).key_id
    assert (await linked.back(cleo, "youtube", **consent(address))).status_code == 200
    with database.transaction() as connection:
        assert key_counts(connection) == {old: 2, new: 1}
    world.sql("update seda.linked_accounts set next_sync_at = null where user_id = %s", ben.id)
    linked.sync()  # wraps Ada's again, since it is used
    with database.transaction() as connection:
        assert key_counts(connection) == {old: 1, new: 2}
    with pytest.raises(KeyInUseError, match="still wraps 1 values"):
        retire_key([database], vault, old)
    with pytest.raises(KeyInUseError, match="rotate"):
        retire_key([database], vault, new)
    assert rewrap_values(database, vault, most=1).values == 1
    assert rewrap_values(database, vault).values == 0
    retire_key([database], vault, old)
    linked.sync(later=timedelta(days=2))
    assert {
        each["state"] for who in (ada, cleo) for each in (await linked.links(who)).values()
    } == {"linked"}
    # A key that is gone with what it wrapped: a clear state, not an error.
    path = Path(linked.settings.home_directory()) / "keys" / f"{new}.key"
    vault.keys.rotate(datetime.now(UTC))
    path.unlink()
    assert rewrap_values(database, vault).unreadable == 3
    linked.sync(later=timedelta(days=4))
    assert (await linked.links(ada))["youtube"]["state"] == "revoked"


async def test_without_apps_of_ours_nothing_is_offered(api: Api, world: World) -> None:
    ada = world.person("Ada")
    assert await api.page("/links", ada) == {"links": [], "offered": []}
    for path in ("/links/spotify", "/links/youtube"):
        answer = await api.call("POST", path, ada)
        assert (answer.status_code, answer.json()["code"]) == (404, "provider_not_offered")
    body = {"user_token": SecretStr("x" * 20).get_secret_value()}
    assert (
        await api.call("POST", "/links/apple/session-import", ada, json=body)
    ).status_code == 404
    assert (await api.call("POST", "/links/spotify/sync", ada)).status_code == 404
    assert (await api.call("POST", "/links/tidal", ada)).status_code == 422
    assert set(Provider) == {"spotify", "youtube", "apple"}
    assert isinstance(api.client, httpx.AsyncClient)
