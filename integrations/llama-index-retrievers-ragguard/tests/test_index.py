"""The guard over a real VectorStoreIndex with the real model, and LlamaIndex's own mock LLM."""

from __future__ import annotations

import asyncio

import pytest
from llama_index.core import QueryBundle, VectorStoreIndex
from llama_index.core.llms.mock import MockLLM
from llama_index.core.query_engine import RetrieverQueryEngine
from llama_index.core.response_synthesizers import get_response_synthesizer
from llama_index.core.retrievers import VectorIndexRetriever
from llama_index.core.schema import MetadataMode, TextNode
from llama_index.retrievers.ragguard import EncoderEmbedding, RAGGuardPostprocessor, RAGGuardRetriever

from ragguard.defenses import RAGMask, RAGPart
from ragguard.encoders import SentenceTransformerEncoder
from ragguard.errors import InvalidInputError
from ragguard.retriever import GuardPolicy

from .support import HONEST, POISON, QUESTION, Fixed, both_ways, scored


@pytest.fixture(scope="module")
def index(encoder: SentenceTransformerEncoder) -> VectorStoreIndex:
    nodes = [TextNode(id_=f"honest-{i}", text=text) for i, text in enumerate(HONEST)]
    nodes.append(TextNode(id_="poison", text=f"{QUESTION} {POISON}"))
    nodes.append(TextNode(id_="poison-title", text=POISON, metadata={"title": QUESTION}))
    return VectorStoreIndex(nodes, embed_model=EncoderEmbedding(encoder))


def test_undefended_the_poison_wins(index: VectorStoreIndex) -> None:
    assert {n.node.node_id for n in index.as_retriever(similarity_top_k=2).retrieve(QUESTION)} & {"poison", "poison-title"}


def test_a_guarded_index_ranks_the_answers_first(index: VectorStoreIndex, encoder: SentenceTransformerEncoder) -> None:
    guarded = RAGGuardRetriever.from_index(index, [RAGMask(encoder)], top_k=2)
    nodes = both_ways(guarded)
    assert {n.node.node_id for n in nodes} == {"honest-0", "honest-1"}
    result = guarded.explain(QUESTION)
    assert all((v.rank_after or 99) > 2 for v in (*result.verdicts_on("poison"), *result.verdicts_on("poison-title")))
    (verdict,) = result.verdicts_on("poison-title")
    judged = TextNode(text=POISON, metadata={"title": QUESTION}).get_content(MetadataMode.EMBED)
    assert QUESTION[:30] in " ".join(judged[s.start : s.end] for s in verdict.spans)


def test_a_query_engine_reads_guarded_nodes_only(index: VectorStoreIndex, encoder: SentenceTransformerEncoder) -> None:
    synthesizer = get_response_synthesizer(llm=MockLLM())
    engine = RetrieverQueryEngine(RAGGuardRetriever.from_index(index, [RAGMask(encoder)], top_k=2), synthesizer)
    plain = RetrieverQueryEngine(
        index.as_retriever(similarity_top_k=8),
        synthesizer,
        node_postprocessors=[RAGGuardPostprocessor([RAGMask(encoder)], top_k=2)],
    )
    for guarded in (engine, plain):
        for response in (guarded.query(QUESTION), asyncio.run(guarded.aquery(QUESTION))):
            assert {n.node.node_id for n in response.source_nodes} == {"honest-0", "honest-1"}
            assert "Sourdough" not in str(response)  # the mock LLM repeats its prompt
            assert "1886" in str(response)
            assert "ragguard" not in str(response)


def test_the_wrapped_retriever_keeps_its_settings(index: VectorStoreIndex, encoder: SentenceTransformerEncoder) -> None:
    inner = VectorIndexRetriever(index, similarity_top_k=5)
    guarded = RAGGuardRetriever(inner, [RAGPart(encoder)], top_k=2)
    assert len(guarded.retrieve(QUESTION)) == 2
    assert len(guarded.explain(QUESTION).candidates) == 5
    assert inner.similarity_top_k == 5


def test_the_depth_of_an_index_is_that_of_the_policy(index: VectorStoreIndex, encoder: SentenceTransformerEncoder) -> None:
    guarded = RAGGuardRetriever.from_index(index, [RAGPart(encoder)], top_k=1, policy=GuardPolicy(overfetch=6))
    assert len(guarded.explain(QueryBundle(QUESTION)).candidates) == 6
    with pytest.raises(InvalidInputError, match="top_k"):
        RAGGuardRetriever.from_index(index, [RAGPart(encoder)], top_k="5")  # type: ignore[arg-type]
    with pytest.raises(InvalidInputError, match="must be a list"):
        RAGGuardPostprocessor(RAGPart(encoder))  # type: ignore[arg-type]


def test_the_worst_rank_of_all_readings_counts(encoder: SentenceTransformerEncoder) -> None:
    trigger = TextNode(id_="trigger", text=POISON, metadata={"title": QUESTION}, excluded_embed_metadata_keys=["title"])
    nodes = scored(trigger, *(TextNode(id_=f"honest-{i}", text=text) for i, text in enumerate(HONEST)))
    result = RAGGuardRetriever(Fixed(nodes), [RAGMask(encoder)], top_k=2).explain(QUESTION)
    assert [hit.document.id for hit in result] == ["honest-0", "honest-1"]
    assert len(result.verdicts_on("trigger")) == 2


def test_the_embedding_is_the_encoder_on_canonical_text(encoder: SentenceTransformerEncoder) -> None:
    model = EncoderEmbedding(encoder)
    assert model.get_text_embedding("Cafe\u0301\r\n") == pytest.approx(encoder.encode_document(["Café\n"])[0].tolist(), abs=1e-6)
    assert asyncio.run(model.aget_query_embedding("x")) == pytest.approx(encoder.encode_query(["x"])[0].tolist(), abs=1e-6)
    assert len(model.get_text_embedding_batch(["a", "b", "c"])) == 3
