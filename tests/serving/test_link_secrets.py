"""What a link must keep to itself: tokens, sessions and states are in no row, log or answer."""

import io
import json
import logging
import traceback
import zipfile
from datetime import UTC, datetime, timedelta
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest
import sentry_sdk

from seda.database.regions import Region
from seda.links.apple import DEVELOPER_TOKEN, developer_token
from seda.links.connector import Trouble
from seda.observability.logs import JsonFormatter
from seda.privacy.export import export_zip
from seda.privacy.keys import ForeignCiphertextError
from seda.privacy.sealed_columns import KeyInUseError, key_counts, retire_key, rewrap_values
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
