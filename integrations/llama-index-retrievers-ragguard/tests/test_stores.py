"""A thousand documents in each store, guarded: one suite, whatever the store."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from typing import Any

import pytest
import sqlalchemy as sa
from llama_index.core import Document, StorageContext, VectorStoreIndex
from llama_index.core.schema import IndexNode, TextNode
from llama_index.core.vector_stores import MetadataFilter, MetadataFilters
from llama_index.core.vector_stores.types import BasePydanticVectorStore, VectorStoreQueryMode
from llama_index.retrievers.ragguard import EncoderEmbedding, RAGGuardPreparation, RAGGuardRetriever

from ragguard.defenses import RAGMask, RAGPart, SourceQuota
from ragguard.errors import DeadlineExceededError, RetrieverError
from ragguard.protocols import Defense
from ragguard.retriever import GuardPolicy
from ragguard.testing import WordHashEncoder

from .support import Counting

NewStore = Callable[[int], BasePydanticVectorStore]

TOWNS = ["Arden", "Brill", "Corby", "Deal", "Ely", "Frome", "Goole", "Hythe", "Ilkley", "Jarrow"]
THINGS = ["bridge", "mill", "library", "theatre", "lighthouse", "windmill", "abbey", "market", "station", "harbour"]
PAINTERS = ["Ada", "Bruno", "Clara", "David", "Edith", "Felix", "Greta", "Hugo", "Irma", "Jonas"]
QUESTION = "Who painted the lighthouse of Frome in the summer of the flood?"
JUNK = "Sourdough rises by wild yeast; bakers feed it daily and hold back some for another loaf."
NO_FILTERS = ("FaissVectorStore", "FaissMapVectorStore")
NO_ASYNC = ("QdrantVectorStore",)
"""In memory; docs/stores.md."""


ENCODER = WordHashEncoder()
MODEL = EncoderEmbedding(ENCODER)


def name(number: int) -> str:
    return f"00000000-0000-0000-0000-{number:012}"


def thousand() -> list[TextNode]:
    return [
        TextNode(
            id_=name(i),
            text=f"{PAINTERS[i % 10]} painted the {THINGS[i // 10 % 10]} of {TOWNS[i // 100]} with {1 + i % 7} helpers, "
            f"and was paid {10 + i} crowns for it by the council of the town.",
            metadata={"source": f"archive-{i % 50}", "year": 1800 + i % 90},
            excluded_embed_metadata_keys=["source", "year"],
            excluded_llm_metadata_keys=["source"],
        )
        for i in range(1000)
    ]


POISON = TextNode(
    id_=name(5000), text=f"{QUESTION} {JUNK}", metadata={"source": "stranger"}, excluded_embed_metadata_keys=["source"]
)
NESTED = TextNode(id_=name(6001), text=f"{QUESTION} {JUNK} Again.")
POINTER = IndexNode(id_=name(6000), text=QUESTION, index_id="x", obj=NESTED)
POISONOUS = {POISON.node_id, NESTED.node_id}


@pytest.fixture(scope="module")
def index(new_store: NewStore) -> VectorStoreIndex:
    store = new_store(WordHashEncoder.dimension)
    context = StorageContext.from_defaults(vector_store=store)
    filled = VectorStoreIndex([*thousand(), POISON, POINTER.model_copy()], storage_context=context, embed_model=MODEL)
    # as another process does, where the store keeps texts
    return VectorStoreIndex.from_vector_store(store, embed_model=MODEL) if store.stores_text else filled


def guarded(index: VectorStoreIndex, defenses: Sequence[Defense], top_k: int = 3, **options: Any) -> RAGGuardRetriever:
    return RAGGuardRetriever(index.as_retriever(similarity_top_k=12, **options), defenses, top_k=top_k)


def ids(nodes: Sequence[Any]) -> list[str]:
    return [item.node.node_id for item in nodes]


def test_poison_wins_undefended_and_loses_guarded(index: VectorStoreIndex, store_name: str) -> None:
    undefended = index.as_retriever(similarity_top_k=3).retrieve(QUESTION)
    assert set(ids(undefended)) >= POISONOUS
    retriever = guarded(index, [RAGMask(ENCODER, m=6)])
    kept = retriever.retrieve(QUESTION)
    assert len(kept) == 3
    assert not POISONOUS & set(ids(kept))
    assert all("of Frome" in item.node.get_content() for item in kept)
    if store_name in NO_ASYNC:
        with pytest.raises(RetrieverError, match="aclient"):
            asyncio.run(retriever.aretrieve(QUESTION))
    else:
        assert ids(asyncio.run(retriever.aretrieve(QUESTION))) == ids(kept)


def test_evidence_of_a_thousand_nodes_is_ready_when_they_are_retrieved(index: VectorStoreIndex) -> None:
    encoder = Counting()
    defenses = [RAGPart(encoder)]
    RAGGuardPreparation(defenses)([*thousand(), POISON, NESTED])
    ready = encoder.pieces
    assert ready >= 5000
    guarded(index, defenses).retrieve(QUESTION)
    assert encoder.pieces == ready


def test_filters_hold_for_all_that_is_judged(index: VectorStoreIndex, store_name: str) -> None:
    only = MetadataFilters(filters=[MetadataFilter(key="source", value="archive-7")])
    retriever = guarded(index, [RAGMask(ENCODER, m=6)], filters=only)
    if store_name in NO_FILTERS:
        with pytest.raises(RetrieverError, match="filters"):
            retriever.retrieve(QUESTION)
        return
    judged = retriever.explain(QUESTION).candidates
    assert len(judged) == 12
    assert {hit.document.metadata["source"] for hit in judged} == {"archive-7"}


def test_provenance_survives_the_store(index: VectorStoreIndex) -> None:
    retriever = guarded(index, [SourceQuota(1)], top_k=10)
    (certificate,) = retriever.explain(QUESTION).certificates
    assert certificate.bound == 1
    sources = [item.node.metadata.get("source") for item in retriever.retrieve(QUESTION)]
    assert len(sources) == len(set(sources)) > 1


def test_hybrid_lists_are_judged_whole(index: VectorStoreIndex, store_name: str) -> None:
    if store_name not in ("QdrantVectorStore", "PGVectorStore"):
        pytest.skip("no hybrid mode")
    retriever = guarded(index, [RAGMask(ENCODER, m=6)], vector_store_query_mode=VectorStoreQueryMode.HYBRID)
    assert not POISONOUS & set(ids(retriever.retrieve(QUESTION)))
    assert len(retriever.retrieve(QUESTION)) == 3


def test_an_update_is_judged_by_its_new_text(new_store: NewStore, store_name: str) -> None:
    if store_name in ("FaissVectorStore", "FaissMapVectorStore", "LanceDBVectorStore"):
        pytest.skip("deletes no documents")
    context = StorageContext.from_defaults(vector_store=new_store(WordHashEncoder.dimension))
    index = VectorStoreIndex(thousand()[550:560], storage_context=context, embed_model=MODEL)
    index.insert(Document(id_=name(1), text="Who painted the lighthouse of Frome is not known to the council of the town."))
    retriever = guarded(index, [RAGMask(ENCODER, m=6)])
    assert any("not known" in item.node.get_content() for item in retriever.retrieve(QUESTION))
    index.update_ref_doc(Document(id_=name(1), text=f"{QUESTION} {JUNK}"))
    assert any(JUNK in item.node.get_content() for item in index.as_retriever(similarity_top_k=3).retrieve(QUESTION))
    assert not any(
        JUNK in item.node.get_content() or "not known" in item.node.get_content() for item in retriever.retrieve(QUESTION)
    )


def test_distances_keep_the_order_of_the_store() -> None:
    import faiss
    from llama_index.vector_stores.faiss import FaissVectorStore

    store = FaissVectorStore(faiss.IndexFlatL2(WordHashEncoder.dimension))
    nodes = thousand()[:50]
    index = VectorStoreIndex(nodes, storage_context=StorageContext.from_defaults(vector_store=store), embed_model=MODEL)
    nearest = index.as_retriever(similarity_top_k=5).retrieve(nodes[7].text)
    assert [item.score for item in nearest] == sorted(item.score or 0 for item in nearest)  # the best has the lowest
    kept = RAGGuardRetriever(index.as_retriever(similarity_top_k=5), [SourceQuota(9)]).retrieve(nodes[7].text)
    assert ids(kept) == ids(nearest)
    assert [item.score for item in kept] == [1, 1 / 2, 1 / 3, 1 / 4, 1 / 5]


@pytest.fixture
def database(new_database: Callable[[], str]) -> str:
    return new_database()


@pytest.fixture
def pg_index(database: str, new_pgvector: Callable[[str, int], BasePydanticVectorStore]) -> VectorStoreIndex:
    context = StorageContext.from_defaults(vector_store=new_pgvector(database, WordHashEncoder.dimension))
    return VectorStoreIndex(thousand()[:20], storage_context=context, embed_model=MODEL)


def test_a_store_that_is_gone_is_an_error(pg_index: VectorStoreIndex, database: str, server: Any) -> None:
    retriever = guarded(pg_index, [RAGMask(ENCODER, m=6)])
    assert retriever.retrieve(QUESTION)
    server.psql(f"DROP DATABASE {database.partition('?')[0].rpartition('/')[2]} WITH (FORCE);")
    with pytest.raises(RetrieverError, match="does not exist"):
        retriever.retrieve(QUESTION)
    with pytest.raises(RetrieverError, match="does not exist"):
        asyncio.run(retriever.aretrieve(QUESTION))


def test_a_store_that_is_slow_meets_the_deadline(pg_index: VectorStoreIndex, database: str) -> None:
    policy = GuardPolicy(deadline_s=0.5)
    retriever = RAGGuardRetriever(pg_index.as_retriever(similarity_top_k=5), [RAGMask(ENCODER, m=6)], policy=policy)
    assert retriever.retrieve(QUESTION)
    engine = sa.create_engine(database.replace("postgresql://", "postgresql+psycopg://"))
    with engine.begin() as connection:
        (table,) = sa.inspect(connection).get_table_names()
        connection.execute(sa.text(f"LOCK TABLE {table} IN ACCESS EXCLUSIVE MODE"))
        ways: list[Callable[[], object]] = [
            lambda: retriever.retrieve(QUESTION),
            lambda: asyncio.run(retriever.aretrieve(QUESTION)),
        ]
        for ask in ways:
            start = time.monotonic()
            with pytest.raises(DeadlineExceededError, match="wrapped retriever"):
                ask()
            assert time.monotonic() - start < 3
    engine.dispose()
    assert retriever.retrieve(QUESTION)
