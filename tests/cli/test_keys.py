"""`seda keys`: what is told, made, wrapped again, and refused."""

import re
from pathlib import Path
from uuid import uuid4

from pydantic import SecretStr

from seda.database.regions import Databases, Region
from seda.links.syncing import link_place
from seda.privacy.keys import LocalKeys
from seda.privacy.vault import Vault
from tests.cli.cli_runs import Seda, sentence

CANARY = "canary-refresh-token"


def current_key(told: str) -> str:
    found = re.search(r"The current key is (local-\S+?)[,.]", told)
    assert found is not None, told
    return found[1]


def test_a_key_is_rotated_rewrapped_and_retired(
    seda_here: Seda, databases: Databases, tmp_path: Path
) -> None:
    vault = Vault(LocalKeys(tmp_path / "home" / "keys"))
    people = {}
    for region in Region:
        user = uuid4()
        people[region] = user
        sealed = vault.seal(SecretStr(CANARY), **link_place(user, "spotify"))
        with databases[region].transaction() as connection:
            connection.execute("insert into seda.users (id) values (%s)", [user])
            connection.execute(
                "insert into seda.linked_accounts (user_id, provider, refresh_token_encrypted) "
                "values (%s, 'spotify', %s)",
                [user, sealed],
            )
    told = seda_here("keys", "status")
    assert told.returncode == 0
    old = current_key(told.stdout)
    assert told.stdout.count(old) == 3
    assert "still wraps" not in told.stdout
    rotated = seda_here("keys", "rotate", "--no-rewrap")
    new = current_key(rotated.stdout)
    assert new != old
    assert f"{old} still wraps 1 values in the global region" in sentence(
        seda_here("keys", "retire", old)
    )
    assert "is the current key" in sentence(seda_here("keys", "retire", new))
    assert "2 values were wrapped again" in seda_here("keys", "rewrap").stdout
    retired = seda_here("keys", "retire", old)
    assert f"{old} is retired" in retired.stdout
    assert "was retired" in sentence(seda_here("keys", "retire", old))
    with databases[Region.EU].transaction() as connection:
        ((sealed,),) = connection.execute(
            "select refresh_token_encrypted from seda.linked_accounts"
        ).fetchall()
    place = link_place(people[Region.EU], "spotify")
    assert vault.unseal(sealed, **place).get_secret_value() == CANARY
    said = "".join(each.stdout + each.stderr for each in (told, rotated, retired))
    assert CANARY not in said


def test_a_rotation_that_is_due_is_said_with_a_status(seda_here: Seda, tmp_path: Path) -> None:
    keys = tmp_path / "home" / "keys"
    keys.mkdir(parents=True, mode=0o700)
    old = keys / "local-20260101T000000Z-00000000.key"
    old.touch(0o600)
    old.write_bytes(bytes(32))
    told = seda_here("keys", "status")
    assert told.returncode == 1
    assert "seda keys rotate" in told.stderr
    assert seda_here("keys", "rotate").returncode == 0
    assert seda_here("keys", "status").returncode == 0


def test_a_wrong_key_uri_is_one_sentence(seda_here: Seda) -> None:
    answer = seda_here("keys", "status", SEDA_KMS_KEY_URI="arn:aws:kms:x")
    assert "aws-kms://REGION/alias/NAME" in sentence(answer)
