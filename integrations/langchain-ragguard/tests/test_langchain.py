"""The guard in LangChain: around retrievers that return what they are given, in real chains."""

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
from langchain_core.retrievers import BaseRetriever
from langchain_core.runnables import RunnableLambda
from langchain_core.vectorstores import InMemoryVectorStore
from langchain_ragguard import EVENT, KEY, EncoderEmbeddings, RAGGuardCompressor, RAGGuardRetriever, documents_of
from pydantic import ValidationError

from ragguard import types
from ragguard.defenses import BaseDefense, Judgement, RAGMask, SourceQuota
from ragguard.errors import DeadlineExceededError, InvalidInputError, RetrieverError
from ragguard.protocols import Retriever
from ragguard.retriever import Decision, GuardPolicy, Observers
from ragguard.testing import RetrieverContract, WordHashEncoder
from ragguard.types import Hit


class Banned(BaseDefense):
    """Drops whatever says BANNED: makes visible what was judged and what was not."""

    name = "banned"

    def judge(self, query: str, hits: Sequence[Hit], k: int) -> list[Judgement]:
        return [Judgement(i, hit.score, "Looked for BANNED.", "BANNED" in hit.document.text) for i, hit in enumerate(hits)]


class Fixed(BaseRetriever):
    """Returns what it was given, after a while."""

    documents: Any
    delay: float = 0.0

    def _get_relevant_documents(self, query: str, *, run_manager: CallbackManagerForRetrieverRun) -> list[Document]:
        time.sleep(self.delay)
        if isinstance(self.documents, Exception):
            raise self.documents
        return self.documents  # type: ignore[no-any-return]


def test_documents_without_ids_are_told_apart_by_text_and_metadata() -> None:
    documents = [Document("the same"), Document("the same"), Document("the same", metadata={"source": 7}), Document("")]
    names = [document.id for document in documents_of(documents)]
    assert names[0] == names[1] != names[2]
    kept = RAGGuardRetriever(retriever=Fixed(documents=documents), defenses=[SourceQuota(3)]).invoke("query")
    assert [(document.page_content, document.metadata.get("source")) for document in kept] == [
        ("the same", None),
        ("the same", 7),
    ]


def test_a_document_without_an_id_that_is_no_utf8_stops_no_query() -> None:
    documents = [Document("half \ud800 a pair"), Document("half \ud801 a pair")]
    assert len(RAGGuardRetriever(retriever=Fixed(documents=documents), defenses=[SourceQuota(3)]).invoke("query")) == 2


def test_what_is_returned_is_what_was_judged() -> None:
    hidden = [Document("BAN\u200bNED"), Document("al\u200blowed")]
    kept = RAGGuardRetriever(retriever=Fixed(documents=hidden), defenses=[Banned()]).invoke("query")
    assert [document.page_content for document in kept] == ["allowed"]
    compressor = RAGGuardCompressor(defenses=[Banned()], top_k=1)
    documents = [Document("BANNED"), Document("first"), Document("second")]
    (only,) = compressor.compress_documents(documents, "query")
    assert only.page_content == "first"
    assert asyncio.run(compressor.acompress_documents(documents, "query")) == [only]


def test_observers_are_told_what_became_of_each_query() -> None:
    decisions: list[Decision] = []
    observers = Observers([decisions.append])
    documents = [Document("BANNED", id="a"), Document("fine", id="b")]
    retriever = RAGGuardRetriever(retriever=Fixed(documents=documents), defenses=[Banned()], observers=observers)
    compressor = RAGGuardCompressor(defenses=[Banned()], observers=observers)
    retriever.invoke("query")
    asyncio.run(retriever.ainvoke("query"))
    compressor.compress_documents(documents, "query")
    assert observers.flush()
    results = [decision.result for decision in decisions if decision.result]
    assert [[hit.document.id for hit in result.removed] for result in results] == [["a"], ["a"], ["a"]]
    assert "observers" not in retriever.model_dump()


@pytest.mark.parametrize(
    "documents", [None, "text", ["text"], ConnectionError("gone"), [Document("a", id="x"), Document("b", id="x")]]
)
def test_whatever_the_wrapped_retriever_does_is_a_typed_error(documents: object) -> None:
    guarded = RAGGuardRetriever(retriever=Fixed(documents=documents), defenses=[Banned()])
    with pytest.raises(RetrieverError):
        guarded.invoke("query")
    with pytest.raises(RetrieverError):
        asyncio.run(guarded.ainvoke("query"))


@pytest.mark.parametrize(
    ("given", "said"), [({"defenses": []}, "no"), ({"defenses": [1]}, "not a defense"), ({"top_k": 0}, "top_k")]
)
def test_settings_are_checked(given: dict[str, Any], said: str) -> None:
    for make in (RAGGuardCompressor, lambda **settings: RAGGuardRetriever(retriever=Fixed(documents=[]), **settings)):
        with pytest.raises(ValidationError, match=said):
            make(**{"defenses": [Banned()], **given})
        assert make(defenses=[Banned()])
    assert RAGGuardRetriever(retriever=Fixed(documents=[]), defenses=[Banned()]).invoke("query") == []


def test_callbacks_see_both_runs_and_the_loop_is_not_blocked() -> None:
    seen: list[tuple[str, bool]] = []

    class Handler(BaseCallbackHandler):
        def on_retriever_start(self, serialized: dict[str, Any], query: str, *, parent_run_id: object = None, **_: Any) -> None:
            seen.append((query, parent_run_id is None))

    guarded = RAGGuardRetriever(retriever=Fixed(documents=[Document("fine")], delay=0.3), defenses=[Banned()])
    guarded.invoke("query", config={"callbacks": [Handler()]})
    assert seen == [("query", True), ("query", False)]

    async def two_and_a_clock() -> float:
        start = time.perf_counter()
        await asyncio.gather(guarded.ainvoke("one"), guarded.ainvoke("two"))
        return time.perf_counter() - start

    assert asyncio.run(two_and_a_clock()) < 0.55


def test_chains_batches_and_streams_are_guarded() -> None:
    guarded = RAGGuardRetriever(retriever=Fixed(documents=[Document("BANNED"), Document("fine")]), defenses=[Banned()])

    def texts(documents: list[Document]) -> list[str]:
        return [document.page_content for document in documents]

    chain = guarded | RunnableLambda(texts)

    async def everything() -> list[object]:
        return [await chain.ainvoke("a"), *await chain.abatch(["a", "b"]), *[chunk async for chunk in chain.astream("a")]]

    assert [chain.invoke("a"), *chain.batch(["a", "b", "c"]), *chain.stream("a")] == [["fine"]] * 5
    assert asyncio.run(everything()) == [["fine"]] * 4


def test_an_event_tells_what_was_not_kept_and_no_text() -> None:
    dispatched: list[tuple[str, Any, object]] = []
    ended: list[tuple[object, list[Document]]] = []

    class Handler(BaseCallbackHandler):
        def on_custom_event(self, name: str, data: Any, *, run_id: object, **_: Any) -> None:
            dispatched.append((name, data, run_id))

        def on_retriever_end(self, documents: Sequence[Document], *, run_id: object, **_: Any) -> None:
            ended.append((run_id, list(documents)))

    documents = [Document("BANNED secret", id="x"), Document("fine secret", id="y")]
    guarded = RAGGuardRetriever(retriever=Fixed(documents=documents), defenses=[Banned()])
    guarded.invoke("secret query", config={"callbacks": [Handler()]})
    asyncio.run(guarded.ainvoke("secret query", config={"callbacks": [Handler()]}))
    compressor = RAGGuardCompressor(defenses=[Banned()])

    def compress(query: str) -> list[Document]:
        return compressor.compress_documents(documents, query)

    RunnableLambda(compress).invoke("q", config={"callbacks": [Handler()]})
    compress("outside of any run")
    assert [name for name, *_ in dispatched] == [EVENT] * 3
    for _, data, _ in dispatched:
        assert data["kept"] == ["y"]
        (removed,) = data["not_kept"]
        said = (removed["id"], removed["action"], removed["defense"], removed["reason"])
        assert said == ("x", "drop", "banned", "Looked for BANNED.")
        assert "secret" not in json.dumps(data)
    inner, outer = ended[:2]  # the wrapped retriever's run ends first
    assert [document.id for document in inner[1]] == ["x", "y"]
    assert (dispatched[0][2], [document.id for document in outer[1]]) == (outer[0], ["y"])

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

    guarded = RAGGuardRetriever(retriever=Tenant(documents=None), defenses=[Banned()], policy=GuardPolicy(deadline_s=deadline_s))
    variable.set("mine")
    assert [document.page_content for document in guarded.invoke("query")] == ["mine"]


def test_odd_documents_are_judged_or_left_out() -> None:
    odd: dict[Any, Any] = {"source": ["a", {"b": 1}], 7: None, "when": date(2026, 1, 2), "bytes": b"x"}
    documents = [Document(""), Document(" \u200b "), Document("BANNED", metadata=odd), *[Document("twin", metadata=odd)] * 3]
    documents += [Document(f"text {i}") for i in range(50)]  # more than anyone asked for
    guarded = RAGGuardRetriever(retriever=Fixed(documents=documents), defenses=[Banned(), SourceQuota(3)], top_k=2)
    kept = guarded.invoke("query")
    assert [document.page_content for document in kept] == ["twin", "text 0"]
    assert {key: value for key, value in kept[0].metadata.items() if key != KEY} == odd
    assert asyncio.run(guarded.ainvoke("query")) == kept
    encoder = WordHashEncoder()
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

    for retriever, defense in ((Fixed(documents=[Document("a")]), Slow()), (Fixed(documents=[Document("a")], delay=1), Banned())):
        guarded = RAGGuardRetriever(retriever=retriever, defenses=[defense], policy=GuardPolicy(deadline_s=0.1))
        start = time.perf_counter()
        with pytest.raises(DeadlineExceededError):
            guarded.invoke("query")
        assert time.perf_counter() - start < 0.9
        with pytest.raises(DeadlineExceededError):
            asyncio.run(guarded.ainvoke("query"))


class TestRetrieverContract(RetrieverContract):
    def make_retriever(self, documents: Sequence[types.Document]) -> Retriever:
        candidates = [Document(known.text, id=known.id, metadata=dict(known.metadata)) for known in documents]

        class Explained:
            def retrieve(self, query: str, k: int) -> Sequence[Hit]:
                return RAGGuardRetriever(retriever=Fixed(documents=candidates), defenses=[Banned()], top_k=k).explain(query)

        return Explained()
