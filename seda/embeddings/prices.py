"""What providers charge per token: the one place to correct when a price list changes."""

from datetime import date
from decimal import Decimal
from typing import Final

from seda.errors import SedaError

PRICES_AS_OF: Final = date(2026, 11, 24)
# Input tokens of the synchronous endpoints, without discounts.
USD_PER_MILLION_TOKENS: Final = {
    "text-embedding-3-small": Decimal("0.02"),
    "embed-v4.0": Decimal("0.12"),
}


class UnknownPriceError(SedaError):
    """A hosted model whose price nobody has entered, so that no budget could hold it."""


def usd_per_million_tokens(model: str) -> Decimal:
    """A hosted model's price.

    Raises:
        UnknownPriceError: it has none here.
    """
    try:
        return USD_PER_MILLION_TOKENS[model]
    except KeyError:
        raise UnknownPriceError(
            f"The price of {model} is not known: add it to seda/embeddings/prices.py, with the "
            "date of the price list."
        ) from None
