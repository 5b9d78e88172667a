"""The connectors that the settings make possible."""

from pathlib import Path

from seda.links import apple, spotify, youtube
from seda.links.apple import AppleMusic
from seda.links.connector import Connector, Provider
from seda.links.http import secure_base
from seda.links.oauth import OAuthClient
from seda.links.spotify import Spotify
from seda.links.youtube import YouTube
from seda.settings import Settings


def open_connectors(settings: Settings) -> dict[Provider, Connector]:
    """A connector for each provider that people can link here by an authorization code.

    Raises:
        UnusableUrlError, UnencryptedProviderError: a base URL cannot be used.
    """
    found: dict[Provider, Connector] = {}
    if settings.spotify_client_id:
        base = _base(settings.spotify_base_url, "SEDA_SPOTIFY_BASE_URL")
        accounts = base or spotify.ACCOUNTS_URL
        client = OAuthClient(
            f"{accounts}/authorize", f"{accounts}/api/token",
            callback_url(settings, Provider.SPOTIFY), settings.spotify_client_id, spotify.SCOPES,
        )  # fmt: skip
        found[Provider.SPOTIFY] = Spotify(client, base or spotify.API_URL)
    if settings.youtube_client_id and settings.youtube_client_secret:
        base = _base(settings.youtube_base_url, "SEDA_YOUTUBE_BASE_URL")
        tokens = base or youtube.TOKENS_URL
        client = OAuthClient(
            f"{base or youtube.ACCOUNTS_URL}/o/oauth2/v2/auth", f"{tokens}/token",
            callback_url(settings, Provider.YOUTUBE), settings.youtube_client_id, youtube.SCOPES,
            settings.youtube_client_secret, youtube.OFFLINE,
        )  # fmt: skip
        found[Provider.YOUTUBE] = YouTube(client, base or youtube.API_URL, f"{tokens}/revoke")
    return found


def open_apple(settings: Settings) -> AppleMusic | None:
    """Apple Music, where we have a key there."""
    if apple_key(settings) is None:
        return None
    base = _base(settings.apple_base_url, "SEDA_APPLE_BASE_URL")
    return AppleMusic(base or apple.API_URL)


def apple_key(settings: Settings) -> tuple[Path, str, str] | None:
    """What signs our developer token: key file, key id and team."""
    key, key_id, team = settings.apple_key_file, settings.apple_key_id, settings.apple_team_id
    return (key, key_id, team) if key and key_id and team else None


def callback_url(settings: Settings, provider: Provider) -> str:
    """Where the provider sends people back; registered with our app there."""
    public = settings.public_url or f"http://127.0.0.1:{settings.api_port}"
    return f"{secure_base(public, 'SEDA_PUBLIC_URL')}/links/{provider}/callback"


def _base(url: str | None, setting: str) -> str | None:
    return secure_base(url, setting) if url else None
