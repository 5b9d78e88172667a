"""Binary COPY in both directions, built in numpy: many rows per Python operation, not one.

`copy_rows` joins columns into rows chunk by chunk, and `read_fixed` turns rows of fixed width into
arrays. The columns' types live in `seda.database.columns`; no table's queries live here.

The format (PostgreSQL documentation, "COPY", binary format): a row is an int16 count of fields,
then for each field an int32 length (-1 for NULL) and the value in network byte order.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from struct import pack
from typing import Any, Final, Literal, TypeAlias

import numpy as np
import numpy.typing as npt
import psycopg
from psycopg import sql

from seda.database.columns import (
    EPOCH,
    EPOCH_DAY,
    Column,
    CopyError,
    FixedColumn,
    Rows,
    VariableColumn,
    bit_strings,
    boolean_arrays,
    booleans,
    constants,
    dates,
    float_arrays,
    float_rows,
    floats,
    halfvecs,
    integers,
    jsonbs,
    text_arrays,
    texts,
    texts_by_code,
    timestamps,
    uuid_arrays,
    uuids,
)

__all__ = [
    "Column",
    "CopyError",
    "FixedColumn",
    "VariableColumn",
    "bit_strings",
    "boolean_arrays",
    "booleans",
    "constants",
    "copy_rows",
    "dates",
    "float_arrays",
    "float_rows",
    "floats",
    "halfvecs",
    "integers",
    "jsonbs",
    "read_fixed",
    "text_arrays",
    "texts",
    "texts_by_code",
    "timestamps",
    "uuid_arrays",
    "uuids",
]

Query: TypeAlias = str | sql.Composable
ReadType: TypeAlias = str | tuple[Literal["halfvec"], int]

_SIGNATURE: Final = b"PGCOPY\n\xff\r\n\0" + bytes(8)
_TRAILER: Final = b"\xff\xff"
# psycopg splits, and so copies once more, what is larger than this.
_CHUNK_BYTES: Final = 4 << 20
_READ_BYTES: Final = 16 << 20


def copy_rows(
    connection: psycopg.Connection,
    relation: str,
    columns: Mapping[str, Column],
    *,
    chunk_rows: int = 100_000,
    freeze: bool = False,
) -> int:
    """COPY the columns into a relation, in the caller's transaction; returns the rows written.

    `relation` is `table` or `schema.table`. A chunk holds at most `chunk_rows` rows and about four
    megabytes. `freeze` is for a table created in the same transaction that nobody else can see.

    Raises:
        CopyError: the columns differ in their number of rows.
    """
    counts = {name: len(column) for name, column in columns.items()}
    if len(set(counts.values())) != 1:
        raise CopyError(f"The columns of {relation} differ in their number of rows: {counts}.")
    statement = sql.SQL("copy {} ({}) from stdin (format binary{})").format(
        sql.Identifier(*relation.split(".")),
        sql.SQL(", ").join(map(sql.Identifier, columns)),
        sql.SQL(", freeze" if freeze else ""),
    )
    with connection.cursor() as cursor, cursor.copy(statement) as copy:
        copy.write(_SIGNATURE)
        for chunk in _chunks(list(columns.values()), chunk_rows):
            copy.write(chunk)
        copy.write(_TRAILER)
    return next(iter(counts.values()))


def read_fixed(
    connection: psycopg.Connection,
    query: Query,
    dtypes: Sequence[ReadType],
    params: Sequence[Any] | Mapping[str, Any] | None = None,
) -> list[Rows]:
    """The columns of a query whose values have a fixed width, one array each.

    `dtypes` names each column's Postgres type: uuid gives `(n, 16) uint8`, int2, int4, int8,
    float4, float8, bool their numpy equals `(n,)`, date datetime64[D], timestamptz datetime64[us]
    in UTC, and ("halfvec", dim) `(n, dim) float16`. `params` are quoted on the client, because COPY
    takes none.

    Raises:
        CopyError: a value is NULL, infinite, or not of the type that was named for it.
    """
    wire = [_READERS[kind][0] if isinstance(kind, str) else f">{kind[1]}f2" for kind in dtypes]
    heads = [b"" if isinstance(kind, str) else pack(">hh", kind[1], 0) for kind in dtypes]
    row = _row_dtype([np.dtype(one) for one in wire], [len(head) for head in heads])
    batches = []
    with psycopg.ClientCursor(connection) as cursor:
        inner = sql.SQL(cursor.mogrify(query, params))  # type: ignore[arg-type]
        with cursor.copy(sql.SQL("copy ({}) to stdout (format binary)").format(inner)) as copy:
            for data in _batches(copy):
                batches.append(_parse(data, row, heads, dtypes))
    return [np.concatenate(parts) for parts in zip(*batches, strict=True)]


def _chunks(columns: Sequence[Column], chunk_rows: int) -> Iterator[bytes]:
    """The encoded rows; the size of a chunk follows the width of the rows before it."""
    rows, start, size = len(columns[0]), 0, min(1024, chunk_rows)
    while start < rows:
        stop = min(start + size, rows)
        chunk = _chunk(columns, slice(start, stop))
        yield chunk
        size = max(1, min(chunk_rows, _CHUNK_BYTES * (stop - start) // len(chunk)))
        start = stop


def _chunk(columns: Sequence[Column], rows: slice) -> bytes:
    """Some rows: blocks of fixed width alternate with the values of the variable columns."""
    count = rows.stop - rows.start
    block: list[tuple[Any, npt.DTypeLike]] = [(len(columns), ">i2")]
    pieces: list[Sequence[bytes]] = []
    for column in columns:
        if isinstance(column, FixedColumn):
            wire = np.dtype(column.wire)
            size = len(column.head) + wire.itemsize
            head = pack(">i", size) + column.head
            block += [(np.void(head), f"V{len(head)}"), (column.values[rows], wire)]
        else:
            values, lengths = column.encode(rows)
            block.append((lengths, ">i4"))
            pieces += [_void_rows(block, count).tolist(), values]
            block = []
    last = _void_rows(block, count)
    if not pieces:
        return last.tobytes()
    if block:
        pieces.append(last.tolist())
    flat = [b""] * (count * len(pieces))
    for place, piece in enumerate(pieces):
        flat[place :: len(pieces)] = piece
    return b"".join(flat)


def _void_rows(block: Sequence[tuple[Any, npt.DTypeLike]], count: int) -> Rows:
    """Values side by side, `(count,)` of one void dtype; those of no width are left out."""
    fields = [(value, np.dtype(wire)) for value, wire in block if np.dtype(wire).itemsize]
    rows = np.empty(count, [(f"f{place}", wire) for place, (_, wire) in enumerate(fields)])
    for place, (value, _) in enumerate(fields):
        rows[f"f{place}"] = value
    return rows.view(f"V{rows.dtype.itemsize}") if fields else np.empty(0, "V1")


_I4, _I8 = np.iinfo(np.int32), np.iinfo(np.int64)


def _uuid(field: Rows) -> Rows:
    return np.ascontiguousarray(field).view(np.uint8).reshape(-1, 16)


def _number(field: Rows) -> Rows:
    return field.astype(field.dtype.newbyteorder("="))


def _date(field: Rows) -> Rows:
    _refuse_infinite(field, _I4.max, _I4.min)
    return EPOCH_DAY + field.astype("m8[D]")


def _timestamp(field: Rows) -> Rows:
    _refuse_infinite(field, _I8.max, _I8.min)
    return EPOCH + field.astype("m8[us]")


def _refuse_infinite(field: Rows, high: int, low: int) -> None:
    if ((field == high) | (field == low)).any():
        raise CopyError("A date or time is infinite, which numpy cannot say; exclude it.")


_READERS: Final[dict[str, tuple[str, Callable[[Rows], Rows]]]] = {
    "uuid": ("V16", _uuid),
    "int2": (">i2", _number),
    "int4": (">i4", _number),
    "int8": (">i8", _number),
    "float4": (">f4", _number),
    "float8": (">f8", _number),
    "bool": ("?", _number),
    "date": (">i4", _date),
    "timestamptz": (">i8", _timestamp),
}


def _row_dtype(wire: Sequence[np.dtype[Any]], heads: Sequence[int]) -> np.dtype[Any]:
    fields: list[Any] = [("fields", ">i2")]
    for place, (dtype, head) in enumerate(zip(wire, heads, strict=True)):
        fields += [(f"head{place}", f"V{4 + head}"), (f"value{place}", dtype)]
    return np.dtype(fields)


def _batches(copy: psycopg.Copy) -> Iterator[bytes]:
    """The rows in pieces of some megabytes, without the signature and the trailer; one at least."""
    parts: list[bytes] = []
    size, skip = 0, len(_SIGNATURE)
    for part in copy:
        parts.append(bytes(part))
        size += len(part)
        if size > _READ_BYTES:
            # The last message is held back: it may be the trailer.
            held = parts.pop()
            yield b"".join(parts)[skip:]
            parts, size, skip = [held], len(held), 0
    yield b"".join(parts)[skip : -len(_TRAILER)]


def _parse(
    data: bytes, row: np.dtype[Any], heads: Sequence[bytes], dtypes: Sequence[ReadType]
) -> list[Rows]:
    rows = np.frombuffer(data[: len(data) - len(data) % row.itemsize], row)
    fits = len(data) % row.itemsize == 0 and bool((rows["fields"] == len(dtypes)).all())
    for place, head in enumerate(heads):
        size = row[f"value{place}"].itemsize + len(head)
        fits = fits and bool((rows[f"head{place}"] == np.void(pack(">i", size) + head)).all())
    if not fits:
        raise CopyError(
            f"The query's rows are not all {', '.join(map(str, dtypes))} without NULL: name the "
            "columns' types, cast them, or exclude NULL."
        )
    fields = [rows[f"value{place}"] for place in range(len(heads))]
    return [
        _READERS[kind][1](field) if isinstance(kind, str) else _number(field)
        for field, kind in zip(fields, dtypes, strict=True)
    ]
