"""Every setting of the platform, typed, in one class, read from the environment and `.env`.

With none set, everything runs on this machine with no key and no network. The README's table of
settings is checked against this class by a test.
"""

import secrets
from decimal import Decimal
from functools import lru_cache
from pathlib import Path
from typing import Literal

from pydantic import Field, SecretStr
from pydantic_settings import BaseSettings, SettingsConfigDict

from seda.errors import SedaError

REPOSITORY = Path(__file__).resolve().parent.parent


class UnusableHomeError(SedaError):
    """`SEDA_HOME` cannot be written."""


class Settings(BaseSettings):
    """One process's configuration; `environment_name` tells a field's name outside."""

    model_config = SettingsConfigDict(
        env_file=".env",
        env_prefix="SEDA_",
        extra="ignore",
        env_ignore_empty=True,
        populate_by_name=True,
    )

    home: Path = Field(Path(".seda"), description="Where everything local lives.")
    env: Literal["local", "qa", "sandbox", "production"] = Field(
        "local", description="Which environment this is; sandbox tools refuse production."
    )
    database_url: SecretStr | None = Field(
        None, description="Postgres of the global region; default: the embedded server."
    )
    eu_database_url: SecretStr | None = Field(
        None, description="Postgres of the EU region; default: the embedded server."
    )
    dagster_database_url: SecretStr | None = Field(
        None, description="Postgres of Dagster's own storage; default: the embedded server."
    )
    api_password: SecretStr | None = Field(
        None, description="Password of the role `seda_api`, where the database asks for one."
    )
    storage_url: str | None = Field(
        None,
        description="Matrices and exports of the global region; default under `SEDA_HOME`; "
        "`s3://…` works.",
    )
    eu_storage_url: str | None = Field(
        None, description="The same for the EU region; never the same place."
    )
    qdrant_url: str | None = Field(
        None, description="Qdrant of the global region: an address or a folder; default: none."
    )
    eu_qdrant_url: str | None = Field(
        None, description="The same for the EU region; never the same place."
    )
    qdrant_api_key: SecretStr | None = Field(
        None, description="Key of the Qdrant servers, where they ask for one."
    )
    dagster_port: int = Field(3000, description="Port of the Dagster UI.")
    api_port: int = Field(8000, description="Port of the API.")
    realtime_port: int = Field(8001, description="Port of the real-time service.")
    global_shards: int = Field(8, ge=1, le=64, description="User shards of the global region.")
    eu_shards: int = Field(2, ge=1, le=64, description="User shards of the EU region.")
    runs: Literal["one", "per-shard"] = Field(
        "one",
        description="Whether a backfill is one run over all its shards (a machine) or a run per "
        "shard (a cluster).",
    )
    embedding_monthly_cap_usd: Decimal = Field(
        Decimal(1500), ge=0, description="Most that a calendar month's embeddings may cost."
    )
    embedding_batch_size: int = Field(
        128, ge=64, le=256, description="Texts per request, unless the provider takes fewer."
    )
    embedding_period_days: int = Field(
        45, ge=30, le=60, description="How often unchanged text is embedded again."
    )
    embedding_shadow: Literal["openai", "cohere", "local"] | None = Field(
        None, description="Provider whose space gets shadow writes of the global region."
    )
    embedding_shadow_share: float = Field(
        0.02, ge=0.01, le=0.05, description="Share of the catalogue that is shadow-written."
    )
    recommendation_ttl_hours: int = Field(
        36, ge=1, description="How long a published list counts as fresh."
    )
    exploration_rate: float = Field(
        1.0, ge=0, le=1, description="Share of lists (per person and day) whose place 15 explores."
    )
    event_retention_days: int = Field(
        30, ge=16, description="Days that feedback (`fact_events`) is kept."
    )
    social_event_retention_days: int = Field(
        7, ge=7, description="Days that social events are kept."
    )
    receipt_retention_days: int = Field(
        30, ge=8, description="Days within which an event that is sent again is a duplicate."
    )
    impression_retention_days: int = Field(
        90, ge=60, description="Days that it is on record what was shown to whom."
    )
    notification_retention_days: int = Field(
        90, ge=7, description="Days that decisions about toasts and pushes are kept."
    )
    operations_retention_days: int = Field(
        400, ge=7, description="Days that logs of vectors, breakers and comparisons are kept."
    )
    dagster_retention_days: int = Field(
        30, ge=7, description="Days that Dagster's own events and runs are kept."
    )
    redis_url: SecretStr | None = Field(
        None,
        description="Redis that several processes count requests in, and real-time ones hear each "
        "other by; default: each alone.",
    )
    rate_limit_person: int = Field(
        600, ge=0, description="Requests a minute that a person may make of the API; 0: any number."
    )
    rate_limit_address: int = Field(
        6000, ge=0, description="The same for an address, which many people may share."
    )
    trusted_proxies: str | None = Field(
        None,
        description="Addresses and networks, with commas, whose `X-Forwarded-For` is believed.",
    )
    web_origins: str | None = Field(
        None,
        description="Origins, with commas, whose pages may call the API and the real-time service, "
        "such as `https://app.example`; default: their own only.",
    )
    largest_body_kib: int = Field(
        1024, ge=1, description="Largest body of a request to the API, in KiB."
    )
    api_connections: int = Field(
        4,
        ge=1,
        le=50,
        description="Connections of an API process to each region's database, beside the one that "
        "records pages; more than the database has processors free make every request dearer.",
    )
    drain_seconds: float = Field(
        1.0,
        ge=0,
        description="How long the API, told to stop, says so at `/readyz` before it takes no more.",
    )
    jwt_secret: SecretStr | None = Field(
        None, description="HS256 secret of the tokens; default: random per `SEDA_HOME`."
    )
    jwks_url: str | None = Field(None, description="JWKS of the tokens (ES256, RS256).")
    jwt_issuer: str | None = Field(None, description="Required issuer of the tokens.")
    jwt_audience: str = Field("authenticated", description="Required audience of the tokens.")
    presence_window_ms: int = Field(
        250,
        ge=250,
        le=500,
        description="How often a client is told of presence at most; the first change at once.",
    )
    presence_linger_ms: int = Field(
        2000,
        ge=0,
        le=60_000,
        description="How long who left a room is still there: who comes back meanwhile never left.",
    )
    sentry_dsn: SecretStr | None = Field(
        None,
        validation_alias="SENTRY_DSN",
        description="Where errors are reported to, scrubbed; default: nowhere.",
    )
    push_threshold: float = Field(0.8, ge=0, le=1, description="Lowest score that is worth a push.")
    fcm_service_account_file: Path | None = Field(
        None,
        validation_alias="FCM_SERVICE_ACCOUNT_FILE",
        description="Key file of the Firebase service account that sends pushes; default: they "
        "are written to `SEDA_HOME/sink`.",
    )
    fcm_project_id: str | None = Field(
        None,
        validation_alias="FCM_PROJECT_ID",
        description="Firebase project, where it is not the key file's.",
    )
    fcm_base_url: str | None = Field(
        None, validation_alias="FCM_BASE_URL", description="FCM's API at another address."
    )

    openai_api_key: SecretStr | None = Field(
        None,
        validation_alias="OPENAI_API_KEY",
        description="Key of OpenAI, the primary embeddings provider of the global region.",
    )
    openai_base_url: str | None = Field(
        None, description="OpenAI's API at another address, such as `seda mock-providers`."
    )
    cohere_api_key: SecretStr | None = Field(
        None,
        validation_alias="COHERE_API_KEY",
        description="Key of Cohere, the standby of the global region.",
    )
    cohere_base_url: str | None = Field(None, description="Cohere's API at another address.")
    eu_embedder_url: str | None = Field(
        None,
        description="Base URL of the EU region's embedder (`seda embed-server`, or any in the EU "
        "that speaks OpenAI's format), such as `http://127.0.0.1:8002/v1`.",
    )
    eu_embedder_api_key: SecretStr | None = Field(
        None, description="Key of the EU region's embedder, where it asks for one."
    )
    eu_embedder_model: str = Field("hashed-words", description="Model that it must serve.")
    eu_embedder_dim: int = Field(1536, ge=1, le=4000, description="Dimensions of that model.")
    eu_embedder_version: str = Field(
        "1", description="Version of that model; `seda embed-server` prints it when it starts."
    )
    embedder_port: int = Field(8002, description="Port of `seda embed-server`.")
    embedder_model_dir: Path | None = Field(
        None,
        description="Folder of the SentenceTransformers model that `seda embed-server` serves; "
        "default: hashed words.",
    )
    rewrite_at_once_mib: int = Field(
        64,
        ge=0,
        description="Largest table, in MiB, that is written anew right after a deletion, so that "
        "no byte of it stays on disk; larger ones wait for Sunday. 0: all wait.",
    )
    smtp_url: SecretStr | None = Field(
        None,
        description="Mail server for notices of exports and deletions: "
        "`smtp://user:password@host:587` (with STARTTLS) or `smtps://…`; default: "
        "`SEDA_HOME/sink`.",
    )
    mail_from: str = Field("privacy@seda.fm", description="Sender of those notices.")
    kms_key_uri: str | None = Field(
        None,
        description="Key that wraps the data keys of sealed tokens: `aws-kms://REGION/alias/NAME`; "
        "default: files in `SEDA_HOME/keys`.",
    )
    public_url: str | None = Field(
        None,
        description="Address of the API to which providers send people back; default: "
        "`http://127.0.0.1` and the API's port.",
    )
    spotify_client_id: str | None = Field(
        None, description="Spotify app that people link with; default: Spotify cannot be linked."
    )
    spotify_base_url: str | None = Field(
        None, description="Spotify at another address, such as `seda mock-providers`."
    )
    youtube_client_id: str | None = Field(
        None, description="Google OAuth client that people link YouTube with."
    )
    youtube_client_secret: SecretStr | None = Field(None, description="Secret of that client.")
    youtube_base_url: str | None = Field(None, description="Google's OAuth and YouTube elsewhere.")
    apple_team_id: str | None = Field(None, description="Apple developer team.")
    apple_key_id: str | None = Field(None, description="Id of its MusicKit key.")
    apple_key_file: Path | None = Field(
        None, description="That key (`.p8`); signs the developer token, renewed every 90 days."
    )
    apple_base_url: str | None = Field(None, description="Apple Music's API elsewhere.")
    mock_providers_port: int = Field(8003, description="Port of `seda mock-providers`.")
    notifier_port: int = Field(8004, description="Port of the notifier's health.")
    api_metrics_urls: str | None = Field(
        None,
        description="Addresses, with commas, of the `/metrics` of every process of the API, which "
        "a canary's gates read; default: that of `SEDA_API_PORT` here.",
    )
    realtime_metrics_urls: str | None = Field(
        None, description="The same of the real-time service; default: `SEDA_REALTIME_PORT` here."
    )
    flags: str | None = Field(
        None,
        description="Where feature flags come from: a JSON file, or `package.module:Provider` of "
        "an OpenFeature provider; default: `SEDA_HOME/flags.json`, if there is one.",
    )

    @property
    def offers_demo(self) -> bool:
        """Whether the API has the demo page, which can speak for listeners of the sandbox."""
        return self.env != "production"

    def home_directory(self) -> Path:
        """The absolute home, created on demand.

        Raises:
            UnusableHomeError: it cannot be created or written.
        """
        home = self.home.expanduser().resolve()
        try:
            home.mkdir(parents=True, exist_ok=True)
            probe = home / ".writable"
            probe.write_bytes(b"seda" * 1024)
            probe.unlink()
        except OSError as problem:
            raise UnusableHomeError(
                f"SEDA_HOME {home} cannot be written ({problem.strerror}): free some space there, "
                "correct its permissions, or set SEDA_HOME to another folder."
            ) from problem
        return home

    def signing_secret(self) -> str:
        """The HS256 secret: the configured one, else one made at random once per home."""
        return self._secret("jwt-secret", self.jwt_secret)

    def cursor_secret(self) -> str:
        """What page cursors are signed with; random, once per home, when no secret is set."""
        return self._secret("cursor-secret", self.jwt_secret)

    def download_secret(self) -> str:
        """What links to exports are signed with; random, once per home, when no secret is set."""
        return self._secret("download-secret", self.jwt_secret)

    def _secret(self, name: str, configured: SecretStr | None) -> str:
        if configured is not None:
            return configured.get_secret_value()
        folder = self.home_directory() / "secrets"
        folder.mkdir(mode=0o700, exist_ok=True)
        path = folder / name
        try:
            with path.open("x") as file:
                path.chmod(0o600)
                file.write(secrets.token_urlsafe(48))
        except FileExistsError:
            pass
        return path.read_text()


def environment_name(field: str) -> str:
    """The environment variable of a field, such as `SEDA_HOME` of `home`."""
    described = Settings.model_fields.get(field)
    alias = described.validation_alias if described else None
    return alias if isinstance(alias, str) else f"SEDA_{field.upper()}"


@lru_cache(maxsize=1)
def load_settings() -> Settings:
    """The process's settings, read once."""
    return Settings()
