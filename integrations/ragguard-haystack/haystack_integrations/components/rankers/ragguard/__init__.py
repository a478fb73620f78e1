"""RAGGuard for Haystack."""

from haystack_integrations.components.rankers.ragguard.component import RAGGuard
from haystack_integrations.components.rankers.ragguard.documents import KEY, documents_of

__all__ = ["KEY", "RAGGuard", "documents_of"]
