"""A region's own file storage, on this machine or in S3: matrices, factors, exports.

Several arrays travel as one file: a signature, the length of a JSON head in eight bytes, the head,
and the raw arrays, each at a multiple of 64 bytes; so a local file is mapped into memory rather
than read. What is served to people is rows of the database, not files.
"""

import mmap
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, Final, TypeAlias
from urllib.parse import unquote, urlsplit

import numpy as np
import numpy.typing as npt
import obstore
import orjson
from obstore.store import LocalStore, ObjectStore, S3Store

from seda.database.regions import Region
from seda.errors import SedaError
from seda.settings import Settings

Array: TypeAlias = npt.NDArray[Any]

_SIGNATURE: Final = b"arrays1\n"
_HEAD_AT: Final = len(_SIGNATURE) + 8
_ALIGNMENT: Final = 64
_VARIABLES: Final = {Region.GLOBAL: "SEDA_STORAGE_URL", Region.EU: "SEDA_EU_STORAGE_URL"}


class StorageUrlError(SedaError):
    """A storage URL cannot be used, or is another region's place."""


class StorageKeyError(SedaError):
    """A key is not a relative path such as `factors/global-00.arrays`."""


class NotStoredError(SedaError):
    """Nothing is stored under a key."""


class UnstorableArrayError(SedaError):
    """An array, or a file, holds something other than plain numbers, texts or times."""


class RegionalStorage:
    """One region's place for files; `url` is `file:///folder` or `s3://bucket/prefix`.

    A file appears whole or not at all, and replaces the one before it.

    Raises:
        StorageUrlError: the URL is of another kind.
    """

    def __init__(self, region: Region, url: str) -> None:
        self.region = region
        self.url = url.rstrip("/")
        parts = urlsplit(self.url)
        self._folder: Path | None = None
        self._store: ObjectStore
        if parts.scheme == "file" and parts.netloc in ("", "localhost") and parts.path:
            self._folder = Path(unquote(parts.path)).resolve()
            self._store = LocalStore(self._folder, mkdir=True)
        elif parts.scheme == "s3" and parts.netloc:
            self._store = S3Store.from_url(self.url)
        else:
            raise StorageUrlError(
                f"{_VARIABLES[region]} is {url!r}; write file:///folder or s3://bucket/prefix."
            )

    def __repr__(self) -> str:
        return f"RegionalStorage({self.region}, {self.url})"

    @property
    def place(self) -> tuple[str, ...]:
        """What tells two storages apart: the scheme, then each step of the resolved path."""
        if self._folder is not None:
            return ("file", *self._folder.parts)
        parts = urlsplit(self.url)
        return ("s3", parts.netloc, *(step for step in parts.path.split("/") if step))

    def put_arrays(self, key: str, arrays: Mapping[str, Array]) -> None:
        """Store named arrays under a key, atomically.

        Raises:
            UnstorableArrayError: an array of objects or of records.
        """
        obstore.put(self._store, _checked(key), _encoded(arrays))

    def get_arrays(self, key: str) -> dict[str, Array]:
        """The arrays stored under a key, read-only; of a local file, only what is used is read.

        Raises:
            NotStoredError: nothing is there.
            UnstorableArrayError: the file was not written by `put_arrays`.
        """
        try:
            if self._folder is not None:
                with (self._folder / _checked(key)).open("rb") as file:
                    # The mapping outlives the file's handle, its replacement and its deletion.
                    return _decoded(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ), key)
            return _decoded(obstore.get(self._store, _checked(key)).bytes(), key)
        except (FileNotFoundError, IsADirectoryError) as problem:
            raise NotStoredError(f"{self!r} has no {key}: run what makes it first.") from problem
        except ValueError as problem:
            raise UnstorableArrayError(f"{key} in {self!r} is no file of arrays.") from problem

    def put_bytes(self, key: str, content: bytes) -> None:
        """Store a file as it is, atomically."""
        obstore.put(self._store, _checked(key), content)

    def get_bytes(self, key: str) -> bytes:
        """A file as it is.

        Raises:
            NotStoredError: nothing is there.
        """
        try:
            return bytes(obstore.get(self._store, _checked(key)).bytes())
        except (FileNotFoundError, IsADirectoryError) as problem:
            raise NotStoredError(f"{self!r} has no {key}.") from problem

    def modified_at(self, key: str) -> datetime | None:
        """When a file was written last; None where there is none."""
        try:
            return obstore.head(self._store, _checked(key))["last_modified"]
        except FileNotFoundError:
            return None

    def signed_url(self, key: str, lifetime: timedelta) -> str | None:
        """An address that opens one file for a while, to whoever has it; None on this machine."""
        if not isinstance(self._store, S3Store):
            return None
        return obstore.sign(self._store, "GET", _checked(key), lifetime)

    def exists(self, key: str) -> bool:
        """Whether something is stored under the key."""
        try:
            obstore.head(self._store, _checked(key))
        except FileNotFoundError:
            return False
        return True

    def delete(self, key: str) -> None:
        """Delete what is stored under the key, if anything is."""
        with suppress(FileNotFoundError):
            obstore.delete(self._store, _checked(key))

    def list(self, prefix: str = "") -> Sequence[str]:
        """The keys in the folder `prefix`, and in folders below it, in order."""
        within = _checked(prefix) if prefix else None
        return sorted(
            entry["path"] for batch in obstore.list(self._store, prefix=within) for entry in batch
        )


def storages(settings: Settings) -> dict[Region, RegionalStorage]:
    """Every region's storage, under `SEDA_HOME` unless a URL is set.

    Raises:
        StorageUrlError: one region's place is the other's, or inside it.
    """
    configured = {Region.GLOBAL: settings.storage_url, Region.EU: settings.eu_storage_url}
    made = {
        region: RegionalStorage(
            region, url or (settings.home_directory() / "storage" / region).as_uri()
        )
        for region, url in configured.items()
    }
    one, other = (storage.place for storage in made.values())
    shared = min(len(one), len(other))
    if one[:shared] == other[:shared]:
        raise StorageUrlError(
            f"{' and '.join(_VARIABLES.values())} are one place, or one is inside the other "
            f"({' and '.join(storage.url for storage in made.values())}): a region's files are "
            "its own, so give each its own folder or bucket."
        )
    return made


def _checked(key: str) -> str:
    if any(step in ("", ".", "..") for step in key.split("/")):
        raise StorageKeyError(f"{key!r} is no key: write a relative path, such as a/b.arrays.")
    return key


def _encoded(arrays: Mapping[str, Array]) -> Iterator[bytes | memoryview]:
    """The file's bytes, piece by piece: an array in memory is not copied."""
    plain = {name: np.asarray(array, order="C") for name, array in arrays.items()}
    for name, array in plain.items():
        if array.dtype.hasobject or array.dtype.names is not None:
            raise UnstorableArrayError(f"{name} is of {array.dtype}: store plain arrays only.")
    head = orjson.dumps(
        {name: {"dtype": array.dtype.str, "shape": array.shape} for name, array in plain.items()}
    )
    # Padding belongs to the head, so that the first array begins aligned.
    head += b" " * _padding(_HEAD_AT + len(head))
    return _pieces(head, plain)


def _pieces(head: bytes, arrays: Mapping[str, Array]) -> Iterator[bytes | memoryview]:
    yield _SIGNATURE + len(head).to_bytes(8, "little") + head
    for array in arrays.values():
        if array.size:
            yield array.reshape(-1).view(np.uint8).data
        yield bytes(_padding(array.nbytes))


def _decoded(data: Any, key: str) -> dict[str, Array]:
    start = _HEAD_AT + int.from_bytes(memoryview(data)[len(_SIGNATURE) : _HEAD_AT], "little")
    if bytes(memoryview(data)[: len(_SIGNATURE)]) != _SIGNATURE or start > len(data):
        raise ValueError(key)
    arrays = {}
    for name, described in orjson.loads(memoryview(data)[_HEAD_AT:start]).items():
        dtype, shape = np.dtype(described["dtype"]), described["shape"]
        count = int(np.prod(shape, dtype=np.int64))
        array = np.frombuffer(data, dtype, count, start) if count else np.empty(0, dtype)
        arrays[name] = array.reshape(shape)
        arrays[name].flags.writeable = False
        start += array.nbytes + _padding(array.nbytes)
    return arrays


def _padding(size: int) -> int:
    return -size % _ALIGNMENT
