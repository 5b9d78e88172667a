"""Ids keep the places they were given in, and strangers get -1."""

from uuid import UUID

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from seda.database.identifiers import IdIndex, MalformedIdsError, id_order, ids_of, uuids_of

# Few distinct bytes: halves are often shared, and ids often equal.
_ID = st.lists(st.sampled_from([0, 1, 255]), min_size=16, max_size=16).map(bytes) | st.binary(
    min_size=16, max_size=16
)


def _array(ids: list[bytes]) -> np.ndarray:
    return np.frombuffer(b"".join(ids), np.uint8).reshape(-1, 16)


@given(known=st.lists(_ID, max_size=40, unique=True), asked=st.lists(_ID, max_size=40))
def test_positions_are_places_among_the_known(known: list[bytes], asked: list[bytes]) -> None:
    index = IdIndex(_array(known))
    assert [bytes(one) for one in index.ids] == known
    assert len(index) == len(known)
    rank = {one: place for place, one in enumerate(known)}
    positions = index.positions(_array(asked + known))
    assert positions.dtype == np.int32
    assert positions.tolist() == [rank.get(one, -1) for one in asked + known]


@given(st.lists(_ID, max_size=40))
def test_order_is_that_of_the_bytes_and_stable(ids: list[bytes]) -> None:
    expected = sorted(range(len(ids)), key=lambda place: ids[place])
    assert id_order(_array(ids)).tolist() == expected


@given(st.lists(_ID, max_size=20))
def test_uuids_come_back(ids: list[bytes]) -> None:
    uuids = [UUID(bytes=one) for one in ids]
    assert uuids_of(ids_of(uuids)) == uuids
    distinct = list(dict.fromkeys(uuids))
    assert IdIndex(ids_of(distinct)).uuids() == distinct


def test_an_id_that_stands_twice_is_refused() -> None:
    with pytest.raises(MalformedIdsError):
        IdIndex(np.zeros((2, 16), np.uint8))


def test_consecutive_ids_are_told_apart() -> None:
    ids = ids_of(UUID(int=number) for number in range(10_000))
    index = IdIndex(ids[::-1])
    assert np.array_equal(index.positions(ids), np.arange(10_000)[::-1])
    assert (index.positions(ids_of(UUID(int=10_000 << 64 | n) for n in range(50))) == -1).all()


def test_a_slice_of_a_wider_table_is_understood() -> None:
    table = np.random.default_rng(0).integers(0, 256, (100, 32), np.uint8)
    assert IdIndex(table[:, 16:]).positions(table[:, 16:]).tolist() == list(range(100))


@pytest.mark.parametrize(
    "ids", [np.zeros((3, 15), np.uint8), np.zeros(16, np.uint8), np.zeros((3, 16), np.int8)]
)
def test_other_arrays_are_refused(ids: np.ndarray) -> None:
    with pytest.raises(MalformedIdsError):
        IdIndex(ids)


def test_the_ids_cannot_be_changed() -> None:
    with pytest.raises(ValueError, match="read-only"):
        IdIndex(np.zeros((1, 16), np.uint8)).ids[0] = 1
