"""What live order reads beside a card, and how a card is completed without being parsed."""

import json
from itertools import product
from uuid import UUID

import numpy as np
from scipy import sparse

from seda.publishing.cards import (
    ENTITY_TYPES,
    Reason,
    card_json,
    complete_card,
    ids_in,
    with_first_reason,
)
from seda.publishing.lists import main_genres


def test_the_main_genre_is_the_heaviest_and_the_first_by_name_of_equal_ones() -> None:
    weights = sparse.csr_matrix(
        np.array([[0, 0.7, 0.3], [0.5, 0.5, 0], [0, 0, 0], [0, 0, 1]], np.float32)
    )
    names = np.array(["dub", "jazz", "techno"])
    assert main_genres(weights, names) == ["jazz", "dub", "", "techno"]


def test_a_card_is_completed_without_being_parsed() -> None:
    id, entity = UUID(int=7), UUID(int=8)
    for entity_type, reasons in product(
        ENTITY_TYPES, ([], [Reason("popular", "Popular right now")])
    ):
        card = card_json(
            id=id, entity_type=entity_type, entity_id=entity, name='a "reasons":[ b', score=0.5,
            reasons=reasons, is_new=True, model_version="1",
        ).decode()  # fmt: skip
        assert ids_in(card, entity_type) == (str(id), str(entity))
        more = with_first_reason(card, Reason("listened", "You just listened to dub"))
        whole = json.loads(complete_card(more, 3, "{}"))
        assert [each["kind"] for each in whole["reasons"]] == [
            "listened", *(each.kind for each in reasons)
        ]  # fmt: skip
        assert (whole["name"], whole["rank"]) == ('a "reasons":[ b', 3)
