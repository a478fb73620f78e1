"""Encoders and LangChain's embeddings, each as the other, so that index and guard agree."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from langchain_core.embeddings import Embeddings

from ragguard.errors import EncoderError
from ragguard.protocols import Encoder
from ragguard.text import content_hash
from ragguard.types import Vectors

PROBE = "Which model is this?"
"""Its vector is part of an encoder's name: LangChain's embeddings have no common way to say which model they are."""


class EncoderEmbeddings(Embeddings):
    """A RAGGuard encoder for a LangChain vector store."""

    def __init__(self, encoder: Encoder) -> None:
        """Bind an encoder."""
        self._encoder = encoder

    def embed_documents(self, texts: list[str]) -> list[list[float]]:
        """Embed documents."""
        found: list[list[float]] = self._encoder.encode_document(texts).tolist()
        return found

    def embed_query(self, text: str) -> list[float]:
        """Embed a query."""
        found: list[float] = self._encoder.encode_query([text])[0].tolist()
        return found


class EmbeddingsEncoder:
    """The embeddings that a vector store was built with, for the guard.

    Vectors are brought to unit norm. Whether texts that are too long are cut is up to the embeddings: split them at ingestion.
    """

    def __init__(self, embeddings: Embeddings, *, name: str = "") -> None:
        """Ask for one vector.

        Args:
            embeddings: Any of LangChain's.
            name: Of the model and its version; without one it is named by the vector of a fixed sentence.

        Raises:
            EncoderError: If the vector is not one.
        """
        self._embeddings, self._dimension = embeddings, 0
        vector = self.encode_query([PROBE])[0]
        self._dimension = len(vector)
        self._name = name or f"{type(embeddings).__name__}:{content_hash(np.round(vector, 3).tobytes().hex())[:16]}"

    @property
    def name(self) -> str:
        """What makes vectors comparable."""
        return self._name

    @property
    def dimension(self) -> int:
        """Length of every vector."""
        return self._dimension

    def encode_query(self, texts: Sequence[str]) -> Vectors:
        """Embed queries; shape (len(texts), d)."""
        return self._unit([self._embeddings.embed_query(text) for text in texts])

    def encode_document(self, texts: Sequence[str]) -> Vectors:
        """Embed documents or pieces of them; shape (len(texts), d)."""
        return self._unit(self._embeddings.embed_documents(list(texts)) if texts else [])

    def _unit(self, rows: list[list[float]]) -> Vectors:
        if not rows:
            return np.empty((0, self._dimension), dtype=np.float32)
        found = np.asarray(rows, dtype=np.float32)
        norms = np.linalg.norm(found, axis=1, keepdims=True)
        if not (np.isfinite(norms) & (norms > 1e-6)).all():
            raise EncoderError(f"{type(self._embeddings).__name__} gave a vector without a direction")
        return np.asarray(found / norms, dtype=np.float32)
