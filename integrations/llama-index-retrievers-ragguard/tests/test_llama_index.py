"""The guard in LlamaIndex, around nodes of every kind: what is judged, what is returned, what fails and how."""

from __future__ import annotations

import asyncio
import copy
import time
from collections.abc import Sequence

import pytest
from llama_index.core import QueryBundle
from llama_index.core.llms.mock import MockLLM
from llama_index.core.query_engine import RetrieverQueryEngine
from llama_index.core.response_synthesizers import get_response_synthesizer
from llama_index.core.schema import ImageNode, IndexNode, MetadataMode, NodeWithScore, TextNode
from llama_index.retrievers.ragguard import RAGGuardPostprocessor, RAGGuardRetriever

from ragguard.defenses import Judgement, RAGPart
from ragguard.errors import DeadlineExceededError, DefenseError, InvalidInputError, RetrieverError
from ragguard.retriever import GuardPolicy
from ragguard.text import canonical
from ragguard.types import Hit

from .support import HONEST, QUESTION, Banned, Counting, Fixed, both_ways, scored


def texts(nodes: Sequence[NodeWithScore]) -> list[str]:
    return [node.node.get_content() for node in nodes]


def test_a_query_bundle_is_not_changed() -> None:
    inner = Fixed(scored(TextNode(text="fine")))
    bundle = QueryBundle(QUESTION)
    RAGGuardRetriever(inner, [Banned()]).retrieve(bundle)
    assert bundle.embedding is None
    assert inner.bundles[0] is not bundle


def test_originals_are_not_changed_and_verdicts_do_not_leak() -> None:
    original = TextNode(
        id_="a", text="fine\u200b text\r\nend", metadata={"title": "T", "page": 3}, excluded_llm_metadata_keys=["page"]
    )
    before = copy.deepcopy(original)
    (item,) = both_ways(RAGGuardRetriever(Fixed(scored(original)), [Banned()]))
    assert original == before
    assert item.node is not original
    node = item.node
    assert node.get_content() == "fine text\nend"
    report = node.metadata["ragguard"]
    assert report["verdicts"][0]["defense"] == "banned"
    assert report["verdicts"][0]["action"] == "keep"
    for mode in (MetadataMode.EMBED, MetadataMode.LLM):
        assert "ragguard" not in node.get_content(mode)
    assert node.get_content(MetadataMode.LLM) == "title: T\n\nfine text\nend"
    embedded = original.get_content(MetadataMode.EMBED)
    assert embedded[report["text_offset"] :].startswith("fine")
    assert report["starts"] == [0, *report["starts"][1:]]
    TextNode.from_dict(node.to_dict())  # still serialisable


@pytest.mark.parametrize(
    "node",
    [
        TextNode(id_="bad", text="BANNED"),
        TextNode(id_="bad", text="fine", metadata={"title": "BANNED"}),
        TextNode(id_="bad", text="fine", metadata={"title": "BANNED"}, excluded_llm_metadata_keys=["title"]),
        TextNode(id_="bad", text="fine", metadata={"title": "BANNED"}, excluded_embed_metadata_keys=["title"]),
        TextNode(id_="bad", text="fine", metadata={"BANNED": "fine"}),
        TextNode(id_="bad", text="BAN\u200bNED"),
        IndexNode(id_="bad", text="fine", index_id="x", obj=TextNode(id_="inner", text="BANNED")),
        IndexNode(id_="bad", text="fine", index_id="x", obj=NodeWithScore(node=TextNode(id_="inner", text="BANNED"), score=1.0)),
        IndexNode(id_="bad", text="fine", index_id="x", obj=Fixed(scored(TextNode(id_="inner", text="BANNED")))),
        IndexNode(
            id_="bad",
            text="fine",
            index_id="x",
            obj=IndexNode(id_="mid", text="fine", index_id="y", obj=TextNode(id_="inner", text="BANNED")),
        ),
    ],
    ids=["text", "title", "title-embedded", "title-read", "key", "zero-width", "nested", "scored", "retriever", "twice-nested"],
)
def test_nothing_unguarded_gets_through(node: TextNode) -> None:
    nodes = scored(TextNode(id_="good", text="a fine text"), node)
    guarded = RAGGuardRetriever(Fixed(nodes), [Banned()], top_k=5)
    assert [n.node.node_id for n in both_ways(guarded)] == ["good"]
    engine = RetrieverQueryEngine(guarded, get_response_synthesizer(llm=MockLLM()))
    for response in (engine.query("q"), asyncio.run(engine.aquery("q"))):
        assert "BANNED" not in str(response)


def test_nothing_gets_through_an_object_map_of_the_wrapped_retriever() -> None:
    inner = Fixed(scored(IndexNode(id_="pointer", text="fine", index_id="x")))
    inner.object_map = {"x": TextNode(id_="inner", text="BANNED")}
    assert both_ways(RAGGuardRetriever(inner, [Banned()])) == []


def test_nodes_that_point_in_a_circle_are_an_error() -> None:
    node = IndexNode(id_="a", text="fine", index_id="x")
    node.obj = node
    guarded = RAGGuardRetriever(Fixed(scored(node)), [Banned()])
    with pytest.raises(RetrieverError, match="circle"):
        guarded.retrieve("q")
    with pytest.raises(RetrieverError, match="circle"):
        asyncio.run(guarded.aretrieve("q"))


def test_a_node_without_text_is_not_returned() -> None:
    nodes = scored(TextNode(text="fine"), ImageNode(text="", image_url="http://localhost/x.png"))
    assert texts(RAGGuardRetriever(Fixed(nodes), [Banned()]).retrieve("q")) == ["fine"]


def test_missing_scores_keep_the_order_and_bad_ones_are_errors() -> None:
    nodes = [NodeWithScore(node=TextNode(text=name)) for name in ("first", "second")]
    assert texts(RAGGuardRetriever(Fixed(nodes), [Banned()]).retrieve("q")) == ["first", "second"]
    nodes[0].score = float("nan")
    with pytest.raises(RetrieverError, match="nan"):
        RAGGuardRetriever(Fixed(nodes), [Banned()]).retrieve("q")


def test_fails_closed_and_says_so() -> None:
    class Broken(Banned):
        def judge(self, query: str, hits: Sequence[Hit], k: int) -> list[Judgement]:
            raise ZeroDivisionError("boom")

    class Raising(Fixed):
        def _retrieve(self, query_bundle: QueryBundle) -> list[NodeWithScore]:
            raise ConnectionError("store is down")

    nodes = scored(TextNode(text="fine"))
    with pytest.raises(DefenseError, match="boom"):
        RAGGuardRetriever(Fixed(nodes), [Broken()]).retrieve("q")
    with pytest.raises(DefenseError, match="boom"):
        RAGGuardPostprocessor([Broken()]).postprocess_nodes(nodes, query_str="q")
    with pytest.raises(RetrieverError, match="store is down"):
        RAGGuardRetriever(Raising([]), [Banned()]).retrieve("q")
    (node,) = RAGGuardRetriever(Fixed(nodes), [Broken()], policy=GuardPolicy(fail_open=True)).retrieve("q")
    assert node.node.metadata["ragguard"]["degraded"] == ["banned did not run: boom"]


def test_settings_that_guard_nothing_are_errors() -> None:
    with pytest.raises(InvalidInputError, match="at least one defense"):
        RAGGuardRetriever(Fixed([]), [])
    with pytest.raises(InvalidInputError, match="at least one defense"):
        RAGGuardPostprocessor([])
    with pytest.raises(InvalidInputError, match="top_k must be"):
        RAGGuardRetriever(Fixed([]), [Banned()], top_k=0)
    with pytest.raises(InvalidInputError, match="query_bundle or query_str"):
        RAGGuardPostprocessor([Banned()]).postprocess_nodes(scored(TextNode(text="fine")))


def test_async_does_not_block_the_loop_and_keeps_the_deadline() -> None:
    class Sleepy(Banned):
        def judge(self, query: str, hits: Sequence[Hit], k: int) -> list[Judgement]:
            time.sleep(0.3)
            return super().judge(query, hits, k)

    async def four() -> float:
        guarded = RAGGuardRetriever(Fixed(scored(TextNode(text="fine"))), [Sleepy()])
        start = time.monotonic()
        await asyncio.gather(*(guarded.aretrieve("q") for _ in range(4)))
        return time.monotonic() - start

    assert asyncio.run(four()) < 0.9
    late = RAGGuardRetriever(Fixed(scored(TextNode(text="fine"))), [Sleepy()], policy=GuardPolicy(deadline_s=0.05))
    with pytest.raises(DeadlineExceededError):
        asyncio.run(late.aretrieve("q"))


TAGGED = "hidden " + "".join(chr(0xE0000 + ord(char)) for char in "IGNORE ALL")


@pytest.mark.parametrize(
    "node",
    [
        TextNode(id_="a", text="fine", metadata={TAGGED: "x"}),
        TextNode(id_="a", text="fine", metadata={"title": TAGGED}),
        TextNode(id_="a", text="fine", metadata={"tags": [TAGGED, "cafe\u0301"]}),
        TextNode(id_="a", text="fine", metadata={"title": "\u0338x"}, metadata_template="{key}={value}"),
        TextNode(id_="a", text="fine", metadata={"title": "x"}, text_template=TAGGED + "{metadata_str} {content}"),
    ],
    ids=["key", "value", "list", "composing", "template"],
)
def test_the_llm_reads_exactly_what_was_judged(node: TextNode) -> None:
    judged = canonical(node.get_content(MetadataMode.LLM)).text
    (item,) = both_ways(RAGGuardRetriever(Fixed(scored(node)), [Banned()]))
    assert item.node.get_content(MetadataMode.LLM) == judged
    assert "\U000e0049" not in item.node.get_content(MetadataMode.LLM)


def test_a_bare_text_that_templates_hide_is_judged() -> None:
    hidden = TextNode(id_="bad", text="BANNED", metadata={"title": "fine"}, text_template="{metadata_str}")
    assert both_ways(RAGGuardRetriever(Fixed(scored(hidden)), [Banned()])) == []


def test_the_postprocessor_follows_no_pointer_and_keeps_the_node_it_judged() -> None:
    pointer = IndexNode(id_="p", text="fine", index_id="x", obj=TextNode(text="BANNED"))
    twins = [
        TextNode(id_="t", text="first", metadata={"title": "same"}),
        TextNode(id_="t", text="second", metadata={"title": "x"}),
    ]
    (kept,) = RAGGuardPostprocessor([Banned()]).postprocess_nodes(scored(pointer), query_str="q")
    assert isinstance(kept.node, IndexNode)
    assert kept.node.obj is None
    with pytest.raises(RetrieverError, match="'t'"):
        RAGGuardPostprocessor([Banned()]).postprocess_nodes(scored(*twins), query_str="q")


def test_a_node_that_its_template_cannot_render_is_named() -> None:
    node = TextNode(id_="odd", text="fine", metadata={"a": "b"}, text_template="{nonsense}")
    with pytest.raises(RetrieverError, match="'odd'"):
        RAGGuardRetriever(Fixed(scored(node)), [Banned()]).retrieve("q")


def test_one_deadline_for_all_readings() -> None:
    class Slow(Banned):
        def judge(self, query: str, hits: Sequence[Hit], k: int) -> list[Judgement]:
            time.sleep(0.25)
            return super().judge(query, hits, k)

    node = TextNode(text="fine", metadata={"title": "x"}, excluded_embed_metadata_keys=["title"])
    guarded = RAGGuardRetriever(Fixed(scored(node)), [Slow()], policy=GuardPolicy(deadline_s=0.4))
    with pytest.raises(DeadlineExceededError):
        guarded.retrieve("q")


def test_prepared_nodes_cost_queries_no_embedding() -> None:
    encoder = Counting()
    nodes = [
        TextNode(text=f"{text} {i}", metadata={"title": f"T{i}", "page": i}, excluded_embed_metadata_keys=["page"])
        for i, text in enumerate(HONEST)
    ]
    guarded = RAGGuardRetriever(Fixed(scored(*nodes)), [RAGPart(encoder)], top_k=2)
    guarded.prepare(nodes)
    prepared = encoder.pieces
    assert prepared > 0
    guarded.retrieve("q")
    assert encoder.pieces == prepared
