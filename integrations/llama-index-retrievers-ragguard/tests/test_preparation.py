"""Evidence prepared by an ingestion pipeline: there when it is needed, whatever the pipeline's cache remembers."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path

import pytest
from llama_index.core import Document, VectorStoreIndex
from llama_index.core.ingestion import IngestionCache, IngestionPipeline
from llama_index.core.node_parser import SentenceSplitter
from llama_index.core.schema import ImageNode, TextNode
from llama_index.retrievers.ragguard import EncoderEmbedding, RAGGuardPreparation, RAGGuardRetriever

from ragguard.defenses import RAGPart
from ragguard.errors import InvalidInputError
from ragguard.evidence import MemoryStore, SQLStore
from ragguard.testing import DOCUMENTS, QUERY, WordHashEncoder

from .support import Counting


def documents() -> list[Document]:
    return [Document(id_=known.id, text=known.text, metadata=dict(known.metadata)) for known in DOCUMENTS]


def pipeline(preparation: RAGGuardPreparation, cache: IngestionCache | None = None) -> IngestionPipeline:
    steps = [SentenceSplitter(chunk_size=40, chunk_overlap=0), preparation, EncoderEmbedding(WordHashEncoder())]
    return IngestionPipeline(transformations=steps, cache=cache)


@pytest.mark.parametrize("asynchronous", [False, True])
def test_queries_find_what_ingestion_prepared(asynchronous: bool) -> None:
    encoder = Counting()
    defenses = [RAGPart(encoder)]
    line = pipeline(RAGGuardPreparation(defenses))
    nodes = asyncio.run(line.arun(documents=documents())) if asynchronous else line.run(documents=documents())
    assert encoder.pieces >= 5 * len(DOCUMENTS)
    before = encoder.pieces
    index = VectorStoreIndex(list(nodes), embed_model=EncoderEmbedding(WordHashEncoder()))
    kept = RAGGuardRetriever.from_index(index, defenses, top_k=3).retrieve(QUERY)
    assert len(kept) == 3
    assert encoder.pieces == before


def test_the_nodes_pass_unchanged() -> None:
    nodes = [TextNode(text="Some text.", metadata={"a": 1}), TextNode(text=""), ImageNode(image_url="http://localhost/x.png")]
    before = [node.to_dict() for node in nodes]
    assert RAGGuardPreparation([RAGPart(Counting())])(nodes) is nodes
    assert [node.to_dict() for node in nodes] == before


def test_the_same_object_is_skipped_on_the_word_of_the_cache_and_another_is_not(tmp_path: Path) -> None:
    first, cache = Counting(), IngestionCache()
    line = pipeline(RAGGuardPreparation([RAGPart(first)]), cache)
    line.run(documents=documents())
    once = first.pieces
    line.run(documents=documents())
    assert first.pieces == once
    line.persist(str(tmp_path))

    again = Counting()  # another process: the cache was saved, and what was in memory is gone
    later = pipeline(RAGGuardPreparation([RAGPart(again)]))
    later.load(str(tmp_path))
    later.run(documents=documents())
    assert again.pieces == once


def test_evidence_in_a_database_is_not_computed_again_whatever_the_cache_says(tmp_path: Path) -> None:
    with SQLStore(tmp_path / "evidence.db") as store:
        pipeline(RAGGuardPreparation([RAGPart(first := Counting(), store=store)])).run(documents=documents())
    assert first.pieces > 0
    with SQLStore(tmp_path / "evidence.db") as store:
        pipeline(RAGGuardPreparation([RAGPart(again := Counting(), store=store)])).run(documents=documents())
        assert again.pieces == 0
        other = RAGPart(fresh := Counting(), n=4, k=2, store=store)
        pipeline(RAGGuardPreparation([other])).run(documents=documents())
    assert fresh.pieces > 0


def test_the_cache_of_the_steps_after_it_is_not_lost() -> None:
    cache, encoder = IngestionCache(), Counting()
    for _ in range(2):
        steps = [RAGGuardPreparation([RAGPart(Counting())]), EncoderEmbedding(encoder)]
        IngestionPipeline(transformations=steps, cache=cache).run(documents=documents())
    assert encoder.pieces == len(DOCUMENTS)


def test_asynchronous_preparation_does_not_block_the_loop() -> None:
    async def longest_gap() -> float:
        preparation = RAGGuardPreparation([RAGPart(Counting(pause=0.4))])
        work = asyncio.ensure_future(preparation.acall([TextNode(text="Some text that is long enough.")]))
        gap, last = 0.0, time.monotonic()
        while not work.done():
            await asyncio.sleep(0.01)
            gap, last = max(gap, time.monotonic() - last), time.monotonic()
        await work
        return gap

    assert asyncio.run(longest_gap()) < 0.3


def test_a_full_store_forgets_and_queries_still_have_evidence() -> None:
    encoder = Counting()
    defenses = [RAGPart(encoder, store=MemoryStore(2))]
    RAGGuardPreparation(defenses)(documents())
    index = VectorStoreIndex(
        [TextNode(id_=d.id_, text=d.text) for d in documents()], embed_model=EncoderEmbedding(WordHashEncoder())
    )
    assert len(RAGGuardRetriever.from_index(index, defenses, top_k=3).retrieve(QUERY)) == 3


@pytest.mark.parametrize("nodes", ["text", [Document(text="x"), None], None, ["x"]])
def test_what_is_no_node_is_an_error(nodes: object) -> None:
    with pytest.raises(InvalidInputError, match="LlamaIndex nodes"):
        RAGGuardPreparation([RAGPart(Counting())])(nodes)  # type: ignore[arg-type]


def test_a_node_without_an_id_and_a_preparation_without_defenses_are_errors() -> None:
    with pytest.raises(InvalidInputError, match="id must be"):
        RAGGuardPreparation([RAGPart(Counting())])([TextNode(id_="", text="x")])
    with pytest.raises(InvalidInputError, match="at least one defense"):
        RAGGuardPreparation([])
