"""The guard in LangChain: its own in-memory vector store, the real model, real chains."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Sequence
from contextvars import ContextVar
from datetime import date
from typing import Any

import pytest
from langchain_core.callbacks import BaseCallbackHandler, CallbackManagerForRetrieverRun
from langchain_core.documents import Document
from langchain_core.embeddings import DeterministicFakeEmbedding
from langchain_core.retrievers import BaseRetriever
from langchain_core.runnables import RunnableLambda
from langchain_core.vectorstores import InMemoryVectorStore
from langchain_ragguard import (
    EVENT,
    KEY,
    EmbeddingsEncoder,
    EncoderEmbeddings,
    RAGGuardCompressor,
    RAGGuardRetriever,
    Search,
    documents_of,
)
from pydantic import ValidationError

from ragguard import types
from ragguard.defenses import BaseDefense, Judgement, RAGMask, SourceQuota, default_guard
from ragguard.encoders import SentenceTransformerEncoder
from ragguard.encoders.same_model import require_same_model
from ragguard.errors import DeadlineExceededError, EncoderError, InvalidInputError, RetrieverError
from ragguard.protocols import Encoder, Retriever
from ragguard.retriever import GuardPolicy
from ragguard.retriever.observing import Decision, Observers
from ragguard.testing import RetrieverContract, WordHashEncoder
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
    assert EmbeddingsEncoder(DeterministicFakeEmbedding(size=8), name="mine, version 2").name == "mine, version 2:8000"
    with pytest.raises(EncoderError, match="no vectors"):
        EmbeddingsEncoder(DeterministicFakeEmbedding(size=0))


def test_documents_without_ids_are_told_apart_by_text_and_metadata() -> None:
    found = [Document("the same"), Document("the same"), Document("the same", metadata={"source": 7}), Document("")]
    names = [document.id for document in documents_of(found)]
    assert names[0] == names[1] != names[2]
    kept = RAGGuardRetriever(retriever=Fixed(found=found), defenses=[SourceQuota(3)]).invoke("query")
    assert [(one.page_content, one.metadata.get("source")) for one in kept] == [("the same", None), ("the same", 7)]


def test_a_document_without_an_id_that_is_no_utf8_stops_no_query() -> None:
    found = [Document("half \ud800 a pair"), Document("half \ud801 a pair")]
    assert len(RAGGuardRetriever(retriever=Fixed(found=found), defenses=[SourceQuota(3)]).invoke("query")) == 2


def test_what_is_returned_is_what_was_judged() -> None:
    kept = RAGGuardRetriever(retriever=Fixed(found=[Document("BAN\u200bNED"), Document("al\u200blowed")]), defenses=[Banned()])
    assert [one.page_content for one in kept.invoke("query")] == ["allowed"]
    compressor = RAGGuardCompressor(defenses=[Banned()], top_k=1)
    documents = [Document("BANNED"), Document("first"), Document("second")]
    (only,) = compressor.compress_documents(documents, "query")
    assert only.page_content == "first"
    assert asyncio.run(compressor.acompress_documents(documents, "query")) == [only]


def test_observers_are_told_what_became_of_each_query() -> None:
    told: list[Decision] = []
    observers = Observers([told.append])
    found = [Document("BANNED", id="a"), Document("fine", id="b")]
    retriever = RAGGuardRetriever(retriever=Fixed(found=found), defenses=[Banned()], observers=observers)
    compressor = RAGGuardCompressor(defenses=[Banned()], observers=observers)
    retriever.invoke("query")
    asyncio.run(retriever.ainvoke("query"))
    compressor.compress_documents(found, "query")
    assert observers.flush()
    results = [one.result for one in told if one.result]
    assert [[hit.document.id for hit in result.removed] for result in results] == [["a"], ["a"], ["a"]]
    assert "observers" not in retriever.model_dump()


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


def test_chains_batches_and_streams_are_guarded() -> None:
    guarded = RAGGuardRetriever(retriever=Fixed(found=[Document("BANNED"), Document("fine")]), defenses=[Banned()])

    def texts(found: list[Document]) -> list[str]:
        return [one.page_content for one in found]

    chain = guarded | RunnableLambda(texts)

    async def everything() -> list[object]:
        return [await chain.ainvoke("a"), *await chain.abatch(["a", "b"]), *[one async for one in chain.astream("a")]]

    assert [chain.invoke("a"), *chain.batch(["a", "b", "c"]), *chain.stream("a")] == [["fine"]] * 5
    assert asyncio.run(everything()) == [["fine"]] * 4


def test_an_event_tells_what_was_not_kept_and_no_text() -> None:
    told: list[tuple[str, Any, object]] = []
    ended: list[tuple[object, list[Document]]] = []

    class Handler(BaseCallbackHandler):
        def on_custom_event(self, name: str, data: Any, *, run_id: object, **_: Any) -> None:
            told.append((name, data, run_id))

        def on_retriever_end(self, documents: Sequence[Document], *, run_id: object, **_: Any) -> None:
            ended.append((run_id, list(documents)))

    found = [Document("BANNED secret", id="x"), Document("fine secret", id="y")]
    guarded = RAGGuardRetriever(retriever=Fixed(found=found), defenses=[Banned()])
    guarded.invoke("secret query", config={"callbacks": [Handler()]})
    asyncio.run(guarded.ainvoke("secret query", config={"callbacks": [Handler()]}))
    compressor = RAGGuardCompressor(defenses=[Banned()])

    def compress(query: str) -> list[Document]:
        return compressor.compress_documents(found, query)

    RunnableLambda(compress).invoke("q", config={"callbacks": [Handler()]})
    compress("outside of any run")
    assert [name for name, *_ in told] == [EVENT] * 3
    for _, data, _ in told:
        assert data["kept"] == ["y"]
        (one,) = data["not_kept"]
        assert (one["id"], one["action"], one["defense"], one["reason"]) == ("x", "drop", "banned", "Looked for BANNED.")
        assert "secret" not in json.dumps(data)
    inner, outer = ended[:2]  # the wrapped retriever's run ends first
    assert [one.id for one in inner[1]] == ["x", "y"]
    assert (told[0][2], [one.id for one in outer[1]]) == (outer[0], ["y"])

    async def events() -> list[dict[str, Any]]:
        return [dict(event) async for event in guarded.astream_events("query", version="v2")]

    (custom,) = [event for event in asyncio.run(events()) if event["event"] == "on_custom_event"]
    assert custom["name"] == EVENT


@pytest.mark.parametrize("deadline_s", [None, 30])
def test_the_wrapped_run_keeps_its_context(deadline_s: float | None) -> None:
    variable = ContextVar("tenant", default="nobody")

    class Tenant(Fixed):
        def _get_relevant_documents(self, query: str, *, run_manager: CallbackManagerForRetrieverRun) -> list[Document]:
            return [Document(variable.get())]

    guarded = RAGGuardRetriever(retriever=Tenant(found=None), defenses=[Banned()], policy=GuardPolicy(deadline_s=deadline_s))
    variable.set("mine")
    assert [one.page_content for one in guarded.invoke("query")] == ["mine"]


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
    assert "poison" in [one.id for one in store.similarity_search(QUESTION, k=2)]
    assert "poison" not in [one.id for one in guarded.invoke(QUESTION)]


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
        RAGGuardRetriever.from_vectorstore(store, [Banned()]).invoke(QUESTION)


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


def test_odd_documents_are_judged_or_left_out(encoder: SentenceTransformerEncoder) -> None:
    odd: dict[Any, Any] = {"source": ["a", {"b": 1}], 7: None, "when": date(2026, 1, 2), "bytes": b"x"}
    found = [Document(""), Document(" \u200b "), Document("BANNED", metadata=odd), *[Document("twin", metadata=odd)] * 3]
    found += [Document(f"text {i}") for i in range(50)]  # more than anyone asked for
    guarded = RAGGuardRetriever(retriever=Fixed(found=found), defenses=[Banned(), SourceQuota(3)], top_k=2)
    kept = guarded.invoke("query")
    assert [one.page_content for one in kept] == ["twin", "text 0"]
    assert {key: value for key, value in kept[0].metadata.items() if key != KEY} == odd
    assert asyncio.run(guarded.ainvoke("query")) == kept
    empty = RAGGuardRetriever.from_vectorstore(InMemoryVectorStore(EncoderEmbeddings(encoder)), [RAGMask(encoder)])
    assert empty.invoke("query") == asyncio.run(empty.ainvoke("query")) == []
    for query in ("", " ", None):
        with pytest.raises(InvalidInputError, match="no text"):
            guarded.invoke(query)  # type: ignore[arg-type]


def test_a_deadline_ends_a_slow_store_or_defense() -> None:
    class Slow(Banned):
        def judge(self, query: str, hits: Sequence[Hit], k: int) -> list[Judgement]:
            time.sleep(1)
            return super().judge(query, hits, k)

    for retriever, defense in ((Fixed(found=[Document("a")]), Slow()), (Fixed(found=[Document("a")], delay=1), Banned())):
        guarded = RAGGuardRetriever(retriever=retriever, defenses=[defense], policy=GuardPolicy(deadline_s=0.1))
        start = time.perf_counter()
        with pytest.raises(DeadlineExceededError):
            guarded.invoke("query")
        assert time.perf_counter() - start < 0.9
        with pytest.raises(DeadlineExceededError):
            asyncio.run(guarded.ainvoke("query"))


class TestSearchContract(RetrieverContract):
    def make_retriever(self, documents: Sequence[types.Document]) -> Retriever:
        store = InMemoryVectorStore(EncoderEmbeddings(WordHashEncoder()))
        store.add_documents([Document(one.text, id=one.id, metadata=dict(one.metadata)) for one in documents])
        return Search(store.similarity_search)


class TestRetrieverContract(RetrieverContract):
    def make_retriever(self, documents: Sequence[types.Document]) -> Retriever:
        found = [Document(one.text, id=one.id, metadata=dict(one.metadata)) for one in documents]

        class Explained:
            def retrieve(self, query: str, k: int) -> Sequence[Hit]:
                return RAGGuardRetriever(retriever=Fixed(found=found), defenses=[Banned()], top_k=k).explain(query)

        return Explained()
