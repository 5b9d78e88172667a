"""Keys that wrap data keys: the port, and keys in files of this machine.

A key is never used on a secret itself. It wraps the data key of one row, which is all that a key
service ever sees, and it may be taken out of use without touching what the data keys sealed.
"""

import os
import re
import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Protocol

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from seda.errors import LostSecretError, SedaError

KEY_BYTES = 32
NONCE_BYTES = 12
ROTATE_AFTER = timedelta(days=90)
"""How old the current key may become (PRV-3)."""

_name = re.compile(r"local-\d{8}T\d{6}Z-[0-9a-f]{8}").fullmatch


class UnknownKeyError(SedaError):
    """A data key was wrapped by a key that is not here."""


class RetiredKeyError(SedaError):
    """A key that was taken out of use."""


class DestroyedKeyError(RetiredKeyError, LostSecretError):
    """A key that was taken out of use, and is no more."""


class UnusableKeyStoreError(SedaError):
    """Keys cannot be read or made: permissions, a damaged file, a service that does not answer."""


class ForeignCiphertextError(LostSecretError):
    """Bytes that this key did not wrap for this place."""


@dataclass(frozen=True, slots=True)
class KeyInfo:
    """A wrapping key, without the key."""

    key_id: str
    created_at: datetime

    def is_due(self, now: datetime) -> bool:
        """Whether it is time for another one."""
        return now - self.created_at >= ROTATE_AFTER


@dataclass(frozen=True, slots=True)
class DataKey:
    """A row's own key, and the same one wrapped."""

    key_id: str
    wrapped: bytes
    plain: bytes = field(repr=False)


class KeyProvider(Protocol):
    """Wraps and unwraps data keys; `context` says for which place, and is needed again.

    Every method may raise `UnusableKeyStoreError`.
    """

    def current(self) -> KeyInfo:
        """The key that wraps from now on."""

    def new_data_key(self, context: Mapping[str, str]) -> DataKey:
        """A fresh data key, wrapped by the current key."""

    def unwrap(self, key_id: str, wrapped: bytes, context: Mapping[str, str]) -> bytes:
        """The data key.

        Raises:
            UnknownKeyError, RetiredKeyError: nothing can be unwrapped with that key.
            ForeignCiphertextError: another key or another place wrapped it.
        """

    def rewrap(self, key_id: str, wrapped: bytes, context: Mapping[str, str]) -> tuple[str, bytes]:
        """The same data key wrapped by the current key; raises as `unwrap` does."""

    def rotate(self, now: datetime) -> KeyInfo:
        """Make a new current key; what older ones wrapped can still be unwrapped."""

    def retire(self, key_id: str) -> None:
        """Take a key out of use for ever.

        Raises:
            UnknownKeyError, RetiredKeyError: there is no such key to retire.
        """


class LocalKeys:
    """Keys in a folder that only its owner reads, one file each; the newest is the current one.

    Every process that shares the folder sees a rotation at its next use of a key.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def current(self) -> KeyInfo:
        found = self._names()
        return _info(found[-1]) if found else self.rotate(datetime.now(UTC))

    def new_data_key(self, context: Mapping[str, str]) -> DataKey:
        key_id, plain = self.current().key_id, secrets.token_bytes(KEY_BYTES)
        return DataKey(key_id, self._wrap(key_id, plain, context), plain)

    def unwrap(self, key_id: str, wrapped: bytes, context: Mapping[str, str]) -> bytes:
        nonce, sealed = wrapped[:NONCE_BYTES], wrapped[NONCE_BYTES:]
        key = AESGCM(self._read(key_id))
        try:
            return key.decrypt(nonce, sealed, _bound(key_id, context))
        except (InvalidTag, ValueError):
            pass
        raise ForeignCiphertextError(
            "A data key was not wrapped for the place that it is read from: the row was copied "
            "from elsewhere or damaged, so restore it or let its owner link again."
        )

    def rewrap(self, key_id: str, wrapped: bytes, context: Mapping[str, str]) -> tuple[str, bytes]:
        current = self.current().key_id
        return current, self._wrap(current, self.unwrap(key_id, wrapped, context), context)

    def rotate(self, now: datetime) -> KeyInfo:
        names = self._names()
        # Later than every other one, whatever clock made those.
        at = max([now.astimezone(UTC), *(_info(each).created_at + _SECOND for each in names)])
        key_id = f"local-{at:%Y%m%dT%H%M%SZ}-{secrets.token_hex(4)}"
        try:
            self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            # Complete before it has its name: another process may list the folder meanwhile.
            hidden = self._folder / f".{key_id}"
            handle = os.open(hidden, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
            with os.fdopen(handle, "wb") as file:
                file.write(secrets.token_bytes(KEY_BYTES))
                file.flush()
                os.fsync(file.fileno())
            hidden.rename(self._path(key_id))
            _keep_names(self._folder)
        except OSError as problem:
            raise _unusable(self._folder, problem) from None
        return _info(key_id)

    def retire(self, key_id: str) -> None:
        self._read(key_id)  # says what is wrong with it
        path = self._path(key_id)
        path.with_suffix(".retired").touch(mode=0o600)
        path.unlink()

    def _wrap(self, key_id: str, plain: bytes, context: Mapping[str, str]) -> bytes:
        nonce = secrets.token_bytes(NONCE_BYTES)
        return nonce + AESGCM(self._read(key_id)).encrypt(nonce, plain, _bound(key_id, context))

    def _names(self) -> list[str]:
        try:
            return sorted(path.stem for path in self._folder.glob("*.key") if _name(path.stem))
        except OSError as problem:
            raise _unusable(self._folder, problem) from None

    def _path(self, key_id: str) -> Path:
        return self._folder / f"{key_id}.key"

    def _read(self, key_id: str) -> bytes:
        # The name comes from a row: it must not lead out of the folder.
        if not _name(key_id):
            raise _unknown(key_id)
        path = self._path(key_id)
        try:
            if path.stat().st_mode & 0o077:
                raise UnusableKeyStoreError(
                    f"The key file {path.name} can be read by others: `chmod 600` it, and rotate."
                )
            key = path.read_bytes()
        except FileNotFoundError:
            if path.with_suffix(".retired").exists():
                raise DestroyedKeyError(
                    f"The key {key_id} was retired: what it wrapped is gone, so its owners have "
                    "to link again."
                ) from None
            raise _unknown(key_id) from None
        except OSError as problem:
            raise _unusable(self._folder, problem) from None
        if len(key) != KEY_BYTES:
            raise UnusableKeyStoreError(
                f"The key file {path.name} is damaged: restore it from its backup."
            )
        return key


_SECOND = timedelta(seconds=1)


def _keep_names(folder: Path) -> None:
    # The database keeps what the key wraps whatever happens next: the key's name must stay, too.
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _info(key_id: str) -> KeyInfo:
    moment = datetime.strptime(key_id.split("-")[1], "%Y%m%dT%H%M%SZ")
    return KeyInfo(key_id, moment.replace(tzinfo=UTC))


def _bound(key_id: str, context: Mapping[str, str]) -> bytes:
    parts = [key_id, *(part for pair in sorted(context.items()) for part in pair)]
    return b"".join(len(part.encode()).to_bytes(4, "big") + part.encode() for part in parts)


def _unknown(key_id: str) -> UnknownKeyError:
    shown = key_id if key_id.isprintable() and len(key_id) <= 200 else "…"
    return UnknownKeyError(
        f"There is no key {shown} here: point SEDA_KMS_KEY_URI or SEDA_HOME at the keys that "
        "this database was written with."
    )


def _unusable(folder: Path, problem: OSError) -> UnusableKeyStoreError:
    return UnusableKeyStoreError(
        f"The keys in {folder} cannot be used ({problem.strerror}): correct its permissions."
    )
