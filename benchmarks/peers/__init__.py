"""Other people's defenses, so that they can be compared with: each drops what it would remove and leaves the order alone."""

from benchmarks.peers.gmtp import GMTP, Bigrams, MaskedLanguageModel
from benchmarks.peers.near_duplicates import NearDuplicateFilter
from benchmarks.peers.perplexity import PerplexityFilter
from benchmarks.peers.ragdefender import RAGDefender
from benchmarks.peers.trustrag import TrustRAG

__all__ = [
    "GMTP",
    "Bigrams",
    "MaskedLanguageModel",
    "NearDuplicateFilter",
    "PerplexityFilter",
    "RAGDefender",
    "TrustRAG",
]
