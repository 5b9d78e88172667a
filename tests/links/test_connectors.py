"""The real connectors over real HTTP, against the stand-ins of the providers."""

import traceback
from datetime import UTC, datetime, timedelta
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import httpx
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec
from pydantic import SecretStr

from seda.links.apple import AppleMusic, UnusableAppleKeyError, developer_token
from seda.links.connector import Connector, LinkError, Provider, Trouble
from seda.links.http import UnencryptedProviderError
from seda.links.oauth import challenge_of, new_verifier
from seda.links.opening import open_apple, open_connectors
from seda.sandbox.mock_providers.running import MockServer
from seda.settings import Settings
from tests.embeddings.mock_server import mock_server, mock_service

__all__ = ["mock_server", "mock_service"]

OAUTH = (Provider.SPOTIFY, Provider.YOUTUBE)


def settings_for(mock: MockServer, home: Path, **options: object) -> Settings:
    return Settings(
        _env_file=None, home=home, spotify_client_id="seda", spotify_base_url=mock.spotify_url,
        youtube_client_id="seda", youtube_client_secret=SecretStr("canary-client-secret"),
        youtube_base_url=mock.youtube_url, apple_base_url=mock.apple_url, **options,
    )  # fmt: skip


def apple_key(folder: Path) -> Path:
    key = ec.generate_private_key(ec.SECP256R1()).private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )  # fmt: skip
    path = folder / "AuthKey.p8"
    path.write_bytes(key)
    return path


def consent(address: str, listener: str = "ada", decision: str = "allow") -> dict[str, str]:
    """What a person does on the provider's page; the members that come back."""
    with httpx.Client(trust_env=False) as browser:
        page = browser.get(address)
        assert page.status_code == 200
        assert "Agree" in page.text
        form = {name: each[0] for name, each in parse_qs(urlsplit(address).query).items()}
        answer = browser.post(
            address.partition("?")[0], data=form | {"listener": listener, "decision": decision}
        )
    assert answer.status_code == 303
    query = parse_qs(urlsplit(answer.headers["location"]).query)
    return {name: each[0] for name, each in query.items()}


@pytest.fixture(params=OAUTH)
def connector(request, mock_server: MockServer, tmp_path: Path) -> Connector:
    return open_connectors(settings_for(mock_server, tmp_path))[request.param]


def linked(connector: Connector, listener: str = "ada"):
    verifier = new_verifier()
    back = consent(connector.authorize_url("a-state", challenge_of(verifier)), listener)
    assert back["state"] == "a-state"
    return connector.exchange(SecretStr(back["code"]), verifier)


def test_a_person_consents_and_their_summary_comes_in(connector: Connector) -> None:
    tokens = linked(connector)
    assert tokens.refresh is not None
    assert connector.account_id(tokens.access) == connector.account_id(tokens.access)
    found = connector.summary(tokens.access, {})
    assert found.artists is not None
    assert len({each.external_id for each in found.artists}) == 50
    assert 3 <= len(found.genres) <= 20
    assert len(found.playlists) >= 3
    assert all(each.artists for each in found.playlists)
    other = connector.summary(linked(connector, "ben").access, {})
    assert other.artists != found.artists
    again = connector.summary(connector.refresh(tokens.refresh).access, {})
    assert again == found


def test_the_next_look_reads_only_what_changed(
    connector: Connector, mock_server: MockServer
) -> None:
    access = linked(connector, "cleo").access
    first = connector.summary(access, {})
    control = f"/{connector.provider}/control"
    mock_server.steer("DELETE", f"{control}/requests")
    second = connector.summary(access, first.marks)
    unchanged = mock_server.steer("GET", f"{control}/requests")
    assert all(each.artists is None for each in second.playlists)
    assert [each.external_id for each in second.playlists] == [
        each.external_id for each in first.playlists
    ]
    assert second.genres == first.genres
    if connector.provider is Provider.SPOTIFY:
        assert second.artists is None
        assert [each["status"] for each in unchanged] == [304, 200]
    mock_server.steer("POST", f"{control}/listens/cleo")
    third = connector.summary(access, second.marks)
    assert third.artists not in (None, first.artists)
    assert [each.artists is not None for each in third.playlists].count(True) == 1


def test_a_code_counts_once_and_only_with_its_verifier(connector: Connector) -> None:
    verifier = new_verifier()
    address = connector.authorize_url("s", challenge_of(verifier))
    code = SecretStr(consent(address)["code"])
    with pytest.raises(LinkError) as wrong:
        connector.exchange(SecretStr(consent(address)["code"]), new_verifier())
    assert wrong.value.trouble is Trouble.REVOKED
    tokens = connector.exchange(code, verifier)
    with pytest.raises(LinkError):
        connector.exchange(code, verifier)
    with pytest.raises(LinkError) as taken_back:  # what a code used twice gave is void
        connector.account_id(tokens.access)
    assert taken_back.value.trouble is Trouble.REVOKED


def test_who_says_no_comes_back_without_a_code(connector: Connector) -> None:
    back = consent(connector.authorize_url("s", challenge_of(new_verifier())), decision="deny")
    assert back == {"error": "access_denied", "state": "s"}


def test_the_page_of_consent_shows_what_it_was_asked_as_text(mock_server: MockServer) -> None:
    query = {
        "response_type": "code", "client_id": "<script>alert(1)</script>", "scope": '"><img>',
        "redirect_uri": "http://127.0.0.1/back", "code_challenge": "x",
        "code_challenge_method": "S256",
    }  # fmt: skip
    with httpx.Client(trust_env=False) as browser:
        page = browser.get(f"{mock_server.spotify_url}/authorize", params=query)
        without = browser.get(
            f"{mock_server.spotify_url}/authorize",
            params=query | {"code_challenge_method": "plain"},
        )
    assert page.status_code == 200
    assert "<script>" not in page.text
    assert "<img>" not in page.text
    assert without.status_code == 400


@pytest.mark.parametrize(
    ("profile", "trouble"),
    [
        ({"rate_limit_rate": 1, "retry_after_seconds": 42}, Trouble.RATE_LIMITED),
        ({"error_rate": 1}, Trouble.UNAVAILABLE),
        ({"outages": [{"start": 0, "end": 1e9}]}, Trouble.UNAVAILABLE),
        ({"cut_rate": 1}, Trouble.UNAVAILABLE),
        ({"malformed_rate": 1}, Trouble.UNREADABLE),
        ({"revoked": True}, Trouble.REVOKED),
    ],
)
def test_each_failure_has_a_name_and_shows_no_secret(
    connector: Connector, mock_server: MockServer, profile: dict, trouble: Trouble
) -> None:
    tokens = linked(connector)
    mock_server.set_profile(str(connector.provider), **profile)
    with pytest.raises(LinkError) as caught:
        connector.summary(tokens.access, {})
    assert caught.value.trouble is trouble
    if trouble is Trouble.RATE_LIMITED:
        assert caught.value.retry_after == timedelta(seconds=42)
    told = "".join(traceback.format_exception(caught.value)) + repr(tokens)
    assert tokens.access.get_secret_value() not in told
    assert tokens.refresh.get_secret_value() not in told


def test_one_failure_that_passes_is_not_noticed(
    connector: Connector, mock_server: MockServer
) -> None:
    access = linked(connector).access
    mock_server.set_profile(str(connector.provider), error_rate=0.12, seed=3)
    assert connector.summary(access, {}).playlists
    statuses = [
        each["status"]
        for each in mock_server.steer("GET", f"/{connector.provider}/control/requests")
    ]
    assert 500 in statuses


def test_revoking_and_expiry(connector: Connector, mock_server: MockServer) -> None:
    tokens = linked(connector)
    mock_server.steer("DELETE", f"/{connector.provider}/control/access")
    with pytest.raises(LinkError):
        connector.account_id(tokens.access)
    renewed = connector.refresh(tokens.refresh)
    assert connector.account_id(renewed.access)
    if connector.provider is Provider.YOUTUBE:
        connector.revoke(tokens.refresh)
    else:
        assert renewed.refresh is not None  # the old one is gone
        with pytest.raises(LinkError):
            connector.refresh(tokens.refresh)
        mock_server.steer("DELETE", "/spotify/control/grants")
    with pytest.raises(LinkError) as caught:
        connector.refresh(renewed.refresh or tokens.refresh)
    assert caught.value.trouble is Trouble.REVOKED


def apple_session(mock: MockServer, listener: str = "ada") -> SecretStr:
    found = mock.steer("POST", f"/apple/session?listener={listener}")
    return SecretStr(found["music_user_token"])


def test_a_session_at_apple_is_read(mock_server: MockServer, tmp_path: Path) -> None:
    key = apple_key(tmp_path)
    apple = open_apple(
        settings_for(mock_server, tmp_path, apple_key_file=key, apple_key_id="K", apple_team_id="T")
    )
    assert apple is not None
    developer = developer_token(key, "K", "T", datetime.now(UTC))
    user = apple_session(mock_server)
    found = apple.summary(user, developer)
    assert found.artists is not None
    assert len(found.artists) == 50
    assert len(found.genres) >= 3
    assert len(found.playlists) >= 3
    mock_server.steer("DELETE", "/apple/control/grants")
    with pytest.raises(LinkError) as ended:
        apple.summary(user, developer)
    assert ended.value.trouble is Trouble.REVOKED
    with pytest.raises(LinkError) as ours:
        apple.summary(apple_session(mock_server), SecretStr("no-token"))
    assert ours.value.trouble is Trouble.REFUSED
    told = "".join(traceback.format_exception(ended.value))
    assert user.get_secret_value() not in told
    assert developer.get_secret_value() not in told


def test_a_wrong_key_of_apple_is_refused_without_its_text(tmp_path: Path) -> None:
    path = tmp_path / "key.p8"
    path.write_text("canary-private-key")
    with pytest.raises(UnusableAppleKeyError, match=r"\.p8") as caught:
        developer_token(path, "K", "T", datetime.now(UTC))
    assert "canary" not in "".join(traceback.format_exception(caught.value))


def test_without_clients_nothing_can_be_linked_and_tokens_never_go_in_clear(
    tmp_path: Path,
) -> None:
    assert open_connectors(Settings(_env_file=None, home=tmp_path)) == {}
    assert open_apple(Settings(_env_file=None, home=tmp_path)) is None
    clear = Settings(
        _env_file=None, home=tmp_path, spotify_client_id="x", spotify_base_url="http://example.org"
    )
    with pytest.raises(UnencryptedProviderError, match="https"):
        open_connectors(clear)
    assert "canary" not in repr(
        Settings(_env_file=None, home=tmp_path, youtube_client_secret=SecretStr("canary"))
    )


def test_another_address_is_all_that_differs(tmp_path: Path) -> None:
    real = Settings(_env_file=None, home=tmp_path, spotify_client_id="x", youtube_client_id="x",
                    youtube_client_secret=SecretStr("y"))  # fmt: skip
    found = open_connectors(real)
    for provider, host in ((Provider.SPOTIFY, "accounts.spotify.com/authorize"),
                           (Provider.YOUTUBE, "accounts.google.com/o/oauth2/v2/auth")):  # fmt: skip
        assert found[provider].authorize_url("s", "c").startswith(f"https://{host}?")
    assert isinstance(AppleMusic(), AppleMusic)
