"""Wrapping keys in AWS KMS, behind an alias: a rotation points the alias at a new key.

KMS sees data keys and a digest of the place that they are for, never a secret or an id. Older keys
stay enabled until they are retired, so whatever runs goes on reading while rows are wrapped again.
"""

import time
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any
from urllib.parse import urlsplit

import boto3
from botocore.client import BaseClient
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

from seda.privacy.keys import (
    DataKey,
    ForeignCiphertextError,
    KeyInfo,
    RetiredKeyError,
    UnknownKeyError,
    UnusableKeyStoreError,
)

SCHEME = "aws-kms"
REMEMBERED_SECONDS = 60.0
"""How long the alias and a key's state are believed: a rotation is seen within a minute."""

_RETIRED = {"DisabledException", "KMSInvalidStateException"}
_FOREIGN = {"InvalidCiphertextException", "IncorrectKeyException"}


class AwsKms:
    """Data keys of the KMS key behind `alias`, such as `alias/seda-tokens`."""

    def __init__(
        self, client: BaseClient, alias: str, *, seconds: Callable[[], float] = time.monotonic
    ) -> None:
        self._client: Any = client
        self._alias = alias
        self._seconds = seconds
        self._described: dict[str, tuple[float, dict[str, Any]]] = {}

    @classmethod
    def from_uri(cls, uri: str) -> "AwsKms":
        """The provider of `aws-kms://REGION/alias/NAME`, with the credentials that AWS finds.

        Raises:
            UnusableKeyStoreError: it is another URI.
        """
        parts = urlsplit(uri)
        alias = parts.path.removeprefix("/")
        if parts.scheme != SCHEME or not parts.netloc or not alias.startswith("alias/"):
            raise UnusableKeyStoreError(
                f"SEDA_KMS_KEY_URI cannot be used: write it as {SCHEME}://REGION/alias/NAME."
            )
        config = Config(connect_timeout=1, read_timeout=3, retries={"max_attempts": 3})
        return cls(boto3.client("kms", region_name=parts.netloc, config=config), alias)

    def current(self) -> KeyInfo:
        found = self._describe(self._alias)
        return KeyInfo(found["Arn"], found["CreationDate"])

    def new_data_key(self, context: Mapping[str, str]) -> DataKey:
        try:
            return self._new_data_key(context)
        except RetiredKeyError:
            self._described.clear()  # rotated and retired within what is remembered
        return self._new_data_key(context)

    def _new_data_key(self, context: Mapping[str, str]) -> DataKey:
        # By the key's own name, not the alias, which may move between two calls.
        key_id = self.current().key_id
        made = self._call(
            "generate_data_key", KeyId=key_id, KeySpec="AES_256", EncryptionContext=dict(context)
        )
        return DataKey(key_id, made["CiphertextBlob"], made["Plaintext"])

    def unwrap(self, key_id: str, wrapped: bytes, context: Mapping[str, str]) -> bytes:
        self._require_enabled(key_id)
        opened = self._call(
            "decrypt", KeyId=key_id, CiphertextBlob=wrapped, EncryptionContext=dict(context)
        )
        return bytes(opened["Plaintext"])

    def rewrap(self, key_id: str, wrapped: bytes, context: Mapping[str, str]) -> tuple[str, bytes]:
        self._require_enabled(key_id)
        current = self.current().key_id
        made = self._call(
            "re_encrypt",
            CiphertextBlob=wrapped,
            SourceKeyId=key_id,
            SourceEncryptionContext=dict(context),
            DestinationKeyId=current,
            DestinationEncryptionContext=dict(context),
        )
        return current, made["CiphertextBlob"]

    def rotate(self, now: datetime) -> KeyInfo:
        made = self._call("create_key", Description=f"seda.fm tokens, since {now:%Y-%m-%d}")
        key_id = made["KeyMetadata"]["Arn"]
        try:
            self._call("update_alias", AliasName=self._alias, TargetKeyId=key_id)
        except UnknownKeyError:
            self._call("create_alias", AliasName=self._alias, TargetKeyId=key_id)
        self._described.clear()
        return self.current()

    def retire(self, key_id: str) -> None:
        self._require_enabled(key_id)
        self._call("disable_key", KeyId=key_id.rpartition("/")[2])
        self._described.clear()

    def _require_enabled(self, key_id: str) -> None:
        # KMS refuses a disabled key by itself; asked beforehand, the answer is ours to word.
        if not self._describe(key_id)["Enabled"]:
            raise _retired(key_id)

    def _describe(self, name: str) -> dict[str, Any]:
        now = self._seconds()
        at, found = self._described.get(name, (0.0, {}))
        if not found or now - at >= REMEMBERED_SECONDS:
            found = self._call("describe_key", KeyId=name)["KeyMetadata"]
            self._described[name] = now, found
        return found

    def _call(self, operation: str, **arguments: Any) -> dict[str, Any]:
        """One call; what fails is told by its code, never by a message that quotes arguments."""
        try:
            answer: dict[str, Any] = getattr(self._client, operation)(**arguments)
            return answer
        except ClientError as problem:
            code = str(problem.response.get("Error", {}).get("Code", "unknown"))
        except BotoCoreError as problem:
            code = type(problem).__name__
        key_id = str(arguments.get("KeyId", arguments.get("SourceKeyId", self._alias)))
        if code in _RETIRED:
            raise _retired(key_id)
        if code == "NotFoundException":
            raise UnknownKeyError(
                f"KMS has no {key_id}: correct SEDA_KMS_KEY_URI, or make it with "
                "`seda keys rotate`."
            )
        if code in _FOREIGN:
            raise ForeignCiphertextError(
                "KMS says that a data key was not wrapped for the place that it is read from: the "
                "row was copied from elsewhere or damaged."
            )
        raise UnusableKeyStoreError(
            f"KMS refuses {operation} ({code}): check the credentials, the key's policy and the "
            "network."
        )


def _retired(key_id: str) -> RetiredKeyError:
    return RetiredKeyError(
        f"The key {key_id} is disabled: enable it in KMS to read what it wrapped, or let the "
        "owners link again."
    )
