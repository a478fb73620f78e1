"""Encoders and LangChain's embeddings, each as the other, so that index and guard agree."""

from __future__ import annotations

from langchain_core.embeddings import Embeddings

from ragguard.encoders import FunctionEncoder
from ragguard.encoders.vectors import encode_documents, encode_one_query
from ragguard.errors import InvalidInputError
from ragguard.protocols import Encoder
from ragguard.text import canonical


class EncoderEmbeddings(Embeddings):
    """A RAGGuard encoder for a LangChain vector store. It embeds canonical texts, which are what the guard judges."""

    def __init__(self, encoder: Encoder) -> None:
        """Bind an encoder."""
        self._encoder = encoder

    def embed_documents(self, texts: list[str]) -> list[list[float]]:
        """Embed documents.

        Raises:
            EncoderError: If the encoder fails.
        """
        vectors: list[list[float]] = encode_documents(self._encoder, [canonical(text).text for text in texts]).tolist()
        return vectors

    def embed_query(self, text: str) -> list[float]:
        """Embed a query; errors are those of `embed_documents`."""
        vector: list[float] = encode_one_query(self._encoder, canonical(text).text).tolist()
        return vector


class EmbeddingsEncoder(FunctionEncoder):
    """The embeddings that a vector store was built with, for the guard; long texts as in `FunctionEncoder`."""

    def __init__(self, embeddings: Embeddings, *, name: str = "", longest: int | None = None) -> None:
        """Ask for a few vectors.

        Args:
            embeddings: Any of LangChain's.
            name: Of the model and its version: LangChain's embeddings have no common way to say which they are. Without one it is
                named by the vector of a fixed sentence (see `FunctionEncoder`).
            longest: Characters of a text that are embedded whole; None finds out.

        Raises:
            InvalidInputError: If these are no embeddings.
            EncoderError: If they fail, or what they give are no vectors.
        """
        if not isinstance(embeddings, Embeddings):
            raise InvalidInputError(f"{embeddings!r:.100} has no embed_documents and embed_query of LangChain's Embeddings")
        super().__init__(embeddings.embed_documents, embeddings.embed_query, name=name, longest=longest)
