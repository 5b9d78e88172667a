"""The models that the embedder can serve: the deterministic one, or a SentenceTransformers folder.

Torch is imported only where such a folder is given; it comes with the extra `runner`.
"""

import hashlib
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from seda.embeddings.providers.local import LocalEmbedder
from seda.errors import SedaError

_BATCH = 32
_VERSION_DIGITS = 12


class UnusableModelError(SedaError):
    """The model that should be served cannot be loaded."""


class ServedModel(Protocol):
    """Texts to unit vectors of one model."""

    @property
    def name(self) -> str:
        """Its id on the wire."""

    @property
    def dim(self) -> int:
        """The length of its vectors."""

    @property
    def version(self) -> str:
        """Changes with its vectors."""

    def embed(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Unit vectors `(len(texts), dim)` float32. Blocks; one call at a time."""


class HashedWords:
    """The local embedder: no model file."""

    def __init__(self) -> None:
        self._embedder = LocalEmbedder(region="eu")
        space = self._embedder.space
        self.name, self.dim, self.version = space.model, space.dim, space.version

    def embed(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """The local embedder's vectors, bit for bit."""
        return self._embedder.embed(texts)


class SentenceModel:
    """A SentenceTransformers model read from a folder, never from a hub.

    Its name is the folder's (or, of a folder called `model`, its parent's); its version is a hash
    of the weights, so other weights make another embedding space.

    Raises:
        UnusableModelError: the extra is not installed, or the folder holds no such model.
    """

    def __init__(self, folder: Path) -> None:
        folder = folder.expanduser().resolve()
        self.name = folder.parent.name if folder.name == "model" else folder.name
        self.version = weights_version(folder)
        self._model = _load(folder)
        # Loads what is lazy; otherwise the first caller would wait for it, and time out.
        self.dim = self.embed(["warm-up"]).shape[1]

    def embed(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Unit vectors of the texts, each cut where the model's context ends."""
        vectors = self._model.encode(
            list(texts),
            batch_size=_BATCH,
            normalize_embeddings=True,
            convert_to_numpy=True,
            show_progress_bar=False,
        )
        return np.asarray(vectors, np.float32)


def served_model(folder: Path | None) -> ServedModel:
    """The model of a folder, or hashed words where none is given."""
    return HashedWords() if folder is None else SentenceModel(folder)


def weights_version(folder: Path) -> str:
    """The first 12 hexadecimal digits of the SHA-256 of the folder's weights, files in order.

    Raises:
        UnusableModelError: there are none.
    """
    files = sorted(folder.rglob("*.safetensors")) or sorted(folder.rglob("pytorch_model*.bin"))
    if not files:
        raise UnusableModelError(
            f"{folder} holds no weights (*.safetensors): set SEDA_EMBEDDER_MODEL_DIR to the folder "
            "of a SentenceTransformers model, or unset it to serve hashed words."
        )
    digest = hashlib.sha256()
    for path in files:
        with path.open("rb") as file:
            digest.update(hashlib.file_digest(file, "sha256").digest())
    return digest.hexdigest()[:_VERSION_DIGITS]


def _load(folder: Path) -> Any:
    # Before the import, which reads both. A name that looks like a hub's must not be looked up.
    os.environ["HF_HUB_OFFLINE"] = "1"
    # On two shared cores torch's second thread made a batch six times slower; whoever has cores to
    # themselves may set more.
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    try:
        from sentence_transformers import SentenceTransformer
    except ImportError as problem:
        raise UnusableModelError(
            "SEDA_EMBEDDER_MODEL_DIR is set and sentence-transformers is not installed: run "
            "`pip install 'seda[runner]'`, or unset it to serve hashed words."
        ) from problem
    try:
        return SentenceTransformer(str(folder), device="cpu", local_files_only=True)
    except (OSError, ValueError, KeyError) as problem:
        raise UnusableModelError(
            f"{folder} cannot be loaded as a SentenceTransformers model "
            f"({type(problem).__name__}): set SEDA_EMBEDDER_MODEL_DIR to a complete one."
        ) from problem
