"""A RAGGuard encoder as LlamaIndex's embedding model, so that index and guard use one model and one canonical text."""

from __future__ import annotations

import asyncio
from typing import Any

from llama_index.core.base.embeddings.base import BaseEmbedding
from llama_index.core.bridge.pydantic import PrivateAttr
from llama_index.retrievers.ragguard.live import Live
from typing_extensions import Self

from ragguard.checks import an_encoder
from ragguard.encoders.vectors import encode_documents, encode_one_query
from ragguard.errors import InvalidInputError
from ragguard.protocols import Encoder
from ragguard.text import canonical


class EncoderEmbedding(Live, BaseEmbedding):
    """Embeds canonical texts with an encoder; long texts whole, special tokens as text."""

    _encoder: Encoder = PrivateAttr()

    def __init__(self, encoder: Encoder, **kwargs: Any) -> None:
        """Wrap an encoder.

        Args:
            encoder: Embeds.
            kwargs: For `BaseEmbedding`: embed_batch_size, callback_manager.

        Raises:
            InvalidInputError: If `encoder` is none.
        """
        super().__init__(model_name=an_encoder(encoder).name, **kwargs)
        self._encoder = encoder

    @classmethod
    def class_name(cls) -> str:
        """Name in LlamaIndex's registries."""
        return "EncoderEmbedding"

    @classmethod
    def from_dict(cls, data: dict[str, Any], **kwargs: Any) -> Self:
        """Restore what `to_dict` gave; the encoder is live and must be given again.

        Args:
            data: From `to_dict`.
            kwargs: `encoder`, and what else shall differ.

        Raises:
            InvalidInputError: If no encoder is given, or its name is not the saved one.
        """
        fields = {key: value for key, value in {**data, **kwargs}.items() if key not in ("class_name", "model_name")}
        saved, encoder = data.get("model_name"), fields.pop("encoder", None)
        if encoder is None or encoder.name != saved:
            given = f"not {encoder.name!r}" if encoder else "which cannot be saved: pass it as encoder=..."
            raise InvalidInputError(f"EncoderEmbedding was saved with the encoder {saved!r}, {given}")
        return cls(encoder, **fields)

    def _get_query_embedding(self, query: str) -> list[float]:
        return [float(x) for x in encode_one_query(self._encoder, canonical(query).text)]

    def _get_text_embedding(self, text: str) -> list[float]:
        return self._get_text_embeddings([text])[0]

    def _get_text_embeddings(self, texts: list[str]) -> list[list[float]]:
        return [[float(x) for x in row] for row in encode_documents(self._encoder, [canonical(text).text for text in texts])]

    async def _aget_query_embedding(self, query: str) -> list[float]:
        return await asyncio.to_thread(self._get_query_embedding, query)

    async def _aget_text_embedding(self, text: str) -> list[float]:
        return await asyncio.to_thread(self._get_text_embedding, text)

    async def _aget_text_embeddings(self, texts: list[str]) -> list[list[float]]:
        return await asyncio.to_thread(self._get_text_embeddings, texts)
