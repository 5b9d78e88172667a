"""The same thing under two titles is one group; different things are not."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from seda.recommender.diversity import duplicate_groups, normalised_title


@pytest.mark.parametrize(
    ("title", "normalised"),
    [
        ("Heroes (Remastered 2011)", "heroes"),
        ("Heroes - 2017 Remaster", "heroes"),
        ("HÉROES", "heroes"),
        ("Under Pressure feat. David Bowie", "under pressure"),
        ("Under Pressure (ft. David Bowie)", "under pressure"),
        ("The  Smiths!", "smiths"),
        ("Florence & the Machine", "florence and the machine"),
        ("Sigur Rós", "sigur ros"),
        ("Vol. 2", "vol 2"),
        ("!!!", "!!!"),
        ("Live Forever", "live forever"),
        ("Featuring", "featuring"),
        ("東京事変", "東京事変"),
    ],
)
def test_titles_lose_what_does_not_tell_them_apart(title, normalised):
    assert normalised_title(title) == normalised


def test_groups_hold_near_duplicates_of_one_maker_only():
    titles = [
        "Heroes", "Heroes (Remastered 2011)", "Heroes", "Songs vol. 1", "Songs vol. 2",
        "Morning Coffee Jazz", "Morning Cofee Jazz", "Solitude",
    ]  # fmt: skip
    makers = np.array([1, 1, 2, 1, 1, 3, 3, 1], np.int32)
    groups = duplicate_groups(titles, makers=makers)
    assert groups.tolist() == [0, 0, -1, -1, -1, 1, 1, -1]
    assert groups.dtype == np.int32


def test_without_a_maker_the_cluster_decides():
    groups = duplicate_groups(["Nirvana", "nirvana", "NIRVANA"], clusters=np.array([4, 4, 5]))
    assert groups.tolist() == [0, 0, -1]


def test_no_titles_no_groups():
    assert duplicate_groups([]).shape == (0,)
    assert duplicate_groups(["", " "]).tolist() == [-1, -1]


@given(st.lists(st.text(alphabet="aAbé (1) - feat.", max_size=12), max_size=25))
def test_equal_normalised_titles_always_share_a_group(titles):
    groups = duplicate_groups(titles)
    words = [normalised_title(title) for title in titles]
    for left in range(len(titles)):
        for right in range(left):
            if words[left] and words[left] == words[right]:
                assert groups[left] == groups[right] >= 0


def test_the_cost_grows_with_the_catalogue_not_with_its_square(monkeypatch):
    from seda.recommender.diversity import duplicates

    compared = 0
    dice = duplicates._dice

    def counted(left, right):
        nonlocal compared
        compared += 1
        return dice(left, right)

    monkeypatch.setattr(duplicates, "_dice", counted)
    random = np.random.default_rng(0)
    words = ["".join(random.choice(list("abcdefgh"), 6)) for _ in range(2000)]
    titles = [f"{random.choice(words)} {random.choice(words)}" for _ in range(20_000)]
    makers = random.integers(0, 2000, 20_000).astype(np.int32)
    duplicate_groups(titles, makers=makers)
    assert compared < 20_000
