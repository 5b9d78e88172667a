"""FCM over real HTTP: what each answer means, one access token for many, and no secret in a log."""

import json
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

import httpx
import jwt
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from seda.database.regions import Region
from seda.notifications.fcm import (
    FcmSender,
    ServiceAccount,
    UnencryptedUrlError,
    UnusableServiceAccountError,
    outcome_of,
)
from seda.notifications.opening import IncompleteFcmSettingsError, open_sender
from seda.notifications.senders import (
    DeadDevice,
    Delivered,
    LocalSink,
    Push,
    Refused,
    TryLater,
)
from seda.privacy.files import personal_files
from seda.sandbox.mock_providers.running import MockServer
from seda.settings import Settings
from tests.embeddings.mock_server import mock_service

__all__ = ["mock_service"]

NOW = datetime(2026, 11, 24, 12, tzinfo=UTC)
KEY = UUID("9d0c6f5e-6c5f-4d3e-9a51-0a6f0f4f6f11")
DEVICE = "device-token-of-Ada"
PERSON = UUID(int=5)


def push(token: str = DEVICE) -> Push:
    return Push(
        KEY, token, "#techno", "Ben is here — join them", "room", UUID(int=7),
        NOW + timedelta(minutes=15), PERSON,
    )  # fmt: skip


@pytest.fixture(scope="session")
def private_key() -> str:
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    return key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    ).decode()


class Fcm:
    """The mock's control plane, and the sender that talks to it; time is what a test says."""

    def __init__(self, mock: MockServer, private_key: str) -> None:
        self.now = NOW
        self.url = f"{mock.url}/fcm"
        self.control = httpx.Client(base_url=f"{self.url}/control", trust_env=False)
        self.account = ServiceAccount("seda", "push@seda.test", f"{self.url}/token", private_key)
        self.sender = FcmSender(
            self.account, lambda: self.now, base_url=self.url, total_seconds=0.5
        )

    def behave(self, **profile: Any) -> None:
        assert self.control.put("/profile", json=profile).status_code == 200

    def messages(self) -> list[dict[str, Any]]:
        return self.control.get("/messages").json()


@pytest.fixture
def fcm(mock_service: MockServer, private_key: str) -> Iterator[Fcm]:
    fcm = Fcm(mock_service, private_key)
    fcm.behave()
    fcm.control.put("/unregistered", json=[])
    for path in ("/messages", "/access"):
        fcm.control.delete(path)
    yield fcm
    fcm.sender.close()
    fcm.control.close()


def test_a_message_arrives_with_its_key_where_each_platform_looks_for_it(fcm: Fcm) -> None:
    assert fcm.sender.send(push()) == Delivered()
    (message,) = fcm.messages()
    assert message["token"] == DEVICE
    assert message["notification"] == {"title": "#techno", "body": "Ben is here — join them"}
    assert message["data"] == {
        "idempotency_key": str(KEY), "entity_type": "room", "entity_id": str(UUID(int=7)),
    }  # fmt: skip
    assert message["android"]["notification"]["tag"] == str(KEY)
    assert message["android"]["ttl"] == "900s"
    assert message["apns"]["headers"]["apns-collapse-id"] == str(KEY)
    assert message["webpush"]["headers"]["Topic"] == KEY.hex


def test_the_request_for_access_is_signed_by_the_account(fcm: Fcm, private_key: str) -> None:
    public = serialization.load_pem_private_key(private_key.encode(), None).public_key()
    claims = jwt.decode(
        fcm.account.assertion(NOW),
        public,
        algorithms=["RS256"],
        audience=fcm.account.token_uri,
        options={"verify_exp": False, "verify_iat": False},
    )
    assert claims["iss"] == "push@seda.test"
    assert claims["scope"] == "https://www.googleapis.com/auth/firebase.messaging"
    assert claims["exp"] - claims["iat"] == 3600


def test_one_access_token_serves_until_shortly_before_its_end(fcm: Fcm) -> None:
    assert fcm.sender.send(push()) == Delivered()
    first = fcm.sender._access
    fcm.now += timedelta(minutes=58)
    assert fcm.sender.send(push()) == Delivered()
    assert fcm.sender._access == first
    fcm.now += timedelta(minutes=2)
    assert fcm.sender.send(push()) == Delivered()
    assert fcm.sender._access != first


def test_a_revoked_access_token_is_replaced_at_once(fcm: Fcm) -> None:
    assert fcm.sender.send(push()) == Delivered()
    fcm.control.delete("/access")
    assert fcm.sender.send(push()) == Delivered()
    assert len(fcm.messages()) == 2


def test_a_device_that_is_gone_is_dead(fcm: Fcm) -> None:
    fcm.control.put("/unregistered", json=[DEVICE])
    assert fcm.sender.send(push()) == DeadDevice("fcm_unregistered")
    assert fcm.sender.send(push("no token!")) == DeadDevice("fcm_invalid_argument")


def test_a_quota_asks_everybody_to_wait(fcm: Fcm) -> None:
    fcm.behave(rate_limit_rate=1, retry_after_seconds=7)
    assert fcm.sender.send(push()) == TryLater("fcm_quota_exceeded", timedelta(seconds=7), True)


def test_an_error_is_tried_again(fcm: Fcm) -> None:
    fcm.behave(error_rate=1)
    assert fcm.sender.send(push()) == TryLater("fcm_internal")
    fcm.behave(outages=[{"start": 0, "end": 3600}], retry_after_seconds=3)
    assert fcm.sender.send(push()) == TryLater("fcm_unavailable", timedelta(seconds=3), True)


def test_a_success_whose_body_is_cut_was_taken_and_is_not_repeated(fcm: Fcm) -> None:
    fcm.behave(cut_rate=1)
    assert fcm.sender.send(push()) == Delivered()
    assert len(fcm.messages()) == 1


def test_an_answer_that_does_not_come_is_tried_again(fcm: Fcm) -> None:
    fcm.sender._client.timeout = httpx.Timeout(0.1)
    fcm.sender.send(push())
    fcm.behave(latency_seconds=2)
    assert fcm.sender.send(push()) == TryLater("fcm_ReadTimeout")


def test_nothing_listens_and_nothing_is_lost(private_key: str) -> None:
    account = ServiceAccount("seda", "push@seda.test", "http://127.0.0.1:1/token", private_key)
    sender = FcmSender(account, lambda: NOW, base_url="http://127.0.0.1:1")
    assert sender.send(push()) == TryLater("fcm_token_ConnectError", everybody=True)


@pytest.mark.parametrize(
    ("status", "code", "expected"),
    [
        (403, "SENDER_ID_MISMATCH", Refused("fcm_sender_id_mismatch")),
        (401, "THIRD_PARTY_AUTH_ERROR", TryLater("fcm_third_party_auth_error", everybody=True)),
        (403, None, TryLater("fcm_403", everybody=True)),
        (404, None, TryLater("fcm_404", everybody=True)),  # a wrong project: no device's fault
        (413, None, Refused("fcm_413")),
        (429, None, TryLater("fcm_429", timedelta(minutes=1), everybody=True)),
        (500, None, TryLater("fcm_500")),
    ],
)
def test_other_answers_by_the_table_of_codes(status, code, expected) -> None:
    type = "type.googleapis.com/google.firebase.fcm.v1.FcmError"
    error = {"details": [{"@type": type, "errorCode": code}]} if code else {}
    document = {"error": error} if error else {}
    assert outcome_of(status, httpx.Headers(), document, NOW) == expected


@pytest.mark.parametrize("document", [{}, {"error": []}, {"error": {"details": [None, 3]}}])
def test_an_answer_that_is_none_harms_nothing(document) -> None:
    assert isinstance(outcome_of(500, httpx.Headers(), document, NOW), TryLater)
    assert isinstance(outcome_of(400, httpx.Headers(), document, NOW), Refused)


def test_a_message_that_is_wrong_in_itself_does_not_cost_the_device() -> None:
    violation = {"fieldViolations": [{"field": "message.data[0].value"}]}
    error = {"status": "INVALID_ARGUMENT", "message": "Invalid value", "details": [violation]}
    outcome = outcome_of(400, httpx.Headers(), {"error": error}, NOW)
    assert outcome == Refused("fcm_invalid_argument")


def settings(tmp_path: Path, **given: Any) -> Settings:
    return Settings(_env_file=None, home=tmp_path, **given)


def test_without_settings_pushes_go_to_a_file_of_the_person_without_the_token(
    tmp_path: Path,
) -> None:
    sender = open_sender(settings(tmp_path), Region.EU, lambda: NOW)
    assert isinstance(sender, LocalSink)
    assert [sender.send(push()), sender.send(push())] == [Delivered()] * 2
    path = tmp_path / "sink" / "eu" / "pushes" / f"{PERSON}.jsonl"
    assert personal_files(tmp_path, PERSON) == [path]
    lines = path.read_text().splitlines()
    assert [json.loads(line)["idempotency_key"] for line in lines] == [str(KEY)] * 2
    assert DEVICE not in "".join(lines)


def test_a_sink_forgets_what_is_old_and_keeps_the_rest(tmp_path: Path) -> None:
    days = [0, 5, 9]
    for day in days:
        LocalSink(tmp_path, Region.EU, lambda day=day: NOW + timedelta(days=day)).send(push())
    sink = LocalSink(tmp_path, Region.EU, lambda: NOW)
    assert sink.forget(NOW + timedelta(days=6)) == 2
    (line,) = sink.path_of(PERSON).read_text().splitlines()
    assert json.loads(line)["sent_at"] == (NOW + timedelta(days=9)).isoformat()
    assert sink.forget(NOW + timedelta(days=10)) == 1
    assert personal_files(tmp_path, PERSON) == []


def test_a_sink_that_cannot_be_written_loses_nothing(tmp_path: Path) -> None:
    (tmp_path / "sink").write_text("in the way")
    sink = LocalSink(tmp_path, Region.GLOBAL, lambda: NOW)
    assert isinstance(sink.send(push()), TryLater)


def test_a_key_file_opens_fcm_and_a_bad_one_is_named_without_its_content(
    tmp_path: Path, private_key: str
) -> None:
    path = tmp_path / "key.json"
    whole = {
        "project_id": "seda", "client_email": "push@seda.test", "private_key": private_key,
        "token_uri": "https://oauth2.googleapis.com/token",
    }  # fmt: skip
    path.write_text(json.dumps(whole))
    opened = settings(tmp_path, fcm_service_account_file=path)
    sender = open_sender(opened, Region.GLOBAL, lambda: NOW)
    assert isinstance(sender, FcmSender)
    assert private_key not in repr(sender._account)
    for content in ("no json", "[]", "{}", json.dumps(whole | {"private_key": "SECRET"})):
        path.write_text(content)
        with pytest.raises(UnusableServiceAccountError, match="FCM_SERVICE_ACCOUNT_FILE") as raised:
            open_sender(opened, Region.GLOBAL, lambda: NOW)
        assert "SECRET" not in str(raised.value)
    with pytest.raises(IncompleteFcmSettingsError):
        open_sender(settings(tmp_path, fcm_project_id="seda"), Region.GLOBAL, lambda: NOW)


def test_nothing_is_sent_to_another_machine_in_clear_text(fcm: Fcm) -> None:
    with pytest.raises(UnencryptedUrlError, match="FCM_BASE_URL"):
        FcmSender(fcm.account, lambda: NOW, base_url="http://fcm.example")
    open_token = replace(fcm.account, token_uri="http://token.example")
    with pytest.raises(UnencryptedUrlError, match="token_uri"):
        FcmSender(open_token, lambda: NOW)


def test_a_token_is_in_no_representation() -> None:
    assert DEVICE not in repr(push())
