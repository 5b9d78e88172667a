"""The vault: what is sealed opens in its own row only, whatever keys come and go."""

import os
import pickle
import traceback
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import boto3
import pytest
from botocore.exceptions import ClientError
from hypothesis import given, settings
from hypothesis import strategies as st
from moto.server import ThreadedMotoServer
from pydantic import SecretStr

from seda.errors import LostSecretError, SedaError
from seda.privacy.keys import (
    ForeignCiphertextError,
    KeyProvider,
    LocalKeys,
    RetiredKeyError,
    UnknownKeyError,
    UnusableKeyStoreError,
)
from seda.privacy.kms import AwsKms
from seda.privacy.vault import Vault, open_vault
from seda.settings import Settings

CANARY = "canary-BQDnb7refresh-token-of-Ada"
HOME = {"table": "linked_accounts", "column": "refresh_token_encrypted", "row": "ada/spotify"}
ELSEWHERE = [
    HOME | {"table": "link_attempts"},
    HOME | {"column": "verifier_encrypted"},
    HOME | {"row": "ben/spotify"},
    HOME | {"row": "ada/youtube"},
    # The same letters, parted elsewhere.
    {"table": "linked_accountsrefresh", "column": "_token_encrypted", "row": "ada/spotify"},
]


@pytest.fixture(scope="module")
def kms_url() -> Iterator[str]:
    """A server that speaks KMS."""
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    yield f"http://{host}:{port}"
    server.stop()


@pytest.fixture(params=["local", "kms"])
def keys(request: pytest.FixtureRequest, tmp_path: Path) -> KeyProvider:
    if request.param == "local":
        return LocalKeys(tmp_path / "keys")
    client = boto3.client(
        "kms", region_name="eu-central-1", endpoint_url=request.getfixturevalue("kms_url"),
        aws_access_key_id="test", aws_secret_access_key="test",
    )  # fmt: skip
    kms = AwsKms(client, f"alias/{tmp_path.name}")
    kms.rotate(datetime.now(UTC))
    return kms


@pytest.fixture
def vault(keys: KeyProvider) -> Vault:
    return Vault(keys)


def test_what_is_sealed_opens_in_its_own_row_only(vault: Vault) -> None:
    sealed = vault.seal(SecretStr(CANARY), **HOME)
    assert CANARY.encode() not in sealed
    assert vault.unseal(sealed, **HOME).get_secret_value() == CANARY
    for place in ELSEWHERE:
        with pytest.raises(ForeignCiphertextError):
            vault.unseal(sealed, **place)
        with pytest.raises(ForeignCiphertextError):
            vault.rewrap(sealed, **place)


def test_every_row_has_a_data_key_of_its_own(vault: Vault) -> None:
    one, other = (vault.seal(SecretStr("same"), **HOME) for _ in range(2))
    assert one[-20:] != other[-20:]
    # The head of one with the body of the other: neither's key fits.
    cut = len(one) - (12 + 4 + 16)
    with pytest.raises(ForeignCiphertextError):
        vault.unseal(one[:cut] + other[cut:], **HOME)


def test_a_rotation_stops_nothing_and_is_followed(vault: Vault) -> None:
    sealed = vault.seal(SecretStr(CANARY), **HOME)
    first = vault.keys.current()
    second = vault.keys.rotate(datetime.now(UTC))
    assert second.key_id != first.key_id == vault_key(sealed)
    assert vault.unseal(sealed, **HOME).get_secret_value() == CANARY
    assert not vault.is_current(sealed)
    again = vault.rewrap(sealed, **HOME)
    assert vault.is_current(again)
    assert vault.unseal(again, **HOME).get_secret_value() == CANARY
    vault.keys.retire(first.key_id)
    with pytest.raises(RetiredKeyError, match="link again"):
        vault.unseal(sealed, **HOME)
    with pytest.raises(RetiredKeyError):
        vault.rewrap(sealed, **HOME)
    assert vault.unseal(again, **HOME).get_secret_value() == CANARY
    with pytest.raises(RetiredKeyError):
        vault.keys.retire(first.key_id)


def vault_key(sealed: bytes) -> str:
    return sealed[3 : 3 + sealed[2]].decode()


def test_a_key_that_is_not_here_is_named(vault: Vault, tmp_path: Path) -> None:
    sealed = Vault(LocalKeys(tmp_path / "others")).seal(SecretStr(CANARY), **HOME)
    with pytest.raises(UnknownKeyError, match=r"There is no key|KMS has no"):
        vault.unseal(sealed, **HOME)


@pytest.fixture(scope="module")
def local(tmp_path_factory: pytest.TempPathFactory) -> Vault:
    return Vault(LocalKeys(tmp_path_factory.mktemp("keys")))


@settings(max_examples=150, deadline=None)
@given(data=st.data())
def test_damaged_bytes_are_refused_and_say_nothing(local: Vault, data: st.DataObject) -> None:
    sealed = bytearray(local.seal(SecretStr(CANARY), **HOME))
    kind = data.draw(st.sampled_from(["flip", "cut", "random"]))
    if kind == "flip":
        sealed[data.draw(st.integers(0, len(sealed) - 1))] ^= data.draw(st.integers(1, 255))
    elif kind == "cut":
        sealed = sealed[: data.draw(st.integers(0, len(sealed) - 1))]
    else:
        sealed = bytearray(b"S1" + data.draw(st.binary(max_size=120)))
    with pytest.raises((ForeignCiphertextError, UnknownKeyError)) as caught:
        local.unseal(bytes(sealed), **HOME)
    told = "".join(traceback.format_exception(caught.value))
    assert CANARY not in told


def test_no_repr_error_or_trace_shows_a_secret(vault: Vault) -> None:
    sealed = vault.seal(SecretStr(CANARY), **HOME)
    data_key = vault.keys.new_data_key({"place": "x"})
    shown = [repr(vault.unseal(sealed, **HOME)), repr(vault), repr(data_key), str(data_key)]
    assert not any(CANARY in each or repr(data_key.plain)[2:-1] in each for each in shown)
    with pytest.raises(SedaError) as caught:
        vault.unseal(sealed, **ELSEWHERE[0])
    told = "".join(traceback.format_exception(caught.value, chain=True))
    assert CANARY not in told
    assert caught.value.__cause__ is None


def test_local_keys_are_their_owners_alone(tmp_path: Path) -> None:
    vault = Vault(LocalKeys(tmp_path / "keys"))
    sealed = vault.seal(SecretStr(CANARY), **HOME)
    (path,) = (tmp_path / "keys").iterdir()
    assert path.stat().st_mode & 0o777 == 0o600
    assert path.parent.stat().st_mode & 0o777 == 0o700
    path.chmod(0o644)
    with pytest.raises(UnusableKeyStoreError, match="chmod 600"):
        vault.unseal(sealed, **HOME)
    path.chmod(0o600)
    os.truncate(path, 7)
    with pytest.raises(UnusableKeyStoreError, match="damaged"):
        vault.unseal(sealed, **HOME)


def test_another_process_sees_a_rotation_at_once(tmp_path: Path) -> None:
    one, other = (Vault(LocalKeys(tmp_path / "keys")) for _ in range(2))
    sealed = one.seal(SecretStr(CANARY), **HOME)
    other.keys.rotate(datetime.now(UTC) - timedelta(days=400))  # its clock is wrong
    assert not one.is_current(sealed)
    assert pickle.dumps(one.keys)  # holds a folder, no key


def test_a_key_is_due_after_ninety_days(tmp_path: Path) -> None:
    made = LocalKeys(tmp_path).rotate(datetime(2026, 1, 1, tzinfo=UTC))
    assert not made.is_due(datetime(2026, 3, 31, tzinfo=UTC))
    assert made.is_due(datetime(2026, 4, 1, tzinfo=UTC))


def test_settings_choose_the_keys_and_a_wrong_uri_is_refused(tmp_path: Path) -> None:
    assert isinstance(open_vault(Settings(_env_file=None, home=tmp_path)).keys, LocalKeys)
    wrong = Settings(_env_file=None, home=tmp_path, kms_key_uri="https://kms/alias/x")
    with pytest.raises(UnusableKeyStoreError, match="aws-kms://REGION/alias/NAME"):
        open_vault(wrong)


def test_a_service_that_does_not_answer_is_said_so() -> None:
    client = boto3.client(
        "kms", region_name="eu-central-1", endpoint_url="http://127.0.0.1:9",
        aws_access_key_id="test", aws_secret_access_key="test",
        config=boto3.session.Config(retries={"max_attempts": 0}, connect_timeout=1),
    )  # fmt: skip
    with pytest.raises(UnusableKeyStoreError, match="KMS refuses describe_key"):
        Vault(AwsKms(client, "alias/x")).seal(SecretStr(CANARY), **HOME)


def test_what_seals_is_at_hand_before_there_is_anything_to_seal(tmp_path: Path) -> None:
    folder = tmp_path / "keys"
    vault = Vault(LocalKeys(folder))
    seal = vault.sealing(**HOME)
    folder.rename(tmp_path / "away")
    sealed = seal(SecretStr(CANARY))
    (tmp_path / "away").rename(folder)
    assert vault.unseal(sealed, **HOME).get_secret_value() == CANARY


def test_what_is_lost_is_told_from_what_does_not_open_now(tmp_path: Path) -> None:
    vault = Vault(LocalKeys(tmp_path / "keys"))
    sealed = vault.seal(SecretStr(CANARY), **HOME)
    old = vault.keys.current().key_id
    key = tmp_path / "keys" / f"{old}.key"
    for harm in (lambda: key.chmod(0o640), lambda: key.rename(key.with_suffix(".moved"))):
        harm()
        with pytest.raises(SedaError) as caught:
            vault.unseal(sealed, **HOME)
        assert not isinstance(caught.value, LostSecretError)
    key.with_suffix(".moved").rename(key)
    key.chmod(0o600)
    with pytest.raises(LostSecretError):
        vault.unseal(sealed[:-1], **HOME)
    vault.keys.rotate(datetime.now(UTC))
    vault.keys.retire(old)
    with pytest.raises(LostSecretError):
        vault.unseal(sealed, **HOME)


class Strict:
    """A client that refuses a disabled key, as KMS does and the stand-in does not."""

    def __init__(self, client: Any) -> None:
        self._client = client

    def __getattr__(self, operation: str) -> Any:
        def call(**arguments: Any) -> Any:
            if operation in ("generate_data_key", "decrypt"):
                described = self._client.describe_key(KeyId=arguments["KeyId"])
                if not described["KeyMetadata"]["Enabled"]:
                    raise ClientError({"Error": {"Code": "DisabledException"}}, operation)
            return getattr(self._client, operation)(**arguments)

        return call


def test_a_key_that_is_disabled_elsewhere_is_followed_and_not_called_lost(
    kms_url: str, tmp_path: Path
) -> None:
    client = boto3.client(
        "kms", region_name="eu-central-1", endpoint_url=kms_url,
        aws_access_key_id="test", aws_secret_access_key="test",
    )  # fmt: skip
    one, other = (AwsKms(Strict(client), f"alias/{tmp_path.name}") for _ in range(2))
    old = one.rotate(datetime.now(UTC)).key_id
    vault = Vault(one)
    sealed = vault.seal(SecretStr(CANARY), **HOME)
    other.rotate(datetime.now(UTC))
    other.retire(old)
    # It remembers the old key for a minute, which is refused by now.
    assert vault_key(vault.seal(SecretStr(CANARY), **HOME)) == other.current().key_id
    with pytest.raises(RetiredKeyError) as caught:
        vault.unseal(sealed, **HOME)
    assert not isinstance(caught.value, LostSecretError)  # it can be enabled again
