"""Our own defenses, retrievers, signals and attacks keep the contracts that third parties inherit."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import pytest

from ragguard import attacks
from ragguard.attacks import Attack
from ragguard.defenses import SIGNALS, RAGMask, RAGPart
from ragguard.defenses.calibrating import build
from ragguard.defenses.ragpart_search import RAGPartSearch
from ragguard.index import DenseIndex
from ragguard.protocols import Defense, Retriever
from ragguard.retriever import GuardedRetriever
from ragguard.signals import Flood, Outlier, Signal
from ragguard.testing import DOCUMENTS, QUERY, AttackContract, DefenseContract, RetrieverContract, SignalContract, WordHashEncoder
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


class TestSignals(SignalContract):
    kind: type[Signal]

    @pytest.fixture(autouse=True, params=[*SIGNALS, Flood, Outlier], ids=lambda kind: kind.name)
    def _of_a_kind(self, request: pytest.FixtureRequest) -> None:
        self.kind = request.param

    def make_signal(self) -> Signal:
        return build([self.kind], [one.text for one in DOCUMENTS], WordHashEncoder(), [QUERY, "when do trains leave"])[0]


WRITERS: dict[str, Callable[[], Attack]] = {
    "query-copy": lambda: attacks.QueryCopy(DOCUMENTS[3:7]),
    "keyword-stuffing": lambda: attacks.KeywordStuffing(DOCUMENTS[3:7]),
    "injection": lambda: attacks.PromptInjection(DOCUMENTS[3:7]),
    "jamming": attacks.Jamming,
    "poisonedrag": attacks.PoisonedRAG,
}


class TestAttacks(AttackContract):
    name: str

    @pytest.fixture(autouse=True, params=WRITERS)
    def _of_a_name(self, request: pytest.FixtureRequest) -> None:
        self.name = request.param

    def make_attack(self) -> Attack:
        return WRITERS[self.name]()
