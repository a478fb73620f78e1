"""Our own defenses and retrievers keep the contracts that third parties inherit."""

from __future__ import annotations

from collections.abc import Sequence

from ragguard.defenses import RAGMask, RAGPart
from ragguard.defenses.ragpart_search import RAGPartSearch
from ragguard.index import DenseIndex
from ragguard.protocols import Defense, Retriever
from ragguard.retriever import GuardedRetriever
from ragguard.testing import DefenseContract, RetrieverContract, WordHashEncoder
from ragguard.types import Document


class TestRAGPart(DefenseContract):
    def make_defense(self) -> Defense:
        return RAGPart.paper(WordHashEncoder())


class TestRAGPartWithRequiredShare(DefenseContract):
    def make_defense(self) -> Defense:
        return RAGPart(WordHashEncoder(), n=5, k=2, p=2, min_share=0.5)


class TestRAGMask(DefenseContract):
    def make_defense(self) -> Defense:
        return RAGMask(WordHashEncoder(), m=4)


class TestRAGMaskOfAPool(DefenseContract):
    def make_defense(self) -> Defense:
        return RAGMask(WordHashEncoder(), m=4, alpha=2)


class TestFaissIndex(RetrieverContract):
    def make_retriever(self, documents: Sequence[Document]) -> Retriever:
        index = DenseIndex(WordHashEncoder(), backend="faiss")
        index.add(documents)
        return index


class TestTorchIndex(RetrieverContract):
    def make_retriever(self, documents: Sequence[Document]) -> Retriever:
        index = DenseIndex(WordHashEncoder(), backend="torch", device="cpu")
        index.add(documents)
        return index


class TestGuardedRetriever(RetrieverContract):
    def make_retriever(self, documents: Sequence[Document]) -> Retriever:
        index = DenseIndex(WordHashEncoder(), backend="faiss")
        index.add(documents)
        return GuardedRetriever(index, [RAGPart(WordHashEncoder()), RAGMask(WordHashEncoder(), m=4)])


class TestRAGPartSearch(RetrieverContract):
    def make_retriever(self, documents: Sequence[Document]) -> Retriever:
        index = DenseIndex(WordHashEncoder(), backend="faiss")
        index.add(documents)
        return RAGPartSearch(index, RAGPart(WordHashEncoder()))


class TestApproximateRAGPartSearch(TestRAGPartSearch):
    def make_retriever(self, documents: Sequence[Document]) -> Retriever:
        index = DenseIndex(WordHashEncoder(), backend="faiss")
        index.add(documents)
        return RAGPartSearch(index, RAGPart(WordHashEncoder()), fragments="hnsw")
