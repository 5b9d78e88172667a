"""What providers return: unit rows of the right shape, and what their failures mean."""

import numpy as np
import pytest

from seda.embeddings.prices import UnknownPriceError, usd_per_million_tokens
from seda.embeddings.providers.local import LocalEmbedder
from seda.embeddings.providers.provider import Failure, ProviderError, unit_rows


def test_rows_are_scaled_to_length_one() -> None:
    rows = unit_rows("x", np.array([[3, 4], [0, -2]], np.float32), rows=2, dim=2)

    np.testing.assert_array_equal(rows, np.array([[0.6, 0.8], [0, -1]], np.float32))


def test_rows_of_length_one_keep_their_bits() -> None:
    # A sixteenth of such rows would change in the last bit if they were scaled once more.
    vectors = LocalEmbedder().embed([f"word{n}, other{n % 7} thing{n % 3}" for n in range(2_000)])

    np.testing.assert_array_equal(unit_rows("x", vectors, rows=2_000, dim=1536), vectors)


@pytest.mark.parametrize("bad", [[[1.0]], [[1.0, 0.0]] * 2, [[0.0, 0.0]], [[1.0, np.nan]]])
def test_anything_else_is_a_bad_answer(bad: list[list[float]]) -> None:
    with pytest.raises(ProviderError) as caught:
        unit_rows("x", np.array(bad, np.float32), rows=1, dim=2)

    assert caught.value.failure is Failure.BAD_ANSWER


def test_a_model_without_a_price_is_named() -> None:
    with pytest.raises(UnknownPriceError, match="price of gpt-9 is not known: add it to"):
        usd_per_million_tokens("gpt-9")
