"""The tag space: evidence is length, the untagged stand with their listeners; tastes."""

import numpy as np
import pytest
import scipy.sparse as sp

from seda.recommender.models.listening import Listening
from seda.recommender.signals.content import (
    TagSpaceConfig,
    medoids,
    nearest_medoid,
    train_tag_space,
)
from tests.recommender.model_battery import ITEMS, scenes

SPACE = TagSpaceConfig(dimensions=2)


def test_an_item_without_tags_stands_where_its_listeners_do():
    listening = scenes()
    tags = listening.item_tags.tolil()
    tags[4] = 0
    untagged = Listening(listening.plays, item_tags=tags.tocsr())
    items = train_tag_space(untagged, config=SPACE, seed=1).items
    own, other = items[1::3].mean(axis=0), items[0::3].mean(axis=0)
    assert items[4] @ own > items[4] @ other


def test_what_many_people_tagged_is_longer():
    listening = scenes()
    tags = listening.item_tags.copy()
    tags.data[tags.indptr[0] : tags.indptr[1]] *= 5
    space = train_tag_space(Listening(listening.plays, item_tags=tags), config=SPACE, seed=1)
    lengths = np.linalg.norm(space.items, axis=1)
    assert lengths[0] > 2 * np.median(lengths)


@pytest.mark.parametrize("tags", [None, sp.identity(ITEMS, np.float32, "csr")])
def test_without_tags_that_two_items_share_there_is_no_space(tags):
    listening = scenes()
    space = train_tag_space(Listening(listening.plays, item_tags=tags), config=SPACE, seed=1)
    assert space.items.shape == (ITEMS, 2)
    assert not space.items.any()
    assert (medoids(listening.plays, space.items) == -1).all()


def test_two_tastes_have_two_medoids_and_a_candidate_is_near_to_one_of_them():
    items = np.array([[1, 0], [1, 0.1], [0, 1], [0.1, 1], [0, 3], [0, 0]], np.float32)
    plays = sp.csr_matrix([[5.0, 1, 5, 1, 0, 0], [0] * 6, [1, 0, 0, 0, 0, 0]])
    chosen = medoids(plays, items)
    assert len(set(chosen[0][chosen[0] >= 0] // 2)) == 2
    assert (chosen[1] == -1).all()
    assert chosen[2].tolist() == [0, -1, -1, -1]
    near = nearest_medoid(chosen, items, np.array([0, 2, 3, 4]), np.array([4, 5, 4, 0], np.int32))
    assert near[0] > 2.9
    assert np.isnan(near[1:3]).all()
    assert near[3] == 1
