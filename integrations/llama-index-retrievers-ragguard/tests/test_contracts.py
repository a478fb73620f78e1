"""The contracts of `ragguard.testing`, kept by what LlamaIndex's nodes go through, and a guard calibrated on an index."""

from __future__ import annotations

from collections.abc import Sequence

from llama_index.core import VectorStoreIndex
from llama_index.core.schema import NodeWithScore, TextNode
from llama_index.retrievers.ragguard import EncoderEmbedding, IndexRetriever, RAGGuardRetriever, documents_of
from llama_index.retrievers.ragguard.guard import NodeGuard

from ragguard import default_guard
from ragguard.defenses import RAGMask
from ragguard.protocols import Defense, Retriever
from ragguard.testing import DOCUMENTS, QUERY, DefenseContract, RetrieverContract, WordHashEncoder
from ragguard.types import Document, GuardedResult, Hit

ENCODER = WordHashEncoder()
MODEL = EncoderEmbedding(ENCODER)


def node(document: Document) -> TextNode:
    hidden = list(document.metadata)
    return TextNode(
        id_=document.id,
        text=document.text,
        metadata=dict(document.metadata),
        excluded_embed_metadata_keys=hidden,
        excluded_llm_metadata_keys=hidden,
    )


class OverNodes:
    """The guard of nodes, as a defense."""

    def __init__(self) -> None:
        self.inner = RAGMask(ENCODER, m=5)
        self.name = self.inner.name

    def __call__(self, query: str, hits: Sequence[Hit], k: int) -> GuardedResult:
        nodes = [NodeWithScore(node=node(hit.document), score=hit.score) for hit in hits]
        return NodeGuard([self.inner], top_k=k).guard(query, nodes)


class TestNodeGuard(DefenseContract):
    def make_defense(self) -> Defense:
        return OverNodes()


class TestIndexRetriever(RetrieverContract):
    def make_retriever(self, documents: Sequence[Document]) -> Retriever:
        return IndexRetriever(VectorStoreIndex([node(document) for document in documents], embed_model=MODEL))


class Over:
    """The guarded retriever, asked for k nodes."""

    def __init__(self, documents: Sequence[Document]) -> None:
        self.originals = {document.id: document for document in documents}
        self.index = VectorStoreIndex([node(document) for document in documents], embed_model=MODEL)

    def retrieve(self, query: str, k: int) -> Sequence[Hit]:
        kept = RAGGuardRetriever.from_index(self.index, [RAGMask(ENCODER, m=5)], top_k=k).retrieve(query)
        return [Hit(self.originals[item.node.node_id], item.score or 0.0) for item in kept]


class TestRAGGuardRetriever(RetrieverContract):
    def make_retriever(self, documents: Sequence[Document]) -> Retriever:
        return Over(documents)


def test_a_guard_is_calibrated_on_an_index_and_guards_it() -> None:
    towns = ["Arden", "Brill", "Corby", "Deal", "Ely", "Frome"]
    nodes = [
        TextNode(
            id_=f"{town}-{i}",
            text=f"{town} built its {thing} in {1700 + i} of stone from hills, and {10 + i} masons of the guild worked there.",
            metadata={"source": f"archive-{i}"},
            excluded_embed_metadata_keys=["source"],
        )
        for town in towns
        for i, thing in enumerate(["bridge", "mill", "library", "theatre", "abbey", "market", "station", "harbour"])
    ]
    index = VectorStoreIndex(nodes, embed_model=MODEL)
    retriever = IndexRetriever(index)
    queries = [f"When did {town} build the {thing}?" for town in towns for thing in ("bridge", "mill", "library", "abbey")]
    defenses = default_guard(ENCODER, retriever, documents_of(nodes), queries, k=3, max_clean_query_loss=0.2)
    assert [defense.name for defense in defenses] == ["CalibratedGuard(0.2)", defenses[1].name]
    question = "When did Frome build the harbour?"
    index.insert_nodes([TextNode(id_="poison", text=f"{question} {question} Bread rises by yeast.", metadata={"source": "x"})])
    assert "poison" in [hit.document.id for hit in retriever.retrieve(question, 3)]
    guarded = RAGGuardRetriever.from_index(index, defenses, top_k=3)
    assert "poison" not in [item.node.node_id for item in guarded.retrieve(question)]
    assert "poison" in [hit.document.id for hit in guarded.explain(question).removed]


async def _both(retriever: IndexRetriever) -> None:
    assert await retriever.aretrieve(QUERY, 3) == retriever.retrieve(QUERY, 3)


def test_an_index_is_asked_asynchronously_too() -> None:
    import asyncio

    asyncio.run(_both(IndexRetriever(VectorStoreIndex([node(document) for document in DOCUMENTS], embed_model=MODEL))))
