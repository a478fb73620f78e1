"""The guard in LangChain: its own in-memory vector store, the real model, real chains."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Sequence
from typing import Any

import pytest
from langchain_core.callbacks import BaseCallbackHandler, CallbackManagerForRetrieverRun
from langchain_core.documents import Document
from langchain_core.embeddings import DeterministicFakeEmbedding
from langchain_core.retrievers import BaseRetriever
from langchain_core.runnables import RunnableLambda
from langchain_core.vectorstores import InMemoryVectorStore
from langchain_ragguard import KEY, EmbeddingsEncoder, EncoderEmbeddings, RAGGuardCompressor, RAGGuardRetriever, documents_of
from pydantic import ValidationError

from ragguard import types
from ragguard.defenses import BaseDefense, Judgement, RAGMask, SourceQuota
from ragguard.encoders import SentenceTransformerEncoder
from ragguard.errors import DeadlineExceededError, EncoderError, RetrieverError
from ragguard.protocols import Encoder, Retriever
from ragguard.retriever import GuardPolicy
from ragguard.testing import RetrieverContract
from ragguard.types import Hit

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


@pytest.fixture(scope="module")
def encoder() -> SentenceTransformerEncoder:
    return SentenceTransformerEncoder.offline(progress=False)


class Banned(BaseDefense):
    """Drops whatever says BANNED: makes visible what was judged and what was not."""

    name = "banned"

    def judge(self, query: str, hits: Sequence[Hit], k: int) -> list[Judgement]:
        return [Judgement(i, hit.score, "Looked for BANNED.", "BANNED" in hit.document.text) for i, hit in enumerate(hits)]


class Fixed(BaseRetriever):
    """Returns what it was given, after a while."""

    found: Any
    delay: float = 0.0

    def _get_relevant_documents(self, query: str, *, run_manager: CallbackManagerForRetrieverRun) -> list[Document]:
        time.sleep(self.delay)
        if isinstance(self.found, Exception):
            raise self.found
        return self.found  # type: ignore[no-any-return]


def test_a_poisoned_document_does_not_reach_the_chain(encoder: SentenceTransformerEncoder) -> None:
    store = InMemoryVectorStore(EncoderEmbeddings(encoder))
    store.add_documents([Document(text, id=f"d{i}") for i, text in enumerate([*HONEST, f"{QUESTION} {BREAD}"])])
    assert store.similarity_search(QUESTION, k=2)[0].id == "d4" or store.similarity_search(QUESTION, k=2)[1].id == "d4"
    retriever = RAGGuardRetriever.from_vectorstore(store, [RAGMask(encoder)], top_k=2)

    def ids(found: list[Document]) -> list[str | None]:
        return [document.id for document in found]

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
    assert EmbeddingsEncoder(DeterministicFakeEmbedding(size=8), name="mine, version 2").name == "mine, version 2"
    with pytest.raises(EncoderError, match="without a direction"):
        EmbeddingsEncoder(DeterministicFakeEmbedding(size=0))


def test_documents_without_ids_are_told_apart_by_text_and_metadata() -> None:
    found = [Document("the same"), Document("the same"), Document("the same", metadata={"source": 7}), Document("")]
    names = [document.id for document in documents_of(found)]
    assert names[0] == names[1] != names[2]
    kept = RAGGuardRetriever(retriever=Fixed(found=found), defenses=[SourceQuota(3)]).invoke("query")
    assert [(one.page_content, one.metadata.get("source")) for one in kept] == [("the same", None), ("the same", 7)]


def test_what_is_returned_is_what_was_judged() -> None:
    kept = RAGGuardRetriever(retriever=Fixed(found=[Document("BAN\u200bNED"), Document("al\u200blowed")]), defenses=[Banned()])
    assert [one.page_content for one in kept.invoke("query")] == ["allowed"]
    compressor = RAGGuardCompressor(defenses=[Banned()], top_k=1)
    documents = [Document("BANNED"), Document("first"), Document("second")]
    (only,) = compressor.compress_documents(documents, "query")
    assert only.page_content == "first"
    assert asyncio.run(compressor.acompress_documents(documents, "query")) == [only]


@pytest.mark.parametrize(
    "found", [None, "text", ["text"], ConnectionError("gone"), [Document("a", id="x"), Document("b", id="x")]]
)
def test_whatever_the_wrapped_retriever_does_is_a_typed_error(found: object) -> None:
    guarded = RAGGuardRetriever(retriever=Fixed(found=found), defenses=[Banned()])
    with pytest.raises(RetrieverError):
        guarded.invoke("query")
    with pytest.raises(RetrieverError):
        asyncio.run(guarded.ainvoke("query"))


@pytest.mark.parametrize(
    ("given", "said"), [({"defenses": []}, "no"), ({"defenses": [1]}, "not a defense"), ({"top_k": 0}, "top_k")]
)
def test_settings_are_checked(given: dict[str, Any], said: str) -> None:
    for make in (RAGGuardCompressor, lambda **settings: RAGGuardRetriever(retriever=Fixed(found=[]), **settings)):
        with pytest.raises(ValidationError, match=said):
            make(**{"defenses": [Banned()], **given})
        assert make(defenses=[Banned()])
    assert RAGGuardRetriever(retriever=Fixed(found=[]), defenses=[Banned()]).invoke("query") == []


def test_callbacks_see_both_runs_and_the_loop_is_not_blocked() -> None:
    seen: list[tuple[str, bool]] = []

    class Handler(BaseCallbackHandler):
        def on_retriever_start(self, serialized: dict[str, Any], query: str, *, parent_run_id: object = None, **_: Any) -> None:
            seen.append((query, parent_run_id is None))

    guarded = RAGGuardRetriever(retriever=Fixed(found=[Document("fine")], delay=0.3), defenses=[Banned()])
    guarded.invoke("query", config={"callbacks": [Handler()]})
    assert seen == [("query", True), ("query", False)]

    async def two_and_a_clock() -> float:
        start = time.perf_counter()
        await asyncio.gather(guarded.ainvoke("one"), guarded.ainvoke("two"))
        return time.perf_counter() - start

    assert asyncio.run(two_and_a_clock()) < 0.55


def test_a_deadline_ends_a_slow_defense() -> None:
    class Slow(Banned):
        def judge(self, query: str, hits: Sequence[Hit], k: int) -> list[Judgement]:
            time.sleep(1)
            return super().judge(query, hits, k)

    guarded = RAGGuardRetriever(retriever=Fixed(found=[Document("a")]), defenses=[Slow()], policy=GuardPolicy(deadline_s=0.1))
    with pytest.raises(DeadlineExceededError):
        guarded.invoke("query")


class TestRetrieverContract(RetrieverContract):
    def make_retriever(self, documents: Sequence[types.Document]) -> Retriever:
        found = [Document(one.text, id=one.id, metadata=dict(one.metadata)) for one in documents]

        class Explained:
            def retrieve(self, query: str, k: int) -> Sequence[Hit]:
                return RAGGuardRetriever(retriever=Fixed(found=found), defenses=[Banned()], top_k=k).explain(query)

        return Explained()
