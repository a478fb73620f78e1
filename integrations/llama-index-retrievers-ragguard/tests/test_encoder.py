"""LlamaIndex's embedding models as encoders: over the real model, and a broken one."""

from __future__ import annotations

import numpy as np
import pytest
from llama_index.core.embeddings import MockEmbedding
from llama_index.retrievers.ragguard import EmbeddingEncoder, EncoderEmbedding

from ragguard.encoders import SentenceTransformerEncoder
from ragguard.errors import EncoderError, InvalidInputError
from ragguard.protocols import Encoder

TEXTS = ["The tower is 300 metres tall.", "Bonds fell on Friday.", "Bees dance to tell where flowers are."] * 5


def test_an_embedding_model_is_an_encoder(encoder: SentenceTransformerEncoder) -> None:
    adapted = EmbeddingEncoder(EncoderEmbedding(encoder), longest=8000)
    assert isinstance(adapted, Encoder)
    assert adapted.dimension == encoder.dimension
    np.testing.assert_allclose(adapted.encode_document(TEXTS), encoder.encode_document(TEXTS), atol=1e-5)
    np.testing.assert_allclose(adapted.encode_query(TEXTS[:2]), encoder.encode_query(TEXTS[:2]), atol=1e-5)
    assert adapted.name == EmbeddingEncoder(EncoderEmbedding(encoder), longest=8000).name
    assert EmbeddingEncoder(EncoderEmbedding(encoder), name="mine, version 2", longest=500).name == "mine, version 2:500"


def test_what_does_not_embed_is_a_typed_error() -> None:
    class Broken(MockEmbedding):
        def _get_text_embeddings(self, texts: list[str]) -> list[list[float]]:
            return [[float("nan")] * self.embed_dim for _ in texts]

    with pytest.raises(EncoderError, match="same vector"):  # the mock gives every text the same
        EmbeddingEncoder(MockEmbedding(embed_dim=8))
    with pytest.raises(EncoderError, match="NaN"):
        EmbeddingEncoder(Broken(embed_dim=8))
    with pytest.raises(InvalidInputError, match="embedding model"):
        EmbeddingEncoder("text-embedding-3-small")  # type: ignore[arg-type]
