"""Export and deletion as an app sees them: asked for, in effect at once, refused with the right
status."""

import io
import zipfile
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest

from seda.database.regions import Region
from seda.database.storage import storages
from seda.people.tokens import mint_token
from seda.privacy.erasure import Places
from seda.privacy.notices import LocalMail
from seda.privacy.running import run_privacy_jobs
from tests.privacy.full_world import settle
from tests.serving.serving_world import Api, Listener, World, names, open_api


async def ask(
    api: Api,
    who: Listener,
    method: str,
    path: str,
    *,
    proved: timedelta | None = None,
    **options: Any,
) -> httpx.Response:
    """A request by a token whose person proved who they are that long ago; never, if None."""
    token = mint_token(
        api.world.settings.signing_secret(),
        who.sub,
        audience="authenticated",
        lifetime=timedelta(hours=1),
        now=datetime.now(UTC),
        authenticated_at=None if proved is None else datetime.now(UTC) - proved,
    )
    headers = {"Authorization": f"Bearer {token}"}
    return await api.client.request(method, path, headers=headers, **options)


def work(world: World, now: datetime | None = None) -> Any:
    """What the job's worker does."""

    def clock() -> datetime:
        return now or datetime.now(UTC)

    settle(world.databases)
    places = Places(world.databases, storages(world.settings))
    return run_privacy_jobs(places, LocalMail(world.settings.home_directory(), clock), clock)


@pytest.mark.parametrize("region", list(Region))
async def test_an_export_is_asked_for_made_downloaded_and_over_after_seven_days(
    world: World, region: Region
) -> None:
    now = datetime.now(UTC)
    files = world.settings.home_directory() / "storage" / region / "exports"
    before = set(files.glob("*"))
    async with open_api(world, clock=lambda: now) as api:
        ada, ben = world.person("Ada", region), world.person("Ben", region)
        asked = await ask(api, ada, "POST", "/privacy/export-data")
        again = await ask(api, ada, "POST", "/privacy/export-data")
        assert (asked.status_code, asked.json()["status"]) == (202, "queued")
        assert again.json()["id"] == asked.json()["id"]
        path = f"/privacy/jobs/{asked.json()['id']}"
        assert (await ask(api, ben, "GET", path)).status_code == 404
        assert work(world).jobs == {"export completed": 1}
        job = (await ask(api, ada, "GET", path)).json()
        assert job["status"] == "completed"
        link = job["download_url"]
        assert str(ada.id) not in link
        assert ada.sub.hex not in link.replace("-", "")
        answer = await api.client.get(link)
        assert answer.headers["content-type"] == "application/zip"
        with zipfile.ZipFile(io.BytesIO(answer.content)) as archive:
            assert {"README.md", "users.json", "region_directory.json"} <= set(archive.namelist())
            assert str(ada.id) in archive.read("users.json").decode()
        forged = link[:-4] + ("aaaa" if not link.endswith("aaaa") else "bbbb")
        assert (await api.client.get(forged)).json()["code"] == "invalid_link"
        assert (await api.client.get(forged)).status_code == 403
        assert (await api.client.get("/privacy/exports/x")).status_code == 403
    later = now + timedelta(days=7, seconds=5)
    async with open_api(world, clock=lambda: later) as api:
        over = await api.client.get(link)
        assert (over.status_code, over.json()["code"]) == (410, "export_expired")
    assert len(set(files.glob("*")) - before) == 1
    work(world, later)
    assert set(files.glob("*")) <= before


@pytest.mark.parametrize("proved", [None, timedelta(minutes=6), timedelta(minutes=-6)])
async def test_deleting_asks_for_a_fresh_sign_in(
    api: Api, world: World, proved: timedelta | None
) -> None:
    ada = world.person("Ada")
    body = {"scope": "account"}
    answer = await ask(api, ada, "POST", "/privacy/delete-imports", proved=proved, json=body)
    assert (answer.status_code, answer.json()["code"]) == (403, "reauthentication_required")
    assert world.sql("select count(*) from seda.tombstones") == [(0,)]
    assert (await api.get("/feed", ada)).status_code == 200


async def test_who_deletes_their_imports_has_the_genre_feed_with_the_next_request(
    api: Api, world: World
) -> None:
    ada = world.person("Ada", genres=("techno",))
    ours, theirs = world.entity("artist", "ours"), world.entity("artist", "theirs")
    world.genre_list("techno", [world.entity("artist", "of the genre")])
    world.publish(ada, [theirs])
    for artist, source in ((ours, "seda"), (theirs, "spotify")):
        world.sql(
            "insert into seda.activity_counts (user_id, entity_type, entity_id, source, period, "
            "plays) values (%s, 'artist', %s, %s, '2026-11-01', 9)",
            *(ada.id, artist.id, source),
        )
    assert names(await api.page("/feed", ada)) == ["theirs"]
    for _ in range(2):  # asked for again it is the same
        answer = await ask(
            api, ada, "POST", "/privacy/delete-imports", proved=timedelta(minutes=1), json={}
        )
        assert (answer.status_code, answer.json()["scope"]) == (202, "imports")
    page = await api.page("/feed", ada)
    assert (page["source"], names(page)) == ("genre", ["of the genre"])
    assert world.sql("select source from seda.activity_counts") == [("seda",)]
    # A delayed import, and lists that a run computed before.
    world.sql(
        "insert into seda.activity_counts (user_id, entity_type, entity_id, source, period, plays) "
        "values (%s, 'artist', %s, 'spotify', '2026-11-02', 9)", ada.id, theirs.id
    )  # fmt: skip
    world.publish(ada, [theirs])
    assert (await api.page("/feed", ada))["source"] == "genre"
    assert work(world).jobs == {"delete completed": 1}
    assert (await api.page("/feed", ada))["source"] == "genre"
    assert world.sql("select source from seda.activity_counts") == [("seda",)]
    # Linked anew, imports count again.
    world.sql("insert into seda.linked_accounts (user_id, provider) values (%s, 'spotify')", ada.id)
    world.sql(
        "insert into seda.activity_counts (user_id, entity_type, entity_id, source, period, plays) "
        "values (%s, 'artist', %s, 'spotify', '2026-11-03', 9)", ada.id, theirs.id
    )  # fmt: skip
    assert len(world.sql("select source from seda.activity_counts")) == 2


@pytest.mark.parametrize("region", list(Region))
async def test_a_deleted_account_is_out_of_everybodys_sight_with_the_answer(
    api: Api, world: World, region: Region
) -> None:
    ada, ben = world.person("Ada", region), world.person("Ben", region)
    room = world.entity("room", "electronic")
    world.befriend(ada, ben)
    world.publish(ada, [room])
    world.publish(ben, [room])
    world.enter(room, ada)
    world.sql(
        "insert into seda.device_tokens (token, user_id, platform) values ('t', %s, 'ios')",
        ada.id,
        region=region,
    )
    assert (await api.page("/feed", ben))["items"][0]["social"]["count"] == 1
    body = {"scope": "account"}
    answer = await ask(api, ada, "POST", "/privacy/delete-imports", proved=timedelta(0), json=body)
    assert (answer.status_code, answer.json()["status"]) == (202, "queued"), answer.text
    job = f"/privacy/jobs/{answer.json()['id']}"
    for path in ("/feed", "/preferences", job):
        assert (await api.get(path, ada)).status_code == 410, path
    social = (await api.page("/feed", ben))["items"][0]["social"]
    assert social is None or not social["count"]
    for table in ("room_presence", "device_tokens", "friends"):
        assert world.sql(f"select count(*) from seda.{table}", region=region) == [(0,)], table
    assert work(world).jobs == {"delete completed": 1}
    for path in ("/feed", "/preferences", job):
        assert (await api.get(path, ada)).status_code == 410, path
    again = await api.call(
        "POST", "/onboarding", ada, json={"genres": ["a", "b", "c"], "country": "PT"}
    )
    assert (again.status_code, again.json()["code"]) == (410, "account_deleted")
    assert (await api.get("/feed", ben)).status_code == 200
    mails = list((world.settings.home_directory() / "sink" / region / "mail").iterdir())
    assert any(answer.json()["id"] in path.name for path in mails)
