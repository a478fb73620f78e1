"""RAGGuard for LlamaIndex."""

from llama_index.retrievers.ragguard.base import RAGGuardRetriever
from llama_index.retrievers.ragguard.embedding import EncoderEmbedding
from llama_index.retrievers.ragguard.postprocessor import RAGGuardPostprocessor

__all__ = ["EncoderEmbedding", "RAGGuardPostprocessor", "RAGGuardRetriever"]
