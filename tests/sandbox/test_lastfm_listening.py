"""Held-out pairs of the Last.fm set take their tags along; what others said of an artist stays."""

from pathlib import Path

import numpy as np
import scipy.sparse as sp

from seda.sandbox.lastfm_listening import read_all_listening, read_listening, read_validation
from tests.sandbox.conftest import PACKAGE, write


def test_a_held_out_pair_is_gone_with_the_tags_of_its_listener(tmp_path: Path) -> None:
    source = read_listening(write(tmp_path / "set", PACKAGE))
    whole = source.whole
    first, sigur = 0, 2
    post_rock, new_wave = 0, 1
    np.testing.assert_allclose(np.expm1(whole.item_tags[sigur].toarray()), [[7, 1]], rtol=1e-5)
    held = sp.csr_matrix(([1.0], ([first], [sigur])), shape=whole.plays.shape)
    rest = source.without(held)
    assert rest.plays[first, sigur] == 0
    assert rest.plays.nnz == whole.plays.nnz - 1
    left = np.expm1(rest.item_tags[sigur].toarray())[0]
    np.testing.assert_allclose(left[[post_rock, new_wave]], [6, 0], atol=1e-5)
    assert rest.friends.toarray()[:3, :3].tolist() == [[0, 1, 1], [1, 0, 0], [1, 0, 0]]


def test_the_validation_split_is_read_apart_or_joined(tmp_path: Path) -> None:
    valid = {"valid.csv.gz": ["user_id,artist_id,plays", "2,8,3"]}
    folder = write(tmp_path / "set", PACKAGE | valid)
    source = read_listening(folder)
    assert source.whole.plays[1, 2] == 0
    assert read_validation(folder, source.data)[1, 2] == 3
    joined = read_all_listening(folder).whole
    assert joined.plays[1, 2] == 3
    assert joined.plays.nnz == source.whole.plays.nnz + 1
