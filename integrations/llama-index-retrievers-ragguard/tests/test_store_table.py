"""What each store keeps and loses, seen through the guard; docs/stores.md says the same, or a test fails."""

from __future__ import annotations

import asyncio
import hashlib
import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from llama_index.core import Document, StorageContext, VectorStoreIndex
from llama_index.core.embeddings import BaseEmbedding
from llama_index.core.ingestion import IngestionPipeline
from llama_index.core.schema import (
    BaseNode,
    IndexNode,
    MetadataMode,
    NodeRelationship,
    NodeWithScore,
    QueryBundle,
    RelatedNodeInfo,
    TextNode,
)
from llama_index.core.vector_stores import FilterOperator, MetadataFilter, MetadataFilters
from llama_index.core.vector_stores.types import BasePydanticVectorStore, VectorStoreQueryMode
from llama_index.retrievers.ragguard import EncoderEmbedding, RAGGuardPreparation, RAGGuardRetriever

from ragguard.defenses import RAGPart, SourceQuota
from ragguard.types import Vectors

NewStore = Callable[[int], BasePydanticVectorStore]
PAGE = Path(__file__).parents[3] / "docs" / "stores.md"
SIZE = 64


class NoMeaning:
    """Vectors that depend on nothing but the hash of a text."""

    name, dimension = "no-meaning", SIZE

    def __init__(self) -> None:
        self.texts = 0

    def encode_document(self, texts: Sequence[str]) -> Vectors:
        self.texts += len(texts)
        return self.encode_query(texts)

    def encode_query(self, texts: Sequence[str]) -> Vectors:
        seeds = [int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") for text in texts]
        vectors = np.array([np.random.default_rng(seed).standard_normal(SIZE) for seed in seeds], dtype=np.float32)
        return np.asarray(vectors / np.linalg.norm(vectors, axis=1, keepdims=True), dtype=np.float32)


ENCODER = NoMeaning()
MODEL = EncoderEmbedding(ENCODER)
EXACT = 0.99
"""Score of a query that is what was embedded, in every store."""

KEEPS_ORDER = SourceQuota(1000)
"""A defense that changes neither order nor scores, so that what is seen is the store's."""


def node(number: int, text: str = "", **fields: Any) -> TextNode:
    """Ids as LlamaIndex makes them."""
    return TextNode(id_=f"00000000-0000-0000-0000-{number:012}", text=text or f"Text number {number}.", **fields)


def over(store: BasePydanticVectorStore, nodes: list[BaseNode]) -> VectorStoreIndex:
    return VectorStoreIndex(nodes, storage_context=StorageContext.from_defaults(vector_store=store), embed_model=MODEL)


def ask(index: VectorStoreIndex, query: str, k: int = 3, **options: Any) -> list[NodeWithScore]:
    inner = index.as_retriever(similarity_top_k=k, **options)
    return RAGGuardRetriever(inner, [KEEPS_ORDER], top_k=4 * k).retrieve(query)


def contents(nodes: list[NodeWithScore]) -> list[str]:
    return [item.node.get_content() for item in nodes]


def embedding_on_nodes(new: NewStore) -> str:
    (item,) = ask(over(new(SIZE), [node(1)]), "x", 1)
    return "kept" if item.node.embedding is not None else "lost"


def text_and_metadata(new: NewStore) -> str:
    given = node(
        1,
        metadata={"title": "T", "page": 3, "share": 0.5, "good": True, "nothing": None},
        excluded_embed_metadata_keys=["page"],
        excluded_llm_metadata_keys=["share"],
        metadata_template="{key} is {value}",
    )
    (item,) = over(new(SIZE), [given]).as_retriever(similarity_top_k=1).retrieve("x")
    same = item.node.metadata == given.metadata
    return "kept" if same and all(item.node.get_content(mode) == given.get_content(mode) for mode in MetadataMode) else "lost"


def nested_metadata(new: NewStore) -> str:
    (item,) = ask(over(new(SIZE), [node(1, metadata={"tags": ["a", "b"], "of": {"x": 1}})]), "x", 1)
    return "kept" if item.node.metadata["tags"] == ["a", "b"] and item.node.metadata["of"] == {"x": 1} else "lost"


def relationships(new: NewStore) -> str:
    links: dict[NodeRelationship, Any] = {
        NodeRelationship.SOURCE: RelatedNodeInfo(node_id="document", metadata={"x": 1}),
        NodeRelationship.NEXT: RelatedNodeInfo(node_id="next"),
    }
    (item,) = ask(over(new(SIZE), [node(1, relationships=dict(links))]), "x", 1)
    return "kept" if item.node.relationships == links else "lost"


def prepared_evidence(new: NewStore) -> str:
    encoder = NoMeaning()
    defenses = [RAGPart(encoder, n=3, k=2)]
    store = new(SIZE)
    nodes = [node(i, metadata={"title": f"T {i}", "page": i}, excluded_embed_metadata_keys=["page"]) for i in range(5)]
    IngestionPipeline(transformations=[RAGGuardPreparation(defenses)]).run(nodes=nodes)
    before = encoder.texts
    RAGGuardRetriever(over(store, [*nodes]).as_retriever(similarity_top_k=5), defenses).retrieve("x")
    return "found" if encoder.texts == before > 0 else "computed again"


POINTER = IndexNode(id_=node(1).node_id, text="Pointer.", index_id="x", obj=node(2, "What it points to."))


def followed(index: VectorStoreIndex) -> str:
    texts = contents(ask(index, "Pointer.", 2))
    if "What it points to." not in texts:
        return "lost"
    return "followed" if node(3).text in texts else "followed, other nodes not found"


def pointers(new: NewStore) -> str:
    return followed(over(new(SIZE), [POINTER.model_copy(), node(3)]))


def pointers_again(new: NewStore) -> str:
    store = new(SIZE)
    if not store.stores_text:
        return "needs the docstore"
    over(store, [POINTER.model_copy(), node(3)])
    return followed(VectorStoreIndex.from_vector_store(store, embed_model=MODEL))


def scores(new: NewStore) -> str:
    nodes = [node(i) for i in range(9)]
    items = ask(over(new(SIZE), [*nodes]), "x", 5)
    vectors = ENCODER.encode_document(["x", *(item.node.get_content(MetadataMode.EMBED) for item in items)])
    cosines = (vectors[1:] @ vectors[0]).tolist()
    seen = [item.score or 0.0 for item in items]
    kinds = {"cosine": cosines, "exp(-squared distance)": [math.exp(2 * cosine - 2) for cosine in cosines]}
    return next((kind for kind, values in kinds.items() if np.allclose(seen, values, atol=1e-3)), "other")


def filters(new: NewStore) -> str:
    nodes = [node(i, metadata={"group": f"g{i % 3}", "page": i}) for i in range(12)]
    index = over(new(SIZE), [*nodes])
    filtered = {
        "=": (MetadataFilter(key="group", value="g1"), {1, 4, 7, 10}),
        ">=": (MetadataFilter(key="page", value=9, operator=FilterOperator.GTE), {9, 10, 11}),
        "in": (MetadataFilter(key="group", value=["g0", "g1"], operator=FilterOperator.IN), {0, 1, 3, 4, 6, 7, 9, 10}),
    }
    works = [
        name
        for name, (condition, pages) in filtered.items()
        if {item.node.metadata["page"] for item in ask(index, "x", 12, filters=MetadataFilters(filters=[condition]))} == pages
    ]
    return " ".join(works)


def hybrid_search(new: NewStore) -> str:
    """Whether a word is found that the embedding knows nothing of."""
    nodes = [node(i) for i in range(30)] + [node(40, "A zebra crossed the road.")]
    items = ask(over(new(SIZE), [*nodes]), "zebra", 2, vector_store_query_mode=VectorStoreQueryMode.HYBRID)
    words = any("zebra" in text for text in contents(items))
    return "dense alone" if not words else "yes" if len(items) <= 2 else "yes, more than k"


def deleted_node(new: NewStore) -> str:
    nodes = [node(i) for i in range(5)]
    index = over(new(SIZE), [*nodes])
    index.delete_nodes([nodes[2].node_id], delete_from_docstore=True)
    return "gone" if sorted(contents(ask(index, "x", 9))) == sorted(nodes[i].text for i in (0, 1, 3, 4)) else "stays"


def documents() -> list[Document]:
    return [Document(id_=node(100 + i).node_id, text=f"Document number {i}.") for i in range(4)]


def deleted_document(new: NewStore) -> str:
    index = VectorStoreIndex.from_documents(documents(), StorageContext.from_defaults(vector_store=new(SIZE)), embed_model=MODEL)
    index.delete_ref_doc(documents()[1].doc_id, delete_from_docstore=True)
    return "gone" if sorted(contents(ask(index, "x", 9))) == [f"Document number {i}." for i in (0, 2, 3)] else "stays"


def updated_document(new: NewStore) -> str:
    index = VectorStoreIndex.from_documents(documents(), StorageContext.from_defaults(vector_store=new(SIZE)), embed_model=MODEL)
    index.update_ref_doc(Document(id_=documents()[1].doc_id, text="Another text."))
    texts = sorted(contents(ask(index, "x", 9)))
    return "replaced" if texts == ["Another text.", *(f"Document number {i}." for i in (0, 2, 3))] else "wrong"


def same_id_again(new: NewStore) -> str:
    index = over(new(SIZE), [node(1, "The old text."), node(2)])
    index.insert_nodes([node(1, "The new text.")])
    (old,), (fresh,) = (ask(index, f"The {which} text.", 1) for which in ("old", "new"))
    if fresh.node.get_content() != "The new text.":
        return "first stays"
    if (old.score or 0) < EXACT:
        return "replaced"
    return "both stay" if old.node.get_content() == "The old text." else "text replaced, both vectors stay"


def ids(new: NewStore) -> str:
    (item,) = ask(over(new(SIZE), [TextNode(id_="any name", text="Some text.")]), "x", 1)
    return "any" if item.node.node_id == "any name" else "changed"


def asynchronous(new: NewStore) -> str:
    index = over(new(SIZE), [node(i) for i in range(4)])
    guarded = RAGGuardRetriever(index.as_retriever(similarity_top_k=2), [KEEPS_ORDER])
    assert guarded.retrieve("x")
    return "yes" if contents(asyncio.run(guarded.aretrieve("x"))) == contents(guarded.retrieve("x")) else "other results"


def empty_store(new: NewStore) -> str:
    return "nodes" if ask(over(new(SIZE), []), "x") else "no nodes"


def other_dimension(new: NewStore) -> str:
    class Shorter(BaseEmbedding):
        def _get_query_embedding(self, query: str) -> list[float]:
            return [1.0] * (SIZE // 2)

        def _get_text_embedding(self, text: str) -> list[float]:
            return self._get_query_embedding(text)

        async def _aget_query_embedding(self, query: str) -> list[float]:
            return self._get_query_embedding(query)

    store = new(SIZE)
    nodes = [node(i) for i in range(4)]
    index = over(store, [*nodes])
    inner = index.as_retriever(similarity_top_k=2, embed_model=Shorter(model_name="shorter"))
    return "answers" if RAGGuardRetriever(inner, [KEEPS_ORDER]).retrieve(QueryBundle("x")) else "no nodes"


FACTS: dict[str, Callable[[NewStore], str]] = {
    "Text, metadata and their templates": text_and_metadata,
    "Lists and mappings in metadata": nested_metadata,
    "Relationships": relationships,
    "Embeddings, on retrieved nodes": embedding_on_nodes,
    "Evidence prepared at ingestion": prepared_evidence,
    "Node ids": ids,
    "Pointers (`IndexNode.obj`)": pointers,
    "... by another index over the store": pointers_again,
    "Scores": scores,
    "Metadata filters": filters,
    "Hybrid mode": hybrid_search,
    "`delete_nodes`": deleted_node,
    "`delete_ref_doc`": deleted_document,
    "`update_ref_doc`": updated_document,
    "A node id inserted again": same_id_again,
    "`aretrieve`": asynchronous,
    "Empty store": empty_store,
    "Query of another dimension": other_dimension,
}


def seen(name: str, new: NewStore) -> str:
    try:
        return FACTS[name](new)
    except Exception:  # whatever the store raises, or the guard of it
        return "error"


def documented(store_name: str) -> dict[str, str]:
    """A column of the table."""
    rows = [
        [cell.strip() for cell in line.strip("|\n").split("|")] for line in PAGE.read_text().splitlines() if line.startswith("|")
    ]
    column = rows[0].index(f"`{store_name}`")
    return {row[0]: row[column] for row in rows[2:]}


def test_the_table_says_what_is_seen(store_name: str, new_store: NewStore) -> None:
    assert {name: seen(name, new_store) for name in FACTS} == documented(store_name)
