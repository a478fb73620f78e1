"""RAGGuard for Haystack."""

from haystack_integrations.components.rankers.ragguard.component import RAGGuard
from haystack_integrations.components.rankers.ragguard.documents import Search, documents_of

from ragguard.retriever.adapting import KEY

__all__ = ["KEY", "RAGGuard", "Search", "documents_of"]
