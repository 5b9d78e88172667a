"""What a card says about friends in a room."""

import pytest

from seda.social.copy import NOBODY, Face, presence_text, social_block

FACES = [Face(name, f"https://cdn.example/{name}.jpg") for name in ("Alex", "Bo", "Cy", "Di", "Ed")]


@pytest.mark.parametrize(
    ("names", "count", "text"),
    [
        ([], 0, ""),
        (["Alex"], 1, "Alex is here — join them"),
        ([None], 1, "A friend is here — join them"),
        (["Alex", "Bo", "Cy"], 3, "3 of your friends are in #electronic right now"),
        (["Alex"], 4, "4 of your friends are in #electronic right now"),
    ],
)
def test_copy_names_one_friend_and_counts_more(names, count, text) -> None:
    assert presence_text(names, count, "electronic") == text


def test_a_room_whose_name_has_its_hash_gets_no_second_one() -> None:
    assert "in #electronic right" in presence_text([], 2, "#electronic")


def test_at_most_four_faces_and_the_rest_as_a_number() -> None:
    block = social_block(FACES, 7, "electronic")
    assert (block.avatars, block.overflow, block.count) == (tuple(FACES[:4]), 3, 7)
    assert social_block(FACES[:2], 2, "electronic").overflow == 0


def test_nobody_is_an_empty_block() -> None:
    assert social_block([], 0, "electronic") == NOBODY
