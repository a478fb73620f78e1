"""RAGGuard for LlamaIndex."""

from llama_index.retrievers.ragguard.bounds import check

check()

from llama_index.retrievers.ragguard.base import RAGGuardRetriever  # noqa: E402
from llama_index.retrievers.ragguard.candidates import IndexRetriever  # noqa: E402
from llama_index.retrievers.ragguard.embedding import EncoderEmbedding  # noqa: E402
from llama_index.retrievers.ragguard.encoder import EmbeddingEncoder  # noqa: E402
from llama_index.retrievers.ragguard.events import GuardEvent, Removed  # noqa: E402
from llama_index.retrievers.ragguard.gate import RAGGuardGate  # noqa: E402
from llama_index.retrievers.ragguard.nodes import documents_of  # noqa: E402
from llama_index.retrievers.ragguard.postprocessor import RAGGuardPostprocessor  # noqa: E402
from llama_index.retrievers.ragguard.preparation import RAGGuardPreparation  # noqa: E402

__all__ = [
    "EmbeddingEncoder",
    "EncoderEmbedding",
    "GuardEvent",
    "IndexRetriever",
    "RAGGuardGate",
    "RAGGuardPostprocessor",
    "RAGGuardPreparation",
    "RAGGuardRetriever",
    "Removed",
    "documents_of",
]
