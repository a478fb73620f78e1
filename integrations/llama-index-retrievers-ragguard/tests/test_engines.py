"""Query engines, chat engines and evaluators over the guard; the LLM is LlamaIndex's own mock, which repeats its prompt."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest
from llama_index.core import VectorStoreIndex
from llama_index.core.base.base_retriever import BaseRetriever
from llama_index.core.chat_engine import CondensePlusContextChatEngine, CondenseQuestionChatEngine, ContextChatEngine
from llama_index.core.chat_engine.types import ChatMode
from llama_index.core.evaluation import RetrieverEvaluator
from llama_index.core.llms.mock import MockLLM
from llama_index.core.postprocessor import MetadataReplacementPostProcessor
from llama_index.core.query_engine import CitationQueryEngine, RetrieverQueryEngine
from llama_index.core.response_synthesizers import ResponseMode
from llama_index.core.retrievers import QueryFusionRetriever
from llama_index.core.schema import NodeWithScore, TextNode
from llama_index.retrievers.ragguard import EncoderEmbedding, RAGGuardPostprocessor, RAGGuardRetriever

from ragguard.defenses import RAGMask
from ragguard.testing import WordHashEncoder

QUESTION = "Who painted the lighthouse of Frome in the summer of the flood?"
JUNK = "Sourdough rises by wild yeast; bakers feed it daily and hold back some for another loaf."
ANSWER = "Clara painted the lighthouse of Frome with 2 helpers, and was paid 90 crowns for it by the council of the town."
ENCODER = WordHashEncoder()
DEFENSES = [RAGMask(ENCODER, m=5, delta=0.2)]  # for bags of words
TEXTS = {
    "answer": ANSWER,
    "mill": "Bruno painted the mill of Frome with 9 helpers, and was paid 10 crowns for it by the council of the town.",
    "poison": f"{QUESTION} {JUNK}",
    "bees": "Bees dance to tell their sisters the direction of the flowers that they found, and how far it is to fly there.",
}


@pytest.fixture(scope="module")
def index() -> VectorStoreIndex:
    nodes = [TextNode(id_=name, text=text) for name, text in TEXTS.items()]
    return VectorStoreIndex(nodes, embed_model=EncoderEmbedding(ENCODER))


@pytest.fixture(scope="module")
def guarded(index: VectorStoreIndex) -> RAGGuardRetriever:
    return RAGGuardRetriever.from_index(index, DEFENSES, top_k=2)


def read(response: object) -> str:
    """What the LLM was given, which is what it answers."""
    return str(response)


def test_undefended_the_llm_reads_the_poison(index: VectorStoreIndex) -> None:
    assert JUNK in read(index.as_query_engine(similarity_top_k=2, llm=MockLLM()).query(QUESTION))


@pytest.mark.parametrize(
    "mode", [ResponseMode.COMPACT, ResponseMode.REFINE, ResponseMode.TREE_SUMMARIZE, ResponseMode.ACCUMULATE]
)
def test_query_engines(guarded: RAGGuardRetriever, mode: ResponseMode) -> None:
    engine = RetrieverQueryEngine.from_args(guarded, llm=MockLLM(), response_mode=mode)
    for response in (engine.query(QUESTION), asyncio.run(engine.aquery(QUESTION))):
        assert [item.node.node_id for item in response.source_nodes] == ["answer", "mill"]
        assert JUNK not in read(response)
        assert "ragguard" not in read(response)


def test_citations_are_of_guarded_nodes(index: VectorStoreIndex, guarded: RAGGuardRetriever) -> None:
    engine = CitationQueryEngine.from_args(index, llm=MockLLM(), retriever=guarded)
    response = engine.query(QUESTION)
    assert ANSWER in read(response)
    assert JUNK not in read(response)


def condense_question(retriever: BaseRetriever) -> CondenseQuestionChatEngine:
    engine = RetrieverQueryEngine.from_args(retriever, llm=MockLLM())
    return CondenseQuestionChatEngine.from_defaults(query_engine=engine, llm=MockLLM())


CHATS: dict[str, Callable[[BaseRetriever], Any]] = {
    "condense+context": lambda retriever: CondensePlusContextChatEngine.from_defaults(retriever, llm=MockLLM()),
    "context": lambda retriever: ContextChatEngine.from_defaults(retriever, llm=MockLLM()),
    "condense": condense_question,
}


@pytest.mark.parametrize("kind", CHATS)
def test_chat_engines(index: VectorStoreIndex, guarded: RAGGuardRetriever, kind: str) -> None:
    assert JUNK in read(CHATS[kind](index.as_retriever(similarity_top_k=2)).chat(QUESTION))
    for response in (CHATS[kind](guarded).chat(QUESTION), asyncio.run(CHATS[kind](guarded).achat(QUESTION))):
        assert ANSWER in read(response)
        assert JUNK not in read(response)
        assert {item.node.node_id for item in response.source_nodes} == {"answer", "mill"}


@pytest.mark.parametrize("kind", ["condense+context", "context"])
def test_chat_engines_that_stream(guarded: RAGGuardRetriever, kind: str) -> None:
    async def astream() -> str:
        response = await CHATS[kind](guarded).astream_chat(QUESTION)
        return "".join([token async for token in response.async_response_gen()])

    for text in ("".join(CHATS[kind](guarded).stream_chat(QUESTION).response_gen), asyncio.run(astream())):
        assert ANSWER in text
        assert JUNK not in text


def test_a_chat_engine_of_an_index_takes_the_postprocessor(index: VectorStoreIndex) -> None:
    first = RAGGuardPostprocessor(DEFENSES, top_k=2)
    chat = index.as_chat_engine(ChatMode.CONTEXT, llm=MockLLM(), similarity_top_k=4, node_postprocessors=[first])
    response = read(chat.chat(QUESTION))
    assert ANSWER in response
    assert JUNK not in response


def test_fused_retrievers_are_guarded_as_one(index: VectorStoreIndex) -> None:
    fusion = QueryFusionRetriever(
        [index.as_retriever(similarity_top_k=4)] * 2, llm=MockLLM(), num_queries=1, similarity_top_k=4, use_async=False
    )
    assert "poison" in [item.node.node_id for item in fusion.retrieve(QUESTION)][:2]
    guarded = RAGGuardRetriever(fusion, DEFENSES, top_k=2)
    assert [item.node.node_id for item in guarded.retrieve(QUESTION)] == ["answer", "mill"]


def test_what_exchanges_texts_goes_before_the_guard() -> None:
    """A sentence with a window: LlamaIndex hides the window from what is embedded and read, until it becomes the text."""
    hidden = ["window"]
    nodes = [
        NodeWithScore(
            node=TextNode(
                id_=name,
                text="A sentence.",
                metadata={"window": text},
                excluded_embed_metadata_keys=hidden,
                excluded_llm_metadata_keys=hidden,
            ),
            score=1.0,
        )
        for name, text in TEXTS.items()
    ]
    for step in (MetadataReplacementPostProcessor("window"), RAGGuardPostprocessor(DEFENSES, top_k=2)):
        nodes = step.postprocess_nodes(nodes, query_str=QUESTION)
    assert [item.node.node_id for item in nodes] == ["answer", "mill"]


def test_hit_rate_and_mrr_before_and_after(index: VectorStoreIndex, guarded: RAGGuardRetriever) -> None:
    def of(retriever: BaseRetriever) -> dict[str, float]:
        evaluator = RetrieverEvaluator.from_metric_names(["hit_rate", "mrr"], retriever=retriever)
        return evaluator.evaluate(QUESTION, ["answer"]).metric_vals_dict

    assert of(index.as_retriever(similarity_top_k=1)) == {"hit_rate": 0.0, "mrr": 0.0}
    assert of(index.as_retriever(similarity_top_k=2)) == {"hit_rate": 1.0, "mrr": 0.5}
    assert of(guarded) == {"hit_rate": 1.0, "mrr": 1.0}


def test_an_evaluation_of_a_data_set_and_of_the_postprocessor(index: VectorStoreIndex) -> None:
    evaluator = RetrieverEvaluator.from_metric_names(
        ["hit_rate", "mrr", "precision"],
        retriever=index.as_retriever(similarity_top_k=4),
        node_postprocessors=[RAGGuardPostprocessor(DEFENSES, top_k=2)],
    )
    expected = {QUESTION: ["answer"], "How do bees dance to tell of flowers?": ["bees"]}
    results = [asyncio.run(evaluator.aevaluate(query, ids)) for query, ids in expected.items()]
    assert [result.metric_vals_dict for result in results] == [{"hit_rate": 1.0, "mrr": 1.0, "precision": 0.5}] * 2
