"""Linking through the API, against the stand-ins of the providers over real HTTP."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any
from urllib.parse import parse_qs, urlsplit
from uuid import UUID

import httpx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydantic import SecretStr

from seda.database.regions import Region
from seda.links.connector import Connector, Provider, Summary, Trouble
from seda.links.opening import open_connectors
from seda.links.syncing import due_accounts, sync_due
from seda.sandbox.mock_providers.listeners import account_of, sandbox_artists
from tests.embeddings.mock_server import mock_server, mock_service
from tests.links.test_connectors import consent
from tests.serving.linked_world import Linked, know, linked
from tests.serving.serving_world import Api, World

__all__ = ["linked", "mock_server", "mock_service"]


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


async def test_a_browser_comes_back_with_the_state_it_began_with_and_each_parameter_once(
    linked: Linked, world: World
) -> None:
    ada = world.person("Ada")
    cookies, backs = [], []
    for provider in ("spotify", "youtube"):
        answer = await linked.api.call("POST", f"/links/{provider}", ada)
        assert answer.headers["cache-control"] == "no-store"
        linked.api.client.cookies.clear()
        cookies.append(answer.headers["set-cookie"].partition(";")[0])
        backs.append(consent(answer.json()["authorize_url"]))
    # Another browser of hers, that began with another state: its cookie does not carry this one.
    other = await linked.api.call("POST", "/links/spotify", world.person("Eve"))
    linked.api.client.cookies.clear()
    eve = other.headers["set-cookie"].partition(";")[0]
    for cookie, status in ((eve, 400), (cookies[1], 401)):
        answer = await linked.api.client.get(
            "/links/spotify/callback", params=backs[0], headers={"cookie": cookie}
        )
        assert answer.status_code == status, answer.text
    for name in ("state", "code", "x"):
        params = [*backs[0].items(), (name, "1"), (name, "2")]
        answer = await linked.api.client.get(
            "/links/spotify/callback", params=params, headers={"cookie": cookies[0]}
        )
        assert (answer.status_code, answer.json()["code"]) == (400, "repeated_parameter")
        assert backs[0]["code"] not in answer.text
    # None of it cost her the attempt.
    done = await linked.api.client.get(
        "/links/spotify/callback", params=backs[0], headers={"cookie": cookies[0]}
    )
    assert (done.status_code, done.headers["cache-control"]) == (200, "no-store")


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
    before = linked.now
    report, _ = linked.sync()
    assert dict(report.troubles) == {Trouble.RATE_LIMITED: 1}
    link = (await linked.links(ada))["spotify"]
    assert (link["state"], link["problem"]) == ("waiting", "rate_limited")
    assert "try again" in link["message"]
    after = datetime.fromisoformat(link["next_sync_at"])
    assert before + timedelta(seconds=120) <= after <= linked.now + timedelta(seconds=133)
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


class Peculiar:
    """A provider's connector, of which one call is not what it was written for."""

    def __init__(self, connector: Connector, **instead: Callable[..., Any]) -> None:
        self._connector, self._instead = connector, instead

    def __getattr__(self, name: str) -> Any:
        return self._instead.get(name) or getattr(self._connector, name)


async def test_an_account_that_breaks_a_look_keeps_no_other_one_waiting(
    linked: Linked, world: World
) -> None:
    people = [world.person(name) for name in ("Ada", "Ben", "Cleo")]
    for who in people:
        await linked.link(who, "youtube", who.name.lower())
    connector = open_connectors(linked.settings)[Provider.YOUTUBE]
    seen: list[object] = []

    def summary(access: SecretStr, marks: Mapping[str, Any]) -> Summary:
        seen.append(access)
        if len(seen) == 1:
            raise TypeError("'NoneType' object is not iterable")
        if len(seen) == 2:  # of what no database keeps
            return replace(connector.summary(access, marks), marks={"x": "\0"})
        return connector.summary(access, marks)

    report = sync_due(
        world.databases[Region.GLOBAL],
        {Provider.YOUTUBE: Peculiar(connector, summary=summary)},  # type: ignore[dict-item]
        linked.vault, now=linked.now,
    )  # fmt: skip
    assert (report.read, dict(report.troubles)) == (1, {Trouble.UNREADABLE: 2})
    problems = world.sql("select problem from seda.linked_accounts order by 1")
    assert problems == [("unreadable",), ("unreadable",), (None,)]
    assert linked.sync(later=timedelta(hours=1))[0].read == 2


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
