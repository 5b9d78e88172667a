"""Friends' taste and friends' presence are two signals; who hides moves neither."""

import numpy as np
import pytest
import scipy.sparse as sp

from seda.recommender.signals.social import (
    ATTENTION,
    SMOOTHING,
    STALE_AFTER,
    STRANGER,
    friend_taste,
    newcomer_share,
    saturated_presence,
    sighting_logs,
)


def test_a_friend_counts_by_how_alike_they_listen():
    everyone = sp.csr_matrix([[1.0, 0, 0], [1, 1, 0], [0, 0, 1]])
    friends = sp.csr_matrix([[0, 1.0, 1], [1, 0, 0], [1, 0, 0]])
    scores = friend_taste(friends[:1], everyone[:1], everyone).toarray()[0]
    alike, total = STRANGER + np.sqrt(0.5), 2 * STRANGER + np.sqrt(0.5) + SMOOTHING * STRANGER
    np.testing.assert_allclose(scores, np.array([alike, alike, STRANGER]) / total, rtol=1e-5)


def test_without_friends_or_plays_nothing_is_social():
    plays = sp.csr_matrix((2, 3), dtype=np.float32)
    assert friend_taste(sp.csr_matrix((2, 2)), plays, plays).nnz == 0


def test_presence_saturates():
    counts = np.array([0, 1, 2, 30], np.float32)
    found = saturated_presence(counts, None)
    np.testing.assert_allclose(found[:3], [0, 0.5, 0.75], rtol=1e-6)
    assert found[3] <= 1


def test_presence_decays_with_the_age_of_the_sighting():
    logs = sighting_logs(np.array([0.0, STALE_AFTER, 1e9]))
    attention = 1 - np.exp(logs)
    np.testing.assert_allclose(attention, [ATTENTION, ATTENTION / np.e, 0], atol=1e-9)
    together = saturated_presence(np.array([2], np.float32), np.array([logs[:2].sum()], "f4"))
    expected = 1 - (1 - ATTENTION) * (1 - ATTENTION / np.e)
    assert together[0] == pytest.approx(expected, rel=1e-5)


def test_friends_matter_less_the_more_is_known():
    np.testing.assert_allclose(newcomer_share(np.array([0, 10, 90], "f4")), [1, 0.5, 0.1])
