"""A document compressor that keeps what a guard lets pass."""

from __future__ import annotations

from collections.abc import Sequence

from langchain_core.callbacks import Callbacks
from langchain_core.documents import Document
from langchain_core.documents.compressor import BaseDocumentCompressor

from langchain_ragguard.documents import guarded, hits
from langchain_ragguard.events import atell, tell
from langchain_ragguard.settings import Guarding


class RAGGuardCompressor(Guarding, BaseDocumentCompressor):
    """The guard as a document compressor, for `ContextualCompressionRetriever` and pipelines; put it first.

    Its settings are those of `Guarding`. Given callbacks of a run, it dispatches the event `ragguard` to them.
    """

    def compress_documents(self, documents: Sequence[Document], query: str, callbacks: Callbacks = None) -> list[Document]:
        """The guarded top documents, best first.

        Raises:
            RAGGuardError: If a defense fails or is late, or something is not a document.
        """
        result = self._guard(query, hits(documents), self.top_k)
        tell(result, callbacks)
        return guarded(result, documents)

    async def acompress_documents(self, documents: Sequence[Document], query: str, callbacks: Callbacks = None) -> list[Document]:
        """As `compress_documents`, without blocking the event loop."""
        result = await self._guard.acall(query, hits(documents), self.top_k)
        await atell(result, callbacks)
        return guarded(result, documents)
