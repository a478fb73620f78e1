"""The guard in Haystack: a real pipeline over its in-memory document store, with the real model."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Sequence
from dataclasses import replace
from datetime import date
from pathlib import Path

import pytest
from haystack import Document, Pipeline, component
from haystack.components.retrievers.in_memory import InMemoryEmbeddingRetriever
from haystack.core.errors import PipelineRuntimeError, SerializationError
from haystack.dataclasses import ByteStream
from haystack.document_stores.in_memory import InMemoryDocumentStore
from haystack_integrations.components.rankers.ragguard import KEY, RAGGuard, Search, documents_of

from ragguard import types
from ragguard.audit import Record, read
from ragguard.defenses import BaseDefense, CalibratedGuard, Judgement, RAGMask, SourceQuota
from ragguard.encoders import SentenceTransformerEncoder, require_same_model
from ragguard.errors import DeadlineExceededError, EncoderError, InvalidInputError, RetrieverError
from ragguard.index import DenseIndex
from ragguard.protocols import Retriever
from ragguard.retriever import Decision, GuardPolicy, Observers
from ragguard.testing import RetrieverContract, WordHashEncoder
from ragguard.types import Hit

QUESTION = "When did the first railway tunnel under the river Severn open to passenger trains?"
BREAD = (
    "Sourdough bread rises by wild yeast and by bacteria that live in a starter of flour and water. Bakers feed the starter "
    "every day, keep it warm, and hold back a part of it for the next loaf. A long, cool rise gives the crumb its sour taste."
)
TEXTS = [
    "The Severn Tunnel was opened to goods trains in September 1886 and to passenger trains in December of that year. It runs "
    "for seven kilometres from Gloucestershire to Wales. Before it was built, travellers crossed the estuary on a steam ferry.",
    "It took the Great Western Railway thirteen years to dig the tunnel under the river. In 1879 the workings struck the Great "
    "Spring, and water filled them within a day. Pumps have lifted the water ever since.",
    "Penguins breed on the ice in winter, far from the open sea, and the males keep the eggs warm on their feet for two months.",
    "Bees dance to tell their sisters the direction of the flowers they found, and how far it is to fly there.",
    f"{QUESTION} {BREAD}",
]


class Banned(BaseDefense):
    """Drops whatever says BANNED: makes visible what was judged and what was not."""

    name = "banned"

    def judge(self, query: str, hits: Sequence[Hit], k: int) -> list[Judgement]:
        return [Judgement(i, hit.score, "Looked for BANNED.", "BANNED" in hit.document.text) for i, hit in enumerate(hits)]


def test_a_poisoned_document_does_not_leave_the_pipeline(encoder: SentenceTransformerEncoder) -> None:
    @component
    class Embedder:
        @component.output_types(embedding=list[float])
        def run(self, query: str) -> dict[str, list[float]]:
            return {"embedding": encoder.encode_query([query])[0].tolist()}

    store = InMemoryDocumentStore()
    vectors = encoder.encode_document(TEXTS).tolist()
    given = [Document(id=f"d{i}", content=text, embedding=vectors[i]) for i, text in enumerate(TEXTS)]
    store.write_documents(given)
    guard = RAGGuard.of([RAGMask(encoder)], top_k=2)
    guard.prepare(given)
    pipeline = Pipeline()
    pipeline.add_component("embedder", Embedder())
    pipeline.add_component("retriever", InMemoryEmbeddingRetriever(store, top_k=4))
    pipeline.add_component("guard", RAGGuard.of([RAGMask(encoder)], top_k=2))
    pipeline.connect("embedder.embedding", "retriever.query_embedding")
    pipeline.connect("retriever.documents", "guard.documents")
    inputs = {"embedder": {"query": QUESTION}, "guard": {"query": QUESTION}}
    shown = {"retriever"}
    for outputs in (pipeline.run(inputs, shown), asyncio.run(pipeline.run_async(inputs, shown))):
        assert "d4" in [document.id for document in outputs["retriever"]["documents"][:2]]
        kept = outputs["guard"]["documents"]
        assert [document.id for document in kept] == ["d0", "d1"]
        assert kept[0].meta[KEY]["verdicts"][0]["action"] == "keep"
        json.dumps(kept[0].meta)
    assert [hit.document.id for hit in guard.explain(QUESTION, outputs["retriever"]["documents"]).lost] == ["d4"]
    assert store.filter_documents()[0].meta == {}  # the store's own documents stay as they are


def test_made_from_files_it_is_written_and_read_with_its_pipeline(tmp_path: Path, encoder: SentenceTransformerEncoder) -> None:
    index = DenseIndex(encoder)
    documents = documents_of([Document(id=f"d{i}", content=text) for i, text in enumerate(TEXTS[:4])])
    index.add(documents)
    queries = [f"{' '.join(text.split()[i : i + 4])}?" for text in TEXTS[:4] for i in range(0, 16, 2)]
    calibrated = CalibratedGuard.calibrated(encoder, index, documents, queries, k=2, max_clean_query_loss=0.1)
    calibrated.save(tmp_path / "guard.json")
    lines = [json.dumps({"_id": document.id, "text": document.text}) for document in documents]
    (tmp_path / "corpus.jsonl").write_text("\n".join(lines), encoding="utf-8")
    pipeline = Pipeline()
    guard = RAGGuard(
        str(tmp_path / "guard.json"), str(tmp_path / "corpus.jsonl"), quota=1, top_k=2, audit=str(tmp_path / "audit.jsonl")
    )
    pipeline.add_component("guard", guard)
    again = Pipeline.loads(pipeline.dumps())
    given = [Document(id="a", content=TEXTS[0], meta={"source": "s"}), Document(id="b", content=TEXTS[1], meta={"source": "s"})]
    inputs = {"guard": {"query": QUESTION, "documents": given}}
    assert [document.id for document in asyncio.run(again.run_async(inputs))["guard"]["documents"]] == ["a"]
    assert [document.id for document in again.run(inputs)["guard"]["documents"]] == ["a"]
    assert RAGGuard.from_dict(guard.to_dict()).to_dict() == guard.to_dict()
    end = time.monotonic() + 10
    while len((tmp_path / "audit.jsonl").read_text().splitlines()) < 2 and time.monotonic() < end:
        time.sleep(0.01)
    assert [record.removed for record in read([tmp_path / "audit.jsonl"]) if isinstance(record, Record)] == [("b",), ("b",)]
    missing = RAGGuard(str(tmp_path / "none.json"), str(tmp_path / "corpus.jsonl"))
    with pytest.raises(InvalidInputError, match=r"none\.json"):
        missing.warm_up()
    with pytest.raises(SerializationError, match="save the guard"):
        RAGGuard.of([Banned()]).to_dict()


def test_what_is_returned_is_what_was_judged() -> None:
    guard = RAGGuard.of([Banned()], top_k=1)
    given = [
        Document(id="a", content="BAN\u200bNED", score=0.9),
        Document(id="b", content=None, score=0.8),
        Document(id="c", content="al\u200blowed", score=0.7),
    ]
    (only,) = guard.run("query", given)["documents"]
    assert (only.id, only.content, only.score) == ("c", "allowed", 0.7)
    (same,) = asyncio.run(guard.run_async("query", given))["documents"]
    assert same == only
    (unscored,) = guard.run("query", [Document(id="d", content="no score")])["documents"]
    assert unscored.score is None
    assert guard.run("query", []) == {"documents": []}
    both = guard.run("query", [Document(id="d", content="d"), only], top_k=2)["documents"]
    assert [document.id for document in both] == ["d", "c"]


def test_observers_are_told_what_became_of_each_query() -> None:
    decisions: list[Decision] = []
    observers = Observers([decisions.append])
    guard = RAGGuard.of([Banned()], observers=observers)
    given = [Document(id="a", content="BANNED"), Document(id="b", content="fine")]
    guard.run("query", given)
    asyncio.run(guard.run_async("query", given))
    assert observers.flush()
    results = [decision.result for decision in decisions if decision.result]
    assert [[hit.document.id for hit in result.removed] for result in results] == [["a"], ["a"]]


def test_scores_that_do_not_fall_are_no_order() -> None:
    joined = [
        Document(id="a", content="a", score=0.2),
        Document(id="b", content="b", score=17.0),
        Document(id="c", content="BANNED"),
    ]
    for given in (joined, joined[:2]):
        kept = RAGGuard.of([Banned(), SourceQuota(2)]).run("query", given)["documents"]
        assert [(document.id, document.score) for document in kept] == [("a", 0.2), ("b", 17.0)]


def test_bad_input_is_a_typed_error() -> None:
    guard = RAGGuard.of([Banned()])
    for wrong in (None, ["text"], "text", [Document(id="a", content="x", score=float("nan"))]):
        with pytest.raises(RetrieverError):
            guard.run("query", wrong)  # type: ignore[arg-type]
    with pytest.raises(RetrieverError, match="two different texts"):
        guard.run("query", [Document(id="a", content="x"), Document(id="a", content="y")])
    for defenses, top_k in (([], 1), ([1], 1), ([Banned()], 0)):
        with pytest.raises(InvalidInputError):
            RAGGuard.of(defenses, top_k=top_k)  # type: ignore[arg-type]
    with pytest.raises(InvalidInputError, match="quota"):
        RAGGuard("guard.json", "corpus.jsonl", quota=0)


def test_in_a_pipeline_errors_are_haystacks_own_and_name_the_cause() -> None:
    pipeline = Pipeline()
    pipeline.add_component("guard", RAGGuard.of([Banned()]))
    two_texts = [Document(id="a", content="x"), Document(id="a", content="y")]
    for given in (None, "text", two_texts):
        inputs = {"guard": {"query": "query", "documents": given}}
        for run in (pipeline.run, lambda inputs: asyncio.run(pipeline.run_async(inputs))):
            with pytest.raises(PipelineRuntimeError, match="'guard'") as caught:
                run(inputs)
            assert isinstance(caught.value.__cause__, RetrieverError)


def test_odd_documents_are_judged_or_left_out() -> None:
    odd = {"source": ["a", {"b": 1}], "when": date(2026, 1, 2), "bytes": b"x", "none": None}
    given = [
        Document(id="blob", blob=ByteStream(b"an image")),
        Document(id="blank", content=" \u200b "),
        *[Document(id="twin", content="twin", meta=odd)] * 2,
        Document(id="", content="named by its content"),
        *[Document(content=f"text {i}") for i in range(50)],  # more than anyone asked for
    ]
    kept = RAGGuard.of([Banned(), SourceQuota(3)], top_k=2).run("query", given)["documents"]
    assert [document.content for document in kept] == ["twin", "named by its content"]
    assert {key: value for key, value in kept[0].meta.items() if key != KEY} == odd
    for query in ("", " ", None):
        with pytest.raises(InvalidInputError, match="no text"):
            RAGGuard.of([Banned()]).run(query, given)  # type: ignore[arg-type]


def test_a_deadline_ends_judging_and_the_loop_is_not_blocked() -> None:
    class Slow(Banned):
        def judge(self, query: str, hits: Sequence[Hit], k: int) -> list[Judgement]:
            time.sleep(0.3)
            return super().judge(query, hits, k)

    given = [Document(id="a", content="a")]
    late = RAGGuard.of([Slow()], policy=GuardPolicy(deadline_s=0.05))
    with pytest.raises(DeadlineExceededError):
        late.run("query", given)
    with pytest.raises(DeadlineExceededError):
        asyncio.run(late.run_async("query", given))
    guard = RAGGuard.of([Slow()])

    async def two_and_a_clock() -> float:
        start = time.perf_counter()
        await asyncio.gather(guard.run_async("one", given), guard.run_async("two", given))
        return time.perf_counter() - start

    assert asyncio.run(two_and_a_clock()) < 0.55


def test_an_embedder_of_another_model_is_refused(encoder: SentenceTransformerEncoder) -> None:
    store = InMemoryDocumentStore()
    vectors = encoder.encode_document(TEXTS).tolist()
    store.write_documents([Document(id=f"d{i}", content=text, embedding=vectors[i]) for i, text in enumerate(TEXTS)])
    retriever = InMemoryEmbeddingRetriever(store)

    def search(dimension: int) -> Search:
        def nearest(query: str, k: int) -> list[Document]:
            vector = encoder.encode_query([query])[0][:dimension].tolist()
            documents: list[Document] = retriever.run(query_embedding=vector, top_k=k)["documents"]
            return documents

        return Search(nearest)

    queries = [" ".join(text.split()[i : i + 4]) for text in TEXTS for i in range(0, 12, 3)]
    require_same_model(encoder, search(384), queries)
    with pytest.raises(EncoderError, match="another model"):
        require_same_model(WordHashEncoder(), search(384), queries)
    with pytest.raises(RetrieverError, match="search failed"):
        require_same_model(encoder, search(128), queries)


class TestSearchContract(RetrieverContract):
    """What a document store finds, and the component gives back."""

    def make_retriever(self, documents: Sequence[types.Document]) -> Retriever:
        words, store = WordHashEncoder(), InMemoryDocumentStore()
        vectors = words.encode_document([known.text for known in documents]).tolist()
        given = [
            Document(id=known.id, content=known.text, meta=dict(known.metadata), embedding=vector)
            for known, vector in zip(documents, vectors, strict=True)
        ]
        store.write_documents(given)
        retriever = InMemoryEmbeddingRetriever(store)

        def guarded(query: str, k: int) -> list[Document]:
            candidates = retriever.run(query_embedding=words.encode_query([query])[0].tolist(), top_k=k)["documents"]
            kept: list[Document] = RAGGuard.of([Banned()], top_k=k).run(query, candidates)["documents"]
            metas = [{key: value for key, value in document.meta.items() if key != KEY} for document in kept]
            return [replace(document, meta=meta) for document, meta in zip(kept, metas, strict=True)]

        return Search(guarded)
