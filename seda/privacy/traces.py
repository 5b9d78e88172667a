"""What a person leaves bytes of, in every form in which it may lie somewhere.

An id is searched as text with and without dashes, in either case, as its sixteen bytes, and in the
wide encodings of arrays of text; other texts as UTF-8 and wide; a vector as the halves that
Postgres stores and as the floats of a matrix. The data map has no part in this.
"""

import gzip
import io
import json
import zipfile
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Protocol
from uuid import UUID

import numpy as np
import numpy.typing as npt

from seda.errors import SedaError

SHORTEST_TEXT = 5
"""Characters: a shorter text is found in everything."""
_DEEPEST_ARCHIVE = 3
_HALF = 2e-3
"""By how much a component of a unit vector may differ once it was stored as half a float."""


class UnsearchableTextError(SedaError):
    """A text is too short to be told from chance."""


class Searchable(Protocol):
    """Bytes, or a file mapped into memory."""

    def find(self, sub: bytes, /) -> int:
        """Position of the first occurrence, or -1."""


@dataclass(frozen=True)
class Traces:
    """Who is searched for: ids, texts such as an e-mail address, and vectors.

    Raises:
        UnsearchableTextError: a text of fewer than five characters.
    """

    ids: tuple[UUID, ...]
    texts: tuple[str, ...] = ()
    vectors: tuple[tuple[float, ...], ...] = ()

    def __post_init__(self) -> None:
        for text in self.texts:
            if len(text) < SHORTEST_TEXT:
                raise UnsearchableTextError(
                    f"A text of {len(text)} characters is found by chance: give {SHORTEST_TEXT} "
                    "or more."
                )

    @cached_property
    def patterns(self) -> dict[str, tuple[bytes, ...]]:
        """What is looked for by name, so that a finding names no value."""
        found: dict[str, tuple[bytes, ...]] = {}
        for place, each in enumerate(self.ids):
            words = [each.hex, str(each)]
            words += [word.upper() for word in words]
            wide = tuple(word.encode(code) for word in words for code in ("utf-16-le", "utf-32-le"))
            name = "user id" if place == 0 else f"id {place + 1}"
            found[f"{name} as text"] = (*(word.encode() for word in words), *wide)
            found[f"{name} as bytes"] = (each.bytes,)
        for place, text in enumerate(self.texts, start=1):
            wide = tuple(text.encode(code) for code in ("utf-8", "utf-16-le", "utf-32-le"))
            found[f"text {place}"] = (*wide, json.dumps(text)[1:-1].encode())
        for place, vector in enumerate(self.vectors, start=1):
            halves, floats = (np.array(vector, kind) for kind in ("<f2", "<f4"))
            found[f"vector {place}"] = (halves.tobytes(), floats.tobytes())
        return found

    @cached_property
    def words(self) -> list[str]:
        """Texts by which a row is found when it is read as text: ids and texts, in lower case."""
        ids = [word for each in self.ids for word in (str(each), each.hex)]
        return [*ids, *(text.lower() for text in self.texts)]

    def in_bytes(self, data: Searchable) -> list[str]:
        """The names of what is found."""
        return [
            name
            for name, forms in self.patterns.items()
            if any(data.find(form) >= 0 for form in forms)
        ]

    def like(self, vector: Sequence[float]) -> list[str]:
        """The names of vectors that point the way that this one does: a store may have made them of
        unit length, and halves of floats."""
        found = _unit(vector)
        return [
            f"vector {place}"
            for place, mine in enumerate(map(_unit, self.vectors), start=1)
            if mine.shape == found.shape and np.abs(mine - found).max() <= _HALF
        ]

    def in_file(self, data: bytes) -> list[str]:
        """The same, and inside of what is compressed: ZIP, gzip, Parquet."""
        found = dict.fromkeys(self.in_bytes(data))
        for part in _unpacked(data, _DEEPEST_ARCHIVE):
            found |= dict.fromkeys(self.in_bytes(part))
        return list(found)

    def blotted(self, data: bytes) -> bytes:
        """The bytes with every form overwritten in place: ids with zeros, texts with `x`."""
        for forms in self.patterns.values():
            for form in forms:
                blank = b"\0" if len(form) == 16 else b"x"
                data = data.replace(form, blank * len(form))
        return data


def _unit(vector: Sequence[float]) -> npt.NDArray[np.float64]:
    values = np.asarray(vector, np.float64)
    norm = float(np.linalg.norm(values))
    return values / norm if norm else values


def _unpacked(data: bytes, depth: int) -> Iterator[bytes]:
    """What is inside of an archive, and inside of that; nothing where it is none, or damaged."""
    if not depth:
        return
    for part in _members(data):
        yield part
        yield from _unpacked(part, depth - 1)


def _members(data: bytes) -> Sequence[bytes]:
    try:
        if data[:4] == b"PK\x03\x04":
            with zipfile.ZipFile(io.BytesIO(data)) as archive:
                return [archive.read(name) for name in archive.namelist()]
        if data[:2] == b"\x1f\x8b":
            return [gzip.decompress(data)]
        if data[:4] == b"PAR1":
            return [_parquet_text(data)]
    except (zipfile.BadZipFile, OSError, EOFError, zlib.error):
        return []
    return []


def _parquet_text(data: bytes) -> bytes:
    """A table's columns as text; values of bytes as they are."""
    import pyarrow as pa
    from pyarrow import parquet

    table = parquet.read_table(io.BytesIO(data))
    parts = []
    for column in table.columns:
        for value in column.to_pylist():
            parts.append(value if isinstance(value, bytes) else str(value).encode())
    assert isinstance(table, pa.Table)
    return b"\n".join(parts)
