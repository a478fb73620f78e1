"""A document compressor that keeps what a guard lets pass."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from langchain_core.callbacks import Callbacks
from langchain_core.documents import Document
from langchain_core.documents.compressor import BaseDocumentCompressor
from pydantic import ConfigDict, PrivateAttr

from langchain_ragguard.documents import guarded, hits
from ragguard.checks import positive
from ragguard.retriever import Guard, GuardPolicy


class RAGGuardCompressor(BaseDocumentCompressor):
    """The guard as a document compressor, for `ContextualCompressionRetriever` and pipelines; put it first.

    Attributes:
        defenses: Applied in turn.
        top_k: How many documents to keep.
        policy: Deadline for the defenses, and what happens when one fails.
    """

    model_config = ConfigDict(arbitrary_types_allowed=True)

    defenses: Sequence[Any]
    top_k: int = 5
    policy: GuardPolicy = GuardPolicy()
    _guard: Guard = PrivateAttr()

    def model_post_init(self, _: Any, /) -> None:
        """Check the settings.

        Raises:
            ValidationError: Pydantic's: if there are no defenses, something is no defense, or `top_k` is below 1.
        """
        positive(self.top_k, "top_k")
        self._guard = Guard(self.defenses, self.policy)

    def compress_documents(self, documents: Sequence[Document], query: str, callbacks: Callbacks = None) -> list[Document]:  # noqa: ARG002
        """The guarded top documents, best first."""
        return guarded(self._guard(query, hits(documents), self.top_k), documents)

    async def acompress_documents(
        self,
        documents: Sequence[Document],
        query: str,
        callbacks: Callbacks = None,  # noqa: ARG002
    ) -> list[Document]:
        """As `compress_documents`, without blocking the event loop."""
        return guarded(await self._guard.acall(query, hits(documents), self.top_k), documents)
