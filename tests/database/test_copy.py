"""Binary COPY writes what Postgres reads back, and reads what Postgres writes."""

import json
import os
from collections.abc import Iterator
from datetime import UTC, date, datetime
from struct import pack
from uuid import UUID

import numpy as np
import psycopg
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from seda.database import copy
from seda.database.copy import CopyError, copy_rows, read_fixed
from seda.database.embedded import EmbeddedServer


@pytest.fixture(scope="module")
def url(server: EmbeddedServer) -> Iterator[str]:
    """One bare database for the whole module: these tests need no table of ours."""
    name = f"test_copy_{os.environ.get('PYTEST_XDIST_WORKER', 'main')}"
    with psycopg.connect(server.uri(name), autocommit=True) as connection:
        connection.execute("create extension vector")
        connection.execute("create schema seda")
    yield server.uri(name)
    with psycopg.connect(server.uri("postgres"), autocommit=True) as connection:
        connection.execute(f'drop database "{name}" with (force)')


@pytest.fixture
def connection(url: str) -> Iterator[psycopg.Connection]:
    with psycopg.connect(url) as connection:
        yield connection
        connection.rollback()


def _table(connection: psycopg.Connection, **columns: str) -> str:
    body = ", ".join(f'"{name}" {kind}' for name, kind in columns.items())
    connection.execute("drop table if exists seda.copied")
    connection.execute(f"create table seda.copied ({body})")
    return "seda.copied"


def _round_trip(connection: psycopg.Connection, kind: str, column: copy.Column) -> list:
    relation = _table(connection, n="bigint", value=kind)
    order = copy.integers(np.arange(len(column)), 8)
    assert copy_rows(connection, relation, {"n": order, "value": column}) == len(column)
    rows = connection.execute("select value from seda.copied order by n")
    return [value for (value,) in rows]


def _ids(n: int) -> np.ndarray:
    return np.random.default_rng(n).integers(0, 256, (n, 16), np.uint8)


@pytest.mark.parametrize(
    ("kind", "column", "expected"),
    [
        ("smallint", copy.integers(np.array([-32768, 32767]), 2), [-32768, 32767]),
        ("integer", copy.integers(np.array([7, 248], np.uint8), 4), [7, 248]),
        ("bigint", copy.integers(np.array([2**62, -1]), 8), [2**62, -1]),
        ("real", copy.floats(np.array([0.5, np.inf], np.float32)), [0.5, np.inf]),
        ("double precision", copy.floats(np.array([0.1, -np.inf])), [0.1, -np.inf]),
        ("boolean", copy.booleans(np.array([True, False])), [True, False]),
        ("text", copy.texts(["", None, "Sigur Rós 🎧"]), ["", None, "Sigur Rós 🎧"]),
        ("text", copy.texts(["no", "null"]), ["no", "null"]),
        (
            "text",
            copy.texts_by_code(np.array([1, 0, -1, 1]), ["room", "ártist"]),
            ["ártist", "room", None, "ártist"],
        ),
        ("jsonb", copy.jsonbs([b'{"a":1}', None, '"ó"', "null"]), [{"a": 1}, None, "ó", None]),
        (
            "timestamptz",
            copy.timestamps(np.array(["2026-11-01T12:00:00.000001", "NaT"], "M8[us]")),
            [datetime(2026, 11, 1, 12, 0, 0, 1, UTC), None],
        ),
        (
            "timestamptz",
            copy.timestamps(np.array(["1969-12-31"], "M8[D]")),
            [datetime(1969, 12, 31, tzinfo=UTC)],
        ),
        (
            "date",
            copy.dates(np.array(["1999-12-31", "NaT", "2026-02-28"], "M8[D]")),
            [date(1999, 12, 31), None, date(2026, 2, 28)],
        ),
        ("real[]", copy.float_rows(np.array([[1, 2], [3, 4]], "f4")), [[1, 2], [3, 4]]),
        ("real[]", copy.float_arrays(np.array([1, 2, 3], "f4"), np.array([2, 0, 1])), "floats"),
        (
            "boolean[]",
            copy.boolean_arrays(np.array([True, False, True]), np.array([2, 0, 1])),
            [[True, False], [], [True]],
        ),
        ("text[]", copy.text_arrays(["a", b"", "ü"], np.array([0, 3])), [[], ["a", "", "ü"]]),
        ("bigint", copy.constants(pack(">q", 9), 3), [9, 9, 9]),
        ("text", copy.constants("ô".encode(), 2), ["ô", "ô"]),
        ("text", copy.constants(None, 2), [None, None]),
        ("jsonb", copy.constants(b"\x01{}", 1), [{}]),
    ],
)
def test_each_type_comes_back(connection, kind: str, column: copy.Column, expected) -> None:
    if expected == "floats":
        expected = [[1.0, 2.0], [], [3.0]]
    assert _round_trip(connection, kind, column) == expected


def test_ids_and_arrays_of_ids_come_back(connection) -> None:
    ids = _ids(5)
    written = [UUID(bytes=bytes(one)) for one in ids]
    assert _round_trip(connection, "uuid", copy.uuids(ids)) == written
    arrays = _round_trip(connection, "uuid[]", copy.uuid_arrays(ids, np.array([0, 2, 3, 0])))
    assert arrays == [[], written[:2], written[2:], []]


def test_not_a_number_stays_so(connection) -> None:
    (value,) = _round_trip(connection, "real", copy.floats(np.array([np.nan], np.float32)))
    assert np.isnan(value)


@pytest.mark.parametrize("dtype", [np.float16, np.float32])
def test_half_vectors_come_back_to_the_bit(connection, dtype) -> None:
    vectors = np.random.default_rng(0).normal(size=(7, 33)).astype(dtype)
    relation = _table(connection, id="uuid", v="halfvec(33)")
    copy_rows(connection, relation, {"id": copy.uuids(_ids(7)), "v": copy.halfvecs(vectors)})
    ids, read = read_fixed(connection, "select id, v from seda.copied", ["uuid", ("halfvec", 33)])
    assert np.array_equal(ids, _ids(7))
    assert read.dtype == np.float16
    assert np.array_equal(read, vectors.astype(np.float16))


@pytest.mark.parametrize("rows", [0, 1, 2, 3, 4, 7, 2000])
@pytest.mark.parametrize("chunk_rows", [1, 3, 100_000])
def test_chunks_may_end_anywhere(connection, rows: int, chunk_rows: int) -> None:
    relation = _table(connection, n="integer", t="text", a="text[]", u="uuid[]")
    lengths = np.arange(rows) % 3
    elements = int(lengths.sum())
    written = copy_rows(
        connection,
        relation,
        {
            "n": copy.integers(np.arange(rows), 4),
            "t": copy.texts([None if n % 5 == 0 else "x" * (n % 7) for n in range(rows)]),
            "a": copy.text_arrays([str(n) for n in range(elements)], lengths),
            "u": copy.uuid_arrays(_ids(elements), lengths),
        },
        chunk_rows=chunk_rows,
    )
    assert written == rows
    read = connection.execute("select * from seda.copied order by n").fetchall()
    ids = iter(_ids(elements))
    numbers = iter(range(elements))
    assert read == [
        (
            n,
            None if n % 5 == 0 else "x" * (n % 7),
            [str(next(numbers)) for _ in range(n % 3)],
            [UUID(bytes=bytes(next(ids))) for _ in range(n % 3)],
        )
        for n in range(rows)
    ]


def test_rows_wider_than_a_chunk_are_sent_one_by_one(connection) -> None:
    text = "é" * 3_000_000
    assert _round_trip(connection, "text", copy.texts([text] * 3)) == [text] * 3


def test_every_fixed_type_is_read(connection) -> None:
    row = connection.execute("select now()").fetchone()
    query = (
        "select gen_random_uuid(), 1::int2, 2::int4, 3::int8, 4.5::float4, 5.5::float8, true, "
        "'1999-01-02'::date, now() from generate_series(1, 3)"
    )
    kinds = ["uuid", "int2", "int4", "int8", "float4", "float8", "bool", "date", "timestamptz"]
    _, i2, i4, i8, f4, f8, yes, day, moment = read_fixed(connection, query, kinds)
    assert (i2[0], i4[0], i8[0], f4[0], f8[0]) == (1, 2, 3, 4.5, 5.5)
    assert [a.dtype for a in (i2, i4, i8, f4, f8)] == ["i2", "i4", "i8", "f4", "f8"]
    assert yes.dtype == bool
    assert yes.all()
    assert day.tolist() == [date(1999, 1, 2)] * 3
    assert moment[0].item().replace(tzinfo=UTC) == row[0]


def test_an_empty_result_has_empty_columns(connection) -> None:
    ids, numbers = read_fixed(
        connection, "select gen_random_uuid(), 1::int2 where false", ["uuid", "int2"]
    )
    assert ids.shape == (0, 16)
    assert numbers.shape == (0,)


def test_a_large_result_is_read_in_batches(connection, monkeypatch) -> None:
    monkeypatch.setattr(copy, "_READ_BYTES", 100)
    (numbers,) = read_fixed(connection, "select generate_series(1, 5000)", ["int4"])
    assert np.array_equal(numbers, np.arange(1, 5001))


def test_parameters_are_quoted(connection) -> None:
    (numbers,) = read_fixed(
        connection, "select length(%s)::int4 where %s", ["int4"], ["it's; --%", True]
    )
    assert numbers.tolist() == [9]


@pytest.mark.parametrize(
    "query",
    [
        "select null::int4",
        "select case when n = 3 then null else n end::int4 from generate_series(1, 4) n",
        "select 1::int8",
        "select 'abcd'::text from generate_series(1, 2) union all select 'abc'",
        "select 1::int4, 2::int4",
    ],
)
def test_what_is_not_of_fixed_width_is_refused(connection, query: str) -> None:
    with pytest.raises(CopyError, match="int4"):
        read_fixed(connection, query, ["int4"])


def test_infinite_times_are_refused(connection) -> None:
    with pytest.raises(CopyError, match="infinite"):
        read_fixed(connection, "select 'infinity'::timestamptz", ["timestamptz"])


def test_columns_of_different_lengths_are_refused(connection) -> None:
    relation = _table(connection, a="integer", b="integer")
    columns = {"a": copy.integers(np.arange(2), 4), "b": copy.integers(np.arange(3), 4)}
    with pytest.raises(CopyError, match="differ"):
        copy_rows(connection, relation, columns)


@pytest.mark.parametrize(
    "make",
    [
        lambda: copy.integers(np.array([40_000]), 2),
        lambda: copy.uuids(np.zeros((2, 15), np.uint8)),
        lambda: copy.uuids(np.zeros((2, 16), np.int64)),
        lambda: copy.texts_by_code(np.array([2]), ["a", "b"]),
        lambda: copy.texts_by_code(np.array([-2]), ["a", "b"]),
        lambda: copy.uuid_arrays(_ids(3), np.array([1, 1])),
        lambda: copy.text_arrays(["a"], np.array([2])),
        lambda: copy.float_arrays(np.zeros(3, np.float32), np.array([4])),
    ],
)
def test_values_that_do_not_fit_are_refused_before_anything_is_sent(make) -> None:
    with pytest.raises(CopyError):
        make()


def test_names_are_quoted(connection) -> None:
    connection.execute('create table seda."Odd ""table" ("a b" integer)')
    copy_rows(connection, 'seda.Odd "table', {"a b": copy.integers(np.arange(3), 4)})
    assert connection.execute('select count(*) from seda."Odd ""table"').fetchone() == (3,)


def test_a_refused_row_leaves_nothing(url: str) -> None:
    with psycopg.connect(url, autocommit=True) as connection:
        relation = _table(connection, a="integer check (a < 5000)")
        with pytest.raises(psycopg.errors.CheckViolation):
            copy_rows(connection, relation, {"a": copy.integers(np.arange(6000), 4)})
        assert connection.execute("select count(*) from seda.copied").fetchone() == (0,)


_TEXTS = st.none() | st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"))
_MICROSECONDS = st.integers(-(10**15), 10**15) | st.none()
_ROWS = st.lists(
    st.tuples(
        st.binary(min_size=16, max_size=16),
        _TEXTS,
        st.integers(-(2**63), 2**63 - 1),
        st.floats(width=32, allow_nan=False),
        _MICROSECONDS,
        st.lists(_TEXTS.filter(lambda text: text is not None), max_size=3),
        st.lists(st.binary(min_size=16, max_size=16), max_size=3),
    ),
    max_size=12,
)


@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@given(rows=_ROWS, chunk_rows=st.integers(1, 5))
def test_any_rows_come_back(connection, rows: list[tuple], chunk_rows: int) -> None:
    relation = _table(
        connection, n="integer", i="uuid", t="text", b="bigint", f="real", m="timestamptz",
        a="text[]", u="uuid[]", j="jsonb",
    )  # fmt: skip
    ids, texts, bigs, reals, moments, text_lists, id_lists = (
        zip(*rows, strict=True) if rows else ((),) * 7
    )
    nested = [one for many in id_lists for one in many]
    lists = np.array([*map(len, text_lists)], np.int64)
    columns = {
        "n": copy.integers(np.arange(len(rows)), 4),
        "i": copy.uuids(np.frombuffer(b"".join(ids), np.uint8).reshape(-1, 16)),
        "t": copy.texts(texts),
        "b": copy.integers(np.array(bigs, np.int64), 8),
        "f": copy.floats(np.array(reals, np.float32)),
        "m": copy.timestamps(np.array(moments, "M8[us]")),
        "a": copy.text_arrays([one for many in text_lists for one in many], lists),
        "u": copy.uuid_arrays(
            np.frombuffer(b"".join(nested), np.uint8).reshape(-1, 16),
            np.array([*map(len, id_lists)], np.int64),
        ),
        "j": copy.jsonbs([json.dumps(one).replace("\\u0000", "") for one in texts]),
    }
    copy_rows(connection, relation, columns, chunk_rows=chunk_rows)
    read = connection.execute(
        "select i, t, b, f::float8, (extract(epoch from m) * 1000000)::bigint, a, u, j #>> '{}' "
        "from seda.copied order by n"
    ).fetchall()
    assert read == [
        (UUID(bytes=i), t, b, f, m, a, [UUID(bytes=one) for one in u], t)
        for i, t, b, f, m, a, u in rows
    ]
