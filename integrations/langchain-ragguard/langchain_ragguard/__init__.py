"""RAGGuard for LangChain."""

from langchain_ragguard.compressor import RAGGuardCompressor
from langchain_ragguard.documents import Search, documents_of
from langchain_ragguard.embeddings import EmbeddingsEncoder, EncoderEmbeddings
from langchain_ragguard.events import EVENT
from langchain_ragguard.retriever import RAGGuardRetriever
from ragguard.retriever.adapting import KEY

__all__ = [
    "EVENT",
    "KEY",
    "EmbeddingsEncoder",
    "EncoderEmbeddings",
    "RAGGuardCompressor",
    "RAGGuardRetriever",
    "Search",
    "documents_of",
]
