"""The texts that are embedded: tags by weight, the name once, the same whatever the order."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from seda.embeddings.texts import (
    InvalidTagWeightError,
    artist_text,
    content_hash,
    playlist_text,
    room_text,
)


def test_tags_repeat_one_to_five_times_by_weight() -> None:
    text = artist_text("Radiohead", {"rock": 4.0, "Alternative": 10.0, "uk": 0.1})
    assert text == "Radiohead. " + ", ".join(["alternative"] * 5 + ["rock"] * 2 + ["uk"])


def test_a_playlist_names_its_artists_after_its_tags() -> None:
    text = playlist_text("Late night", {"dub": 1.0}, ["Burial", "Burial", "Pole"])
    assert text == "Late night. dub, dub, dub, dub, dub. Burial, Pole"


def test_a_rooms_genre_weighs_as_much_as_its_heaviest_tag() -> None:
    assert room_text("#electronic", "Techno", {"live": 2.0, "berlin": 0.8}) == (
        "electronic. live, live, live, live, live, techno, techno, techno, techno, techno, "
        "berlin, berlin"
    )
    assert room_text("Lounge", None, {}) == "Lounge"
    assert room_text("", "jazz", {}) == "jazz, jazz, jazz, jazz, jazz"


def test_separators_inside_a_name_do_not_make_phrases() -> None:
    assert artist_text("Earth, Wind & Fire\n", {"R.E.M": 1}) == (
        "Earth Wind & Fire. " + ", ".join(["r e m"] * 5)
    )


@pytest.mark.parametrize("weight", [0.0, -1.0, math.inf, math.nan])
def test_a_weight_that_is_no_weight_is_refused(weight: float) -> None:
    with pytest.raises(InvalidTagWeightError, match="'rock'"):
        artist_text("A", {"rock": weight})


@given(
    st.dictionaries(st.text(max_size=8), st.floats(1e-6, 1e6), max_size=30),
    st.randoms(),
)
def test_the_order_of_tags_does_not_change_the_text(tags: dict[str, float], random) -> None:
    shuffled = dict(random.sample(list(tags.items()), len(tags)))
    assert artist_text("name", tags) == artist_text("name", shuffled)


def test_the_content_hash_changes_with_the_text_and_not_with_time() -> None:
    assert content_hash("a") == "27c35e6e9373877f29e562464e46497e"
    assert content_hash("a") != content_hash("a ")
