"""What every embedder offers, whether it runs here or calls a provider.

Batching, retries, budgets and circuit breakers wrap this interface; they are not part of it.
"""

from collections.abc import Sequence
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from seda.embeddings.spaces import EmbeddingSpace


class EmbeddingsService(Protocol):
    """Turns texts into unit vectors of one embedding space."""

    @property
    def space(self) -> EmbeddingSpace:
        """The space that every vector of this service belongs to."""

    def embed(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """One unit vector per text in the order given: `(len(texts), space.dim)` float32."""
