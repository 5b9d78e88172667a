"""What a link must keep to itself: tokens, sessions and states are in no row, log or answer."""

import io
import json
import logging
import traceback
import zipfile
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
import sentry_sdk
from pydantic import SecretStr

from seda.database.regions import Region
from seda.links.apple import DEVELOPER_TOKEN, developer_token
from seda.links.connector import Provider, Tokens, Trouble
from seda.links.imports import apply_staged
from seda.links.opening import open_connectors
from seda.links.syncing import link_place, sync_due
from seda.observability.logs import JsonFormatter
from seda.privacy.export import export_zip
from seda.privacy.keys import ForeignCiphertextError
from seda.privacy.sealed_columns import (
    BATCH,
    KeyInUseError,
    key_counts,
    retire_key,
    rewrap_values,
    rotate_key,
)
from tests.embeddings.mock_server import mock_server, mock_service
from tests.links.test_connectors import apple_session, consent
from tests.observability.sentry_server import sentry_envelopes
from tests.serving.linked_world import Linked, found_in_database, know, linked
from tests.serving.serving_world import World

__all__ = ["linked", "mock_server", "mock_service"]


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
    for odd in ("canary-header\r\nx-evil: 1 0123456789", "canary-ü" + "0" * 20):
        refused = await linked.api.call(
            "POST", "/links/apple/session-import", ada, json={"user_token": odd}
        )
        assert refused.status_code == 422
        assert "canary" not in refused.text


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


async def test_no_secret_of_a_link_is_in_an_export(linked: Linked, world: World) -> None:
    ada = world.person("Ada")
    await linked.link(ada)
    place = {"table": "linked_accounts", "column": "refresh_token_encrypted",
             "row": f"{ada.id}/spotify"}  # fmt: skip
    sealed = linked.token(ada)
    token = linked.vault.unseal(sealed, **place).get_secret_value()
    world.sql(
        "insert into seda.device_tokens (token, user_id, platform) values (%s, %s, 'ios')",
        *("canary-device-token", ada.id),
    )
    await linked.begin(ada, "youtube")  # an attempt, with its sealed verifier
    ((verifier,),) = world.sql("select verifier_encrypted from seda.link_attempts")
    content = export_zip(
        world.databases, ada.region, ada.id, world.settings.home_directory(), linked.now
    )
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        parts = {name: archive.read(name) for name in archive.namelist()}
    assert b"spotify" in parts["linked_accounts.json"]
    assert json.loads(parts["device_tokens.json"])
    canaries = [token.encode(), b"canary-device-token", b"canary-client-secret"]
    canaries += [form for each in (sealed, bytes(verifier)) for form in (each, each.hex().encode())]
    for name, part in parts.items():
        assert not any(canary in part for canary in canaries), name


async def test_no_secret_of_a_link_is_in_an_error_report(
    linked: Linked, world: World, caplog: pytest.LogCaptureFixture
) -> None:
    """The request fails in the statement that stores the token, with the row in the message."""
    ada = world.person("Ada")
    back = consent(await linked.begin(ada))
    world.sql(
        "create function seda.leaky() returns trigger language plpgsql as $$ begin "
        "raise exception 'no % of %', encode(new.refresh_token_encrypted, 'hex'), new.user_id; "
        "end $$"
    )
    world.sql("create trigger leaky before insert on seda.linked_accounts for each row "
              "execute function seda.leaky()")  # fmt: skip
    try:
        with sentry_envelopes() as envelopes:
            answer = await linked.back(ada, **back)
            sentry_sdk.flush(5)
    finally:
        world.sql("drop trigger leaky on seda.linked_accounts")
        world.sql("drop function seda.leaky")
    assert answer.status_code == 500
    reported = b"".join(envelopes)
    assert b"RaiseError" in reported
    magic = b"S1".hex().encode()  # what every sealed value begins with
    (logged,) = [each for each in caplog.records if each.exc_info]
    for said in (reported, answer.content, JsonFormatter().format(logged).encode()):
        for canary in (back["code"].encode(), back["state"].encode(), str(ada.id).encode(),
                       ada.sub.hex.encode(), b"canary-client-secret"):  # fmt: skip
            assert canary not in said
        assert b"no " + magic not in said


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
    by: dict[str, Any] = {"actor": "test", "now": datetime.now(UTC)}
    for who in (ada, ben):
        await linked.link(who, "youtube")
    address = await linked.begin(cleo, "youtube")
    old = vault.keys.current().key_id
    new = rotate_key([database], vault, **by).key_id
    assert (await linked.back(cleo, "youtube", **consent(address))).status_code == 200
    with database.transaction() as connection:
        assert key_counts(connection) == {old: 2, new: 1}
    world.sql("update seda.linked_accounts set next_sync_at = null where user_id = %s", ben.id)
    linked.sync()  # wraps Ada's again, since it is used
    with database.transaction() as connection:
        assert key_counts(connection) == {old: 1, new: 2}
    with pytest.raises(KeyInUseError, match="still wraps 1 values"):
        retire_key([database], vault, old, **by)
    with pytest.raises(KeyInUseError, match="rotate"):
        retire_key([database], vault, new, **by)
    assert rewrap_values(database, vault, most=1).values == 1
    assert rewrap_values(database, vault).values == 0
    retire_key([database], vault, old, **by)
    assert world.sql("select actor, action, subject from seda.audit_log order by id") == [
        ("test", "keys.rotated", new), ("test", "keys.retired", old),
    ]  # fmt: skip
    linked.sync(later=timedelta(days=2))
    assert {
        each["state"] for who in (ada, cleo) for each in (await linked.links(who)).values()
    } == {"linked"}
    # A key that is not where it was: a clear state, not an error, and back with its backup.
    path = Path(linked.settings.home_directory()) / "keys" / f"{new}.key"
    vault.keys.rotate(datetime.now(UTC))
    path.rename(path.with_suffix(".elsewhere"))
    assert rewrap_values(database, vault).unreadable == 3
    linked.sync(later=timedelta(days=4))
    link = (await linked.links(ada))["youtube"]
    assert (link["state"], link["problem"]) == ("waiting", "locked")
    assert "try again" in link["message"]
    path.with_suffix(".elsewhere").rename(path)
    linked.sync(later=timedelta(days=5))
    assert (await linked.links(ada))["youtube"]["state"] == "linked"
    # A key that was destroyed with what it wrapped: the person links again.
    vault.keys.retire(vault.keys.current().key_id)
    linked.sync(later=timedelta(days=7))
    assert (await linked.links(ada))["youtube"]["state"] == "revoked"


async def test_keys_that_cannot_be_used_cost_nobody_their_link(
    linked: Linked, world: World
) -> None:
    people = [world.person(name) for name in ("Ada", "Ben", "Cleo", "Dan")]
    for who in people:
        await linked.link(who)
    before = [linked.token(who) for who in people]
    (key,) = (Path(linked.settings.home_directory()) / "keys").glob("*.key")
    key.chmod(0o644)
    linked.mock.steer("DELETE", "/spotify/control/requests")
    report, _ = linked.sync()
    # After three it is not theirs: the others are not even told of it.
    assert (report.read, dict(report.troubles)) == (0, {Trouble.LOCKED: 3})
    states = world.sql("select state from seda.linked_accounts order by 1")
    assert states == [("pending",), ("waiting",), ("waiting",), ("waiting",)]
    # The provider, which would have replaced the tokens, was not asked.
    assert linked.mock.steer("GET", "/spotify/control/requests") == []
    assert [linked.token(who) for who in people] == before
    refused = await linked.api.call("POST", "/links/spotify", people[0])
    assert (refused.status_code, refused.json()["code"]) == (503, "provider_unavailable")
    assert "local-" not in refused.text
    key.chmod(0o600)
    assert linked.sync(later=timedelta(hours=1))[0].read == 4


async def test_a_rotation_while_a_provider_is_asked_loses_no_token(
    linked: Linked, world: World
) -> None:
    ada, database = world.person("Ada"), world.databases[Region.GLOBAL]
    await linked.link(ada)
    connector = open_connectors(linked.settings)[Provider.SPOTIFY]

    class Slow:
        """Everything is wrapped anew between the provider's answer and ours to it."""

        def __getattr__(self, name: str) -> object:
            return getattr(connector, name)

        def refresh(self, token: SecretStr) -> Tokens:
            renewed = connector.refresh(token)
            linked.vault.keys.rotate(datetime.now(UTC))
            assert rewrap_values(database, linked.vault).values == 1
            return renewed

    report = sync_due(
        database, {Provider.SPOTIFY: Slow()}, linked.vault, now=linked.now,  # type: ignore[dict-item]
    )  # fmt: skip
    assert report.read == 1
    apply_staged(database, now=linked.now)
    assert linked.sync(later=timedelta(days=2))[0].read == 1
    assert (await linked.links(ada))["spotify"]["state"] == "linked"


def test_values_that_nothing_opens_keep_no_other_one_from_a_new_key(
    linked: Linked, world: World
) -> None:
    database, vault = world.databases[Region.GLOBAL], linked.vault
    world.sql("insert into seda.users (id) select md5(n::text)::uuid from generate_series(1, %s) n",
              BATCH + 1)  # fmt: skip
    world.sql(
        "insert into seda.linked_accounts (user_id, provider, refresh_token_encrypted) "
        "select id, 'spotify', %s from seda.users", b"S1\x05other\xff\xfe",
    )  # fmt: skip
    last = max(user for (user,) in world.sql("select id from seda.users"))
    sealed = vault.seal(SecretStr("canary"), **link_place(last, "spotify"))
    world.sql(
        "update seda.linked_accounts set refresh_token_encrypted = %s where user_id = %s",
        sealed, last,
    )  # fmt: skip
    vault.keys.rotate(datetime.now(UTC))
    done = rewrap_values(database, vault, most=5)
    assert (done.values, done.unreadable) == (1, BATCH)
    with database.transaction() as connection:
        assert key_counts(connection)["other"] == BATCH
