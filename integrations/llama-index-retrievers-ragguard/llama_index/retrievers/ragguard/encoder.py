"""LlamaIndex's embedding model as a RAGGuard encoder, for indexes that exist already."""

from __future__ import annotations

from llama_index.core.base.embeddings.base import BaseEmbedding

from ragguard.encoders import FunctionEncoder
from ragguard.errors import InvalidInputError


class EmbeddingEncoder(FunctionEncoder):
    """The embedding model that an index was built with, for the guard; long texts as in `FunctionEncoder`."""

    def __init__(self, embed_model: BaseEmbedding, *, name: str = "", longest: int | None = None) -> None:
        """Ask for a few vectors.

        Args:
            embed_model: Any of LlamaIndex's.
            name: Of the model, its version and its settings, which LlamaIndex's `model_name` does not cover. Without one it is
                named by the vector of a fixed sentence (see `FunctionEncoder`).
            longest: Characters of a text that are embedded whole; None finds out.

        Raises:
            InvalidInputError: If this is no embedding model.
            EncoderError: If it fails, or what it gives are no vectors.
        """
        if not isinstance(embed_model, BaseEmbedding):
            raise InvalidInputError(f"{embed_model!r:.100} is not an embedding model of LlamaIndex")
        super().__init__(embed_model.get_text_embedding_batch, embed_model.get_query_embedding, name=name, longest=longest)
