"""Embedding spaces: one stable key, five facts, nothing that cannot be stored."""

from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from seda.embeddings.spaces import MAX_DIM, REGIONS, EmbeddingSpace, InvalidSpaceError

LOCAL = EmbeddingSpace("local", "hashed-words", 1536, "1", "global")
parts = st.from_regex(r"[A-Za-z0-9][A-Za-z0-9._/-]*", fullmatch=True)


def test_the_id_is_stable() -> None:
    assert LOCAL.id == "local:hashed-words:1536:1:global"


@given(parts, parts, st.integers(1, MAX_DIM), parts, st.sampled_from(REGIONS))
def test_an_id_names_exactly_one_space(
    provider: str, model: str, dim: int, version: str, region: str
) -> None:
    space = EmbeddingSpace(provider, model, dim, version, region)
    assert EmbeddingSpace.parse(space.id) == space


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"provider": ""}, "provider must be"),
        ({"model": "a:b"}, "model must be"),
        ({"version": "1 beta"}, "version must be"),
        ({"dim": 0}, "between 1 and 4000"),
        ({"dim": 4001}, "between 1 and 4000"),
        ({"region": "us"}, "one of global, eu"),
    ],
)
def test_an_impossible_space_is_refused(change: dict[str, object], sentence: str) -> None:
    facts = {"provider": "p", "model": "m", "dim": 8, "version": "1", "region": "eu"}
    with pytest.raises(InvalidSpaceError, match=sentence):
        EmbeddingSpace(**{**facts, **change})  # type: ignore[arg-type]


@pytest.mark.parametrize("text", ["", "local:m:8:1", "local:m:eight:1:eu", "local:m:08:1:eu"])
def test_other_text_is_no_space(text: str) -> None:
    with pytest.raises(InvalidSpaceError, match="no embedding space id"):
        EmbeddingSpace.parse(text)


def test_the_meta_of_a_vector_has_the_five_facts_and_the_time_in_utc() -> None:
    computed = datetime(2026, 3, 1, 12, tzinfo=timezone(timedelta(hours=2)))
    assert LOCAL.embedding_meta(computed) == {
        "provider": "local",
        "model": "hashed-words",
        "dim": 1536,
        "region": "global",
        "version": "1",
        "computed_at": datetime(2026, 3, 1, 10, tzinfo=UTC).isoformat(),
    }


def test_a_time_without_a_zone_is_refused() -> None:
    with pytest.raises(InvalidSpaceError, match="time zone"):
        LOCAL.embedding_meta(datetime(2026, 3, 1))
