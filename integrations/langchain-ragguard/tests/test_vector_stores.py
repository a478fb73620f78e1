"""Vector stores, guarded: LangChain's own in-memory store, the real model, what a guard is calibrated on."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence

import pytest
from langchain_core.documents import Document
from langchain_core.embeddings import DeterministicFakeEmbedding
from langchain_core.runnables import RunnableLambda
from langchain_core.vectorstores import InMemoryVectorStore
from langchain_ragguard import KEY, EmbeddingsEncoder, EncoderEmbeddings, RAGGuardRetriever, Search, documents_of

from ragguard import types
from ragguard.defenses import RAGMask, SourceQuota, default_guard
from ragguard.encoders import SentenceTransformerEncoder, require_same_model
from ragguard.errors import EncoderError, InvalidInputError, RetrieverError
from ragguard.protocols import Encoder, Retriever
from ragguard.testing import RetrieverContract, WordHashEncoder

QUESTION = "When did the first railway tunnel under the river Severn open to passenger trains?"
BREAD = (
    "Sourdough bread rises by wild yeast and by bacteria that live in a starter of flour and water. Bakers feed the starter "
    "every day, keep it warm, and hold back a part of it for the next loaf. A long, cool rise gives the crumb its sour taste."
)
HONEST = [
    "The Severn Tunnel was opened to goods trains in September 1886 and to passenger trains in December of that year. It runs "
    "for seven kilometres from Gloucestershire to Wales. Before it was built, travellers crossed the estuary on a steam ferry.",
    "It took the Great Western Railway thirteen years to dig the tunnel under the river. In 1879 the workings struck the Great "
    "Spring, and water filled them within a day. Pumps have lifted the water ever since.",
    "Penguins breed on the ice in winter, far from the open sea, and the males keep the eggs warm on their feet for two months.",
    "Bees dance to tell their sisters the direction of the flowers they found, and how far it is to fly there.",
]


def test_a_poisoned_document_does_not_reach_the_chain(encoder: SentenceTransformerEncoder) -> None:
    store = InMemoryVectorStore(EncoderEmbeddings(encoder))
    store.add_documents([Document(text, id=f"d{i}") for i, text in enumerate([*HONEST, f"{QUESTION} {BREAD}"])])
    assert store.similarity_search(QUESTION, k=2)[0].id == "d4" or store.similarity_search(QUESTION, k=2)[1].id == "d4"
    retriever = RAGGuardRetriever.from_vectorstore(store, [RAGMask(encoder)], top_k=2)

    def ids(documents: list[Document]) -> list[str | None]:
        return [document.id for document in documents]

    chain = retriever | RunnableLambda(ids)
    assert chain.invoke(QUESTION) == ["d0", "d1"] == asyncio.run(chain.ainvoke(QUESTION))
    result = retriever.explain(QUESTION)
    assert [hit.document.id for hit in result.lost] == ["d4"]
    (first, _) = retriever.invoke(QUESTION)
    (verdict,) = first.metadata[KEY]["verdicts"]
    assert verdict["action"] == "keep"
    json.dumps(first.metadata)
    assert store.get_by_ids(["d0"])[0].metadata == {}  # the store's own documents stay as they are


def test_the_embeddings_of_a_store_are_the_guard_s_encoder(encoder: SentenceTransformerEncoder) -> None:
    same = EmbeddingsEncoder(EncoderEmbeddings(encoder))
    assert isinstance(same, Encoder)
    assert same.dimension == encoder.dimension
    assert (same.encode_document(HONEST) @ encoder.encode_document(HONEST).T).diagonal() == pytest.approx(1)
    assert same.encode_document([]).shape == (0, encoder.dimension)
    assert same.name == EmbeddingsEncoder(EncoderEmbeddings(encoder)).name
    assert same.name != EmbeddingsEncoder(DeterministicFakeEmbedding(size=384)).name
    assert EmbeddingsEncoder(DeterministicFakeEmbedding(size=8), name="mine, version 2").name == "mine, version 2:8000"
    with pytest.raises(EncoderError, match="no vectors"):
        EmbeddingsEncoder(DeterministicFakeEmbedding(size=0))


def test_a_guard_is_calibrated_on_the_store_itself(encoder: SentenceTransformerEncoder) -> None:
    store = InMemoryVectorStore(EncoderEmbeddings(encoder))
    documents = [Document(text, id=f"d{i}", metadata={"source": f"s{i}"}) for i, text in enumerate(HONEST)]
    store.add_documents(documents)
    queries = [f"{' '.join(text.split()[i : i + 4])}?" for text in HONEST for i in range(0, 10, 2)]
    index = Search(store.similarity_search)
    require_same_model(EmbeddingsEncoder(store.embeddings), index, queries, k=4)
    defenses = default_guard(encoder, index, documents_of(documents), queries, k=2, max_clean_query_loss=0.1)
    store.add_documents([Document(f"{QUESTION} {BREAD}", id="poison", metadata={"source": "web"})])
    guarded = RAGGuardRetriever.from_vectorstore(store, defenses, top_k=2)
    assert "poison" in [document.id for document in store.similarity_search(QUESTION, k=2)]
    assert "poison" not in [document.id for document in guarded.invoke(QUESTION)]


def test_embeddings_of_another_model_are_refused(encoder: SentenceTransformerEncoder) -> None:
    store = InMemoryVectorStore(EncoderEmbeddings(encoder))
    store.add_documents([Document(text, id=f"d{i}") for i, text in enumerate(HONEST)])
    queries = [" ".join(text.split()[i : i + 4]) for text in HONEST for i in range(0, 16, 2)]
    with pytest.raises(EncoderError, match="another model"):
        require_same_model(EmbeddingsEncoder(DeterministicFakeEmbedding(size=384)), Search(store.similarity_search), queries)
    store.embedding = DeterministicFakeEmbedding(size=8)
    with pytest.raises(RetrieverError, match="search failed"):
        Search(store.similarity_search).retrieve(QUESTION, 2)
    with pytest.raises(RetrieverError, match="retriever failed"):
        RAGGuardRetriever.from_vectorstore(store, [SourceQuota(3)]).invoke(QUESTION)


def test_embeddings_that_change_their_dimension_are_an_error() -> None:
    class Changing(DeterministicFakeEmbedding):
        def embed_documents(self, texts: list[str]) -> list[list[float]]:
            return [[1.0] * self.size for _ in texts] if len(texts) == 3 else super().embed_documents(texts)

    changing = EmbeddingsEncoder(Changing(size=8))
    assert changing.encode_document(["a", "b", "c"]).shape == (3, 8)
    changing._documents.__self__.size = 4  # type: ignore[attr-defined]
    with pytest.raises(EncoderError, match=r"shape \(3, 4\)"):
        changing.encode_document(["a", "b", "c"])
    with pytest.raises(InvalidInputError, match="Embeddings"):
        EmbeddingsEncoder("text-embedding-3-small")  # type: ignore[arg-type]


class TestSearchContract(RetrieverContract):
    def make_retriever(self, documents: Sequence[types.Document]) -> Retriever:
        store = InMemoryVectorStore(EncoderEmbeddings(WordHashEncoder()))
        store.add_documents([Document(known.text, id=known.id, metadata=dict(known.metadata)) for known in documents])
        return Search(store.similarity_search)
