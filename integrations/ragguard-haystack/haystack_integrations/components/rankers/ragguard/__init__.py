"""RAGGuard for Haystack."""

from haystack_integrations.components.rankers.ragguard.component import RAGGuard
from haystack_integrations.components.rankers.ragguard.documents import KEY, Search, documents_of

__all__ = ["KEY", "RAGGuard", "Search", "documents_of"]
