"""What observability sees: one event a query, in the span of who asked, without anybody's text unless it is wanted."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Sequence
from typing import Any

import pytest
from llama_index.core import VectorStoreIndex
from llama_index.core.bridge.pydantic import Field
from llama_index.core.instrumentation import get_dispatcher  # type: ignore[attr-defined]
from llama_index.core.instrumentation.event_handlers import BaseEventHandler
from llama_index.core.instrumentation.events.retrieval import RetrievalEndEvent
from llama_index.core.instrumentation.span_handlers import SimpleSpanHandler
from llama_index.core.schema import NodeWithScore, TextNode
from llama_index.retrievers.ragguard import EncoderEmbedding, GuardEvent, RAGGuardPostprocessor, RAGGuardRetriever

from ragguard.defenses import BaseDefense, Judgement, RAGMask, RAGPart, SourceQuota
from ragguard.errors import DefenseError
from ragguard.retriever import Decision, GuardPolicy, Observers
from ragguard.testing import DOCUMENTS, QUERY, WordHashEncoder
from ragguard.types import Hit


class Listener(BaseEventHandler):
    events: list[Any] = Field(default_factory=list)

    @classmethod
    def class_name(cls) -> str:
        return "Listener"

    def handle(self, event: Any, **_: Any) -> None:
        self.events.append(event)

    @property
    def guards(self) -> list[GuardEvent]:
        return [event for event in self.events if isinstance(event, GuardEvent)]


@pytest.fixture
def listener() -> Iterator[Listener]:
    root, handler = get_dispatcher(), Listener()
    root.add_event_handler(handler)
    yield handler
    root.event_handlers.remove(handler)


ENCODER = WordHashEncoder()
DEFENSES = [RAGPart(ENCODER), RAGMask(ENCODER, m=5), SourceQuota(1)]


@pytest.fixture(scope="module")
def nodes() -> list[NodeWithScore]:
    unscored = [TextNode(id_=known.id, text=known.text, metadata=dict(known.metadata)) for known in DOCUMENTS]
    return [NodeWithScore(node=node, score=1 - i / 10) for i, node in enumerate(unscored)]


@pytest.fixture(scope="module")
def retriever(nodes: Sequence[NodeWithScore]) -> RAGGuardRetriever:
    index = VectorStoreIndex([item.node for item in nodes], embed_model=EncoderEmbedding(ENCODER))
    return RAGGuardRetriever.from_index(index, DEFENSES, top_k=2)


def test_one_event_a_query_says_what_was_removed_and_why(retriever: RAGGuardRetriever, listener: Listener) -> None:
    kept = retriever.retrieve(QUERY)
    again = asyncio.run(retriever.aretrieve(QUERY))
    assert [item.node.node_id for item in again] == [item.node.node_id for item in kept]
    first, second = listener.guards
    assert first.kept == second.kept == [item.node.node_id for item in kept]
    assert first.candidates == 4
    assert 0 < first.seconds < 60
    assert not first.degraded
    result = retriever.explain(QUERY)
    acted = [verdict for verdict in result.verdicts if verdict.action != "keep"]
    assert acted
    assert [(removed.node_id, removed.defense, removed.action, removed.reason) for removed in first.removed] == [
        (verdict.document_id, verdict.defense, verdict.action, verdict.reason) for verdict in acted
    ]
    assert all(removed.signals for removed in first.removed)


def test_the_event_lies_in_the_span_of_who_asked(retriever: RAGGuardRetriever, listener: Listener) -> None:
    retriever.retrieve(QUERY)
    asyncio.run(retriever.aretrieve(QUERY))
    for guard in listener.guards:
        assert guard.span_id
        after = listener.events[listener.events.index(guard) :]
        assert guard.span_id.startswith("RAGGuardRetriever.")
        assert any(isinstance(event, RetrievalEndEvent) for event in after)


def test_no_text_by_default_and_texts_where_they_are_wanted(nodes: list[NodeWithScore], listener: Listener) -> None:
    for texts in (False, True):
        RAGGuardPostprocessor(DEFENSES, top_k=1, texts_in_events=texts).postprocess_nodes(nodes, query_str=QUERY)
    without, with_them = listener.guards
    sent = without.model_dump_json().lower()
    for text in (QUERY, *(document.text for document in DOCUMENTS)):
        words = text.lower().split()
        assert not any(" ".join(words[i : i + 3]) in sent for i in range(len(words) - 2))
    assert without.query is None
    assert with_them.query == QUERY
    by_id = {document.id: document.text for document in DOCUMENTS}
    assert with_them.removed
    assert all(removed.text and by_id[removed.node_id] in removed.text for removed in with_them.removed)


def test_a_defense_that_did_not_run_is_told(nodes: list[NodeWithScore], listener: Listener) -> None:
    class Broken(BaseDefense):
        name = "broken"

        def judge(self, query: str, hits: Sequence[Hit], k: int) -> list[Judgement]:
            raise ZeroDivisionError(hits[0].document.text)

    open_policy = GuardPolicy(fail_open=True)
    asyncio.run(RAGGuardPostprocessor([Broken()], policy=open_policy).apostprocess_nodes(nodes, query_str=QUERY))
    (event,) = listener.guards
    assert event.degraded
    assert "ceiling" not in event.model_dump_json()


@pytest.mark.parametrize("deadline_s", [None, 30])
def test_the_wrapped_retriever_lies_in_the_trace_of_the_guard(nodes: list[NodeWithScore], deadline_s: float | None) -> None:
    index = VectorStoreIndex([item.node for item in nodes], embed_model=EncoderEmbedding(ENCODER))
    guarded = RAGGuardRetriever.from_index(index, DEFENSES, top_k=2, policy=GuardPolicy(deadline_s=deadline_s))
    root, spans = get_dispatcher(), SimpleSpanHandler()
    root.add_span_handler(spans)
    try:
        guarded.retrieve(QUERY)
        asyncio.run(guarded.aretrieve(QUERY))
    finally:
        root.span_handlers.remove(spans)
    parents = {span.id_: span.parent_id for span in spans.completed_spans}
    (inner,) = (name for name in parents if name.startswith("VectorIndexRetriever.retrieve"))
    (later,) = (name for name in parents if name.startswith("VectorIndexRetriever.aretrieve"))
    assert _root(inner, parents).startswith("RAGGuardRetriever.retrieve")
    assert _root(later, parents).startswith("RAGGuardRetriever.aretrieve")


def _root(name: str, parents: dict[str, str | None]) -> str:
    while parent := parents[name]:
        name = parent
    return name


def test_observers_are_told_once_a_query_whatever_the_readings(nodes: Sequence[NodeWithScore]) -> None:
    decisions: list[Decision] = []
    observers = Observers([decisions.append])
    hidden = TextNode(id_="hidden", text="What the embedding does not see.", excluded_embed_metadata_keys=["note"])
    hidden.metadata["note"] = "Only the reader does."
    index = VectorStoreIndex([*(item.node for item in nodes), hidden], embed_model=EncoderEmbedding(ENCODER))
    retriever = RAGGuardRetriever.from_index(index, DEFENSES, top_k=2, observers=observers)
    kept = [item.node.node_id for item in retriever.retrieve(QUERY)]
    asyncio.run(retriever.aretrieve(QUERY))
    processor = RAGGuardPostprocessor(DEFENSES, top_k=2, observers=observers)
    processor.postprocess_nodes(list(nodes), query_str=QUERY)
    assert observers.flush()
    assert [decision.outcome for decision in decisions] == ["answered"] * 3
    assert decisions[0].result is not None
    assert [hit.document.id for hit in decisions[0].result.kept] == kept
    assert [stage.name for stage in decisions[0].stages] == ["judging"]
    again = RAGGuardPostprocessor.from_dict(processor.to_dict(), defenses=DEFENSES, observers=observers)
    again.postprocess_nodes(list(nodes), query_str=QUERY)
    assert observers.flush()
    assert len(decisions) == 4


def test_observers_are_told_of_a_query_that_failed(nodes: Sequence[NodeWithScore]) -> None:
    class Failing(BaseDefense):
        name = "failing"

        def judge(self, query: str, hits: Sequence[Hit], k: int) -> list[Judgement]:
            raise ZeroDivisionError(hits[0].document.text)

    decisions: list[Decision] = []
    observers = Observers([decisions.append])
    processor = RAGGuardPostprocessor([Failing()], observers=observers)
    with pytest.raises(DefenseError):
        processor.postprocess_nodes(list(nodes), query_str=QUERY)
    assert observers.flush()
    assert [decision.outcome for decision in decisions] == ["DefenseError"]
