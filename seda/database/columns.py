"""Columns as binary COPY writes them: one constructor per Postgres type, from numpy and sequences.

A column is described once and encoded chunk by chunk, so a matrix never exists twice. What joins
columns into rows, and reads them back, is `seda.database.copy`.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import chain, pairwise
from struct import pack
from typing import Any, Final, Literal, TypeAlias

import numpy as np
import numpy.typing as npt

from seda.errors import SedaError

Rows: TypeAlias = npt.NDArray[Any]

EPOCH_DAY: Final = np.datetime64("2000-01-01", "D")
EPOCH: Final = np.datetime64("2000-01-01", "us")
_BOOLEAN, _TEXT, _FLOAT4, _UUID = 16, 25, 700, 2950  # type oids, the same in every server


class CopyError(SedaError):
    """Columns that do not make a table, or rows that do not make columns."""


@dataclass(frozen=True, slots=True)
class FixedColumn:
    """A column without NULL whose values all have one encoded size.

    `values` is `(rows,)` or `(rows, k)`; numpy casts it into the dtype `wire` while a chunk is
    assembled. `head` stands before every value, inside the field.
    """

    values: Rows
    wire: npt.DTypeLike
    head: bytes = b""

    def __len__(self) -> int:
        return len(self.values)


@dataclass(frozen=True, slots=True)
class VariableColumn:
    """A column with NULL, or whose values differ in size.

    `encode` gives, for a slice of the rows, the encoded values (empty for NULL) and their int32
    lengths (-1 for NULL).
    """

    rows: int
    encode: Callable[[slice], tuple[Sequence[bytes], npt.NDArray[np.int32]]]

    def __len__(self) -> int:
        return self.rows


Column: TypeAlias = FixedColumn | VariableColumn


def uuids(values: npt.NDArray[np.uint8]) -> Column:
    """uuid, from `(n, 16) uint8`."""
    return FixedColumn(_as_void(values), "V16")


def integers(values: npt.NDArray[np.integer], bytes_width: Literal[2, 4, 8]) -> Column:
    """smallint, integer or bigint by `bytes_width`, from any integers `(n,)`.

    Raises:
        CopyError: a value does not fit.
    """
    bounds = np.iinfo(f"i{bytes_width}")
    if len(values) and not bounds.min <= int(values.min()) <= int(values.max()) <= bounds.max:
        raise CopyError(f"A value does not fit an integer of {bytes_width} bytes; use a wider one.")
    return FixedColumn(values, f">i{bytes_width}")


def floats(values: npt.NDArray[np.floating]) -> Column:
    """real from float32 `(n,)`, double precision from float64; NaN stays NaN."""
    return FixedColumn(values, values.dtype.newbyteorder(">"))


def booleans(values: npt.NDArray[np.bool_]) -> Column:
    """boolean, from bool `(n,)`."""
    return FixedColumn(values, "u1")


def constants(value: bytes | None, rows: int) -> Column:
    """The same value, encoded as binary COPY wants it, in every row; None is NULL.

    For text the UTF-8 bytes, for a bigint eight bytes, for jsonb a byte 1 and the text.
    """
    if value is None:
        return VariableColumn(rows, _nulls)
    return FixedColumn(np.broadcast_to(np.void(b""), rows), "V0", head=value)


def texts(values: Sequence[str | None]) -> Column:
    """text, from strings; None is NULL."""
    return VariableColumn(
        len(values),
        lambda rows: _spans([None if v is None else v.encode() for v in values[rows]]),
    )


def texts_by_code(codes: npt.NDArray[np.integer], values: Sequence[str]) -> Column:
    """text, from positions `(n,)` in `values`, each of which is encoded once; -1 is NULL."""
    encoded = np.array([*(value.encode() for value in values), b""], object)
    lengths = np.array([*map(len, encoded[:-1]), -1], np.int32)
    if len(codes) and not -1 <= int(codes.min()) <= int(codes.max()) < len(values):
        raise CopyError(f"A code is outside the {len(values)} values that it counts.")
    return VariableColumn(
        len(codes), lambda rows: (encoded[codes[rows]].tolist(), lengths[codes[rows]])
    )


def jsonbs(values: Sequence[bytes | str | None]) -> Column:
    """jsonb, from JSON texts; None is NULL (JSON's own null is the text `null`)."""

    def encode(rows: slice) -> tuple[Sequence[bytes], npt.NDArray[np.int32]]:
        # Before the text stands the version of jsonb's binary form.
        return _spans([None if v is None else b"\1" + _bytes(v) for v in values[rows]])

    return VariableColumn(len(values), encode)


def timestamps(values: npt.NDArray[np.datetime64]) -> Column:
    """timestamptz, from datetime64 `(n,)` in UTC, stored to the microsecond; NaT is NULL."""
    return _since(values.astype("M8[us]"), EPOCH, ">i8")


def dates(values: npt.NDArray[np.datetime64]) -> Column:
    """date, from datetime64 `(n,)`; NaT is NULL."""
    return _since(values.astype("M8[D]"), EPOCH_DAY, ">i4")


def halfvecs(vectors: npt.NDArray[np.floating]) -> Column:
    """pgvector's halfvec, from `(n, dim)` float16 or float32."""
    dim = vectors.shape[1]
    return FixedColumn(vectors, np.dtype((">f2", (dim,))), head=pack(">hh", dim, 0))


def bit_strings(packed: npt.NDArray[np.uint8]) -> Column:
    """varbit, from bits packed to bytes `(n, bits / 8)` uint8, the first bit highest."""
    width = packed.shape[1]
    rows = np.ascontiguousarray(packed).view(f"V{width}").reshape(-1)
    return FixedColumn(rows, f"V{width}", head=pack(">i", 8 * width))


def uuid_arrays(values: npt.NDArray[np.uint8], lengths: npt.NDArray[np.integer]) -> Column:
    """uuid[], from all elements `(m, 16) uint8` in order and the elements of each row `(n,)`."""
    words = np.ascontiguousarray(_as_void(values)).view(np.uint32).reshape(-1, 4)
    return _word_arrays(words, lengths, _UUID)


def float_arrays(values: npt.NDArray[np.float32], lengths: npt.NDArray[np.integer]) -> Column:
    """real[], from all elements `(m,)` in order and the number of elements of each row `(n,)`."""
    words = np.asarray(values, ">f4").view(np.uint32).reshape(-1, 1)
    return _word_arrays(words, lengths, _FLOAT4)


def float_rows(values: npt.NDArray[np.float32]) -> Column:
    """real[], from float32 `(n, k)`, k at least 1: arrays of one size."""
    rows, width = values.shape
    # Before every element stands its length, before all of them the array's own head.
    elements = np.empty((rows, width), [("length", ">u4"), ("value", ">f4")])
    elements["length"], elements["value"] = 4, values
    head = pack(">5i", 1, 0, _FLOAT4, width, 1)
    wire = f"V{8 * width}"
    return FixedColumn(elements.view(wire).reshape(rows), wire, head=head)


def text_arrays(values: Sequence[str | bytes], lengths: npt.NDArray[np.integer]) -> Column:
    """text[], from all elements in order (bytes are UTF-8) and the elements of each row `(n,)`."""
    bounds = _bounds(lengths, len(values))

    def encode(rows: slice) -> tuple[Sequence[bytes], npt.NDArray[np.int32]]:
        counts = np.asarray(lengths[rows])
        first = bounds[rows.start]
        elements = [_bytes(value) for value in values[first : bounds[rows.stop]]]
        sizes = np.fromiter(map(len, elements), ">i4", len(elements))
        parts = [b""] * (2 * len(elements))
        parts[0::2] = sizes.view("V4").tolist()
        parts[1::2] = elements
        heads, starts = _array_heads(counts, _TEXT, 0)
        head_bytes = heads.tobytes()
        of_head = pairwise((4 * starts).tolist())
        of_parts = pairwise((2 * (bounds[rows.start : rows.stop + 1] - first)).tolist())
        return _spans(
            [
                b"".join(chain((head_bytes[a:b],), parts[c:d]))
                for (a, b), (c, d) in zip(of_head, of_parts, strict=True)
            ]
        )

    return VariableColumn(len(lengths), encode)


def boolean_arrays(values: npt.NDArray[np.bool_], lengths: npt.NDArray[np.integer]) -> Column:
    """boolean[], from all elements `(m,)` in order and the number of each row's elements `(n,)`."""
    bounds = _bounds(lengths, len(values))
    elements = np.zeros((len(values), 5), np.uint8)
    elements[:, 3], elements[:, 4] = 1, values  # each one's length, and itself

    def encode(rows: slice) -> tuple[Sequence[bytes], npt.NDArray[np.int32]]:
        heads, starts = _array_heads(np.asarray(lengths[rows]), _BOOLEAN, 0)
        head_bytes, data = heads.tobytes(), elements[bounds[rows.start] : bounds[rows.stop]]
        ends = 5 * (bounds[rows.start : rows.stop + 1] - bounds[rows.start])
        body = data.tobytes()
        return _spans(
            [
                head_bytes[a:b] + body[c:d]
                for (a, b), (c, d) in zip(
                    pairwise((4 * starts).tolist()), pairwise(ends.tolist()), strict=True
                )
            ]
        )

    return VariableColumn(len(lengths), encode)


def _bytes(value: str | bytes) -> bytes:
    return value.encode() if isinstance(value, str) else value


def _as_void(values: npt.NDArray[np.uint8]) -> Rows:
    """Ids `(n, 16) uint8` as `(n,)` values that numpy moves in one piece."""
    if values.dtype != np.uint8 or values.ndim != 2 or values.shape[1] != 16:
        raise CopyError(f"Ids are (n, 16) uint8; got {values.shape} {values.dtype}.")
    return np.ascontiguousarray(values).view("V16").reshape(-1)


def _nulls(rows: slice) -> tuple[Sequence[bytes], npt.NDArray[np.int32]]:
    count = rows.stop - rows.start
    return [b""] * count, np.full(count, -1, np.int32)


def _spans(values: Sequence[bytes | None]) -> tuple[Sequence[bytes], npt.NDArray[np.int32]]:
    """Values, with NULL emptied, and their lengths."""
    full = [b"" if value is None else value for value in values] if None in values else values
    lengths = np.fromiter(map(len, full), np.int32, len(full))  # type: ignore[arg-type]
    if full is not values:
        lengths[[value is None for value in values]] = -1
    return full, lengths  # type: ignore[return-value]


def _since(values: Rows, epoch: np.datetime64, wire: str) -> Column:
    missing = np.isnat(values)
    ticks = (values - epoch).astype(np.int64)
    if not missing.any():
        return FixedColumn(ticks, wire)
    width = np.dtype(wire).itemsize
    # Through objects: a NULL has no bytes at all.
    encoded = ticks.astype(wire).view(f"V{width}").astype(object)
    encoded[missing] = b""
    lengths = np.where(missing, -1, width).astype(np.int32)
    return VariableColumn(len(values), lambda rows: (encoded[rows].tolist(), lengths[rows]))


def _bounds(lengths: npt.NDArray[np.integer], elements: int) -> npt.NDArray[np.int64]:
    bounds = np.concatenate(([0], np.cumsum(lengths, dtype=np.int64)))
    if bounds[-1] != elements:
        raise CopyError(f"The arrays' lengths add up to {bounds[-1]}, not {elements} elements.")
    return bounds


def _array_heads(
    counts: npt.NDArray[np.integer], oid: int, words_per_element: int
) -> tuple[npt.NDArray[np.uint32], npt.NDArray[np.int64]]:
    """Space for one array per row with its head filled in, and where each begins (and the end).

    In words of four bytes. A head is: dimensions, a flag, the element's type, and (not in an empty
    array, which has no dimension) the number of elements and the first subscript.
    """
    filled = counts > 0
    sizes = np.where(filled, 5 + counts.astype(np.int64) * words_per_element, 3)
    starts = np.concatenate(([0], np.cumsum(sizes)))
    words = np.empty(starts[-1], ">u4")
    at = starts[:-1]
    words[at], words[at + 1], words[at + 2] = filled, 0, oid
    words[at[filled] + 3], words[at[filled] + 4] = counts[filled], 1
    return words.view(np.uint32), starts


def _word_arrays(
    elements: npt.NDArray[np.uint32], lengths: npt.NDArray[np.integer], oid: int
) -> Column:
    """Arrays of elements `(m, k) uint32`, already in network byte order."""
    bounds = _bounds(lengths, len(elements))
    width = elements.shape[1]
    prefix = np.array([4 * width], ">u4").view(np.uint32)[0]

    def encode(rows: slice) -> tuple[Sequence[bytes], npt.NDArray[np.int32]]:
        counts = np.asarray(lengths[rows])
        first, last = bounds[rows.start], bounds[rows.stop]
        words, starts = _array_heads(counts, oid, width + 1)
        # Where each element's length goes: its row's first, and on by its place in the row.
        rest = starts[:-1] + 5 - (bounds[rows] - first) * (width + 1)
        at = np.repeat(rest, counts) + np.arange(last - first) * (width + 1)
        words[at] = prefix
        words[at[:, None] + np.arange(1, width + 1)] = elements[first:last]
        data = words.tobytes()
        return (
            [data[a:b] for a, b in pairwise((4 * starts).tolist())],
            (4 * np.diff(starts)).astype(np.int32),
        )

    return VariableColumn(len(lengths), encode)
