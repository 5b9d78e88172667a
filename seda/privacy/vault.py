"""Envelope encryption of single values: a data key per row, wrapped by a key of the provider.

A sealed value is bound to its table, column and row, as associated data of both layers: copied
elsewhere, it does not open. Values come and go as `SecretStr`, so no repr or log shows them.

Layout: `S1`, the key id (its length in one byte), the wrapped data key (length in two), a nonce of
12 bytes, and the AES-256-GCM ciphertext with its tag.
"""

import secrets
from collections.abc import Callable
from dataclasses import dataclass
from hashlib import sha256

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from pydantic import SecretStr

from seda.privacy.keys import NONCE_BYTES, ForeignCiphertextError, KeyProvider, LocalKeys
from seda.settings import Settings

MAGIC = b"S1"
LARGEST_SECRET = 16 * 1024


@dataclass(frozen=True, slots=True)
class _Envelope:
    key_id: str
    wrapped: bytes
    nonce: bytes
    ciphertext: bytes

    def to_bytes(self) -> bytes:
        key_id = self.key_id.encode()
        return b"".join(
            (
                MAGIC, len(key_id).to_bytes(1, "big"), key_id,
                len(self.wrapped).to_bytes(2, "big"), self.wrapped, self.nonce, self.ciphertext,
            )
        )  # fmt: skip

    @classmethod
    def read(cls, sealed: bytes) -> "_Envelope":
        if sealed[:2] != MAGIC or len(sealed) < 3:
            raise _damaged()
        rest = sealed[3:]
        key_id, rest = rest[: sealed[2]], rest[sealed[2] :]
        size = int.from_bytes(rest[:2], "big")
        wrapped, rest = rest[2 : 2 + size], rest[2 + size :]
        try:
            name = key_id.decode("ascii")
        except UnicodeDecodeError:
            raise _damaged() from None
        return cls(name, wrapped, rest[:NONCE_BYTES], rest[NONCE_BYTES:])


class Vault:
    """Seals and unseals; the place of a value is given each time and never stored with it.

    Besides what is named below, every method may raise what the key provider raises.
    """

    def __init__(self, keys: KeyProvider) -> None:
        self.keys = keys

    def seal(self, secret: SecretStr, *, table: str, column: str, row: str) -> bytes:
        """The secret as bytes for that column of that row, under a data key of its own.

        Raises:
            ValueError: it is longer than 16 KiB.
        """
        return self.sealing(table=table, column=column, row=row)(secret)

    def sealing(self, *, table: str, column: str, row: str) -> Callable[[SecretStr], bytes]:
        """What seals one secret for that place, once, and asks no key service any more.

        For a secret that will exist in one copy alone: where none could be sealed, it is not asked
        for.
        """
        place = _place(table, column, row)
        data_key = self.keys.new_data_key(_context(place))

        def seal(secret: SecretStr) -> bytes:
            text, nonce = secret.get_secret_value().encode(), secrets.token_bytes(NONCE_BYTES)
            if len(text) > LARGEST_SECRET:
                raise ValueError("a secret has at most 16 KiB")
            ciphertext = AESGCM(data_key.plain).encrypt(nonce, text, place)
            return _Envelope(data_key.key_id, data_key.wrapped, nonce, ciphertext).to_bytes()

        return seal

    def unseal(self, sealed: bytes, *, table: str, column: str, row: str) -> SecretStr:
        """The secret.

        Raises:
            ForeignCiphertextError: it was sealed for another place, or damaged.
            RetiredKeyError, UnknownKeyError: its key is out of use, or not here.
        """
        envelope, place = _Envelope.read(bytes(sealed)), _place(table, column, row)
        plain = self.keys.unwrap(envelope.key_id, envelope.wrapped, _context(place))
        try:
            text = AESGCM(plain).decrypt(envelope.nonce, envelope.ciphertext, place)
        except (InvalidTag, ValueError):
            text = None
        if text is None:  # outside of the handler, so that nothing of the attempt is chained
            raise _damaged()
        return SecretStr(text.decode())

    def is_current(self, sealed: bytes) -> bool:
        """Whether the current key wraps the value's data key."""
        return _Envelope.read(bytes(sealed)).key_id == self.keys.current().key_id

    def rewrap(self, sealed: bytes, *, table: str, column: str, row: str) -> bytes:
        """The same sealed value with its data key wrapped by the current key.

        Raises:
            ForeignCiphertextError, RetiredKeyError, UnknownKeyError: as `unseal`.
        """
        envelope = _Envelope.read(bytes(sealed))
        context = _context(_place(table, column, row))
        key_id, wrapped = self.keys.rewrap(envelope.key_id, envelope.wrapped, context)
        return _Envelope(key_id, wrapped, envelope.nonce, envelope.ciphertext).to_bytes()


def open_vault(settings: Settings) -> Vault:
    """The vault over KMS where `SEDA_KMS_KEY_URI` names a key, else over files in the home.

    Raises:
        UnusableKeyStoreError: the URI cannot be used.
    """
    if settings.kms_key_uri:
        from seda.privacy.kms import AwsKms  # half a second, only where it is used

        return Vault(AwsKms.from_uri(settings.kms_key_uri))
    return Vault(LocalKeys(settings.home_directory() / "keys"))


def _place(table: str, column: str, row: str) -> bytes:
    parts = [MAGIC, *(part.encode() for part in (table, column, row))]
    return b"".join(len(part).to_bytes(4, "big") + part for part in parts)


def _context(place: bytes) -> dict[str, str]:
    # A digest: a key service writes its contexts into its log.
    return {"place": sha256(place).hexdigest()}


def _damaged() -> ForeignCiphertextError:
    return ForeignCiphertextError(
        "A sealed value does not open in the row that it is read from: it was copied from "
        "elsewhere or damaged, so restore it or let its owner link again."
    )
