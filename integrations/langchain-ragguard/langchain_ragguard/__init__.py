"""RAGGuard for LangChain."""

from langchain_ragguard.compressor import RAGGuardCompressor
from langchain_ragguard.documents import KEY, documents_of
from langchain_ragguard.embeddings import EmbeddingsEncoder, EncoderEmbeddings
from langchain_ragguard.retriever import RAGGuardRetriever

__all__ = ["KEY", "EmbeddingsEncoder", "EncoderEmbeddings", "RAGGuardCompressor", "RAGGuardRetriever", "documents_of"]
