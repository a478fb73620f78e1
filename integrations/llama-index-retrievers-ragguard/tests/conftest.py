"""Real stores, each through its own LlamaIndex adapter. The heavy ones are installed by `make nightly`."""

from __future__ import annotations

import hashlib
import time
import warnings
from collections.abc import Callable, Sequence
from typing import Any, TypeAlias

import pytest
from llama_index.core.vector_stores import SimpleVectorStore
from llama_index.core.vector_stores.types import BasePydanticVectorStore

NewStore: TypeAlias = Callable[[int], BasePydanticVectorStore]
"""An empty store for vectors of a length."""

HEAVY = pytest.mark.heavy
NAMES = (
    "SimpleVectorStore",
    "FaissVectorStore",
    "FaissMapVectorStore",
    "QdrantVectorStore",
    "PGVectorStore",
    pytest.param("ChromaVectorStore", marks=HEAVY),
    pytest.param("LanceDBVectorStore", marks=HEAVY),
)


@pytest.fixture(scope="module")
def new_database(server: Any) -> Callable[[], str]:
    """Makes a database with pgvector in it and returns its URL, without a driver."""

    def create() -> str:
        name = f"d{time.monotonic_ns()}"
        server.psql(f"CREATE DATABASE {name};")
        return str(server.get_uri(database=name))

    return create


@pytest.fixture(scope="module", params=NAMES)
def store_name(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="module")
def new_store(store_name: str, request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> NewStore:
    """Makes empty stores of one kind."""
    if store_name == "PGVectorStore":
        database = request.getfixturevalue("new_database")()
        return lambda dimension: pgvector(database, dimension)
    if store_name == "LanceDBVectorStore":
        return lambda dimension: lancedb(str(tmp_path_factory.mktemp("lance")))
    factories: dict[str, NewStore] = {
        "SimpleVectorStore": lambda dimension: SimpleVectorStore(),
        "FaissVectorStore": flat_faiss,
        "FaissMapVectorStore": mapped_faiss,
        "QdrantVectorStore": qdrant,
        "ChromaVectorStore": chroma,
    }
    return factories[store_name]


def flat_faiss(dimension: int) -> BasePydanticVectorStore:
    import faiss
    from llama_index.vector_stores.faiss import FaissVectorStore

    return FaissVectorStore(faiss.IndexFlatIP(dimension))


def mapped_faiss(dimension: int) -> BasePydanticVectorStore:
    import faiss
    from llama_index.vector_stores.faiss import FaissMapVectorStore

    return FaissMapVectorStore(faiss.IndexIDMap2(faiss.IndexFlatIP(dimension)))


def qdrant(dimension: int) -> BasePydanticVectorStore:  # it learns the length from what comes first
    from llama_index.vector_stores.qdrant import QdrantVectorStore
    from qdrant_client import QdrantClient

    client = QdrantClient(":memory:")
    return QdrantVectorStore("nodes", client, enable_hybrid=True, sparse_doc_fn=word_counts, sparse_query_fn=word_counts)


def word_counts(texts: Sequence[str]) -> tuple[list[list[int]], list[list[float]]]:
    """Sparse vectors for Qdrant: how often each word occurs."""
    numbers: list[list[int]] = []
    counts: list[list[float]] = []
    for text in texts:
        words = text.lower().split()
        known = sorted(set(words))
        numbers.append([int.from_bytes(hashlib.sha256(word.encode()).digest()[:3], "big") for word in known])
        counts.append([float(words.count(word)) for word in known])
    return numbers, counts


def pgvector(url: str, dimension: int) -> BasePydanticVectorStore:
    from llama_index.vector_stores.postgres import PGVectorStore
    from sqlalchemy.pool import NullPool

    return PGVectorStore.from_params(
        connection_string=url.replace("postgresql://", "postgresql+psycopg2://"),
        async_connection_string=url.replace("postgresql://", "postgresql+asyncpg://"),
        table_name=f"t{time.monotonic_ns()}",
        embed_dim=dimension,
        hybrid_search=True,
        create_engine_kwargs={"poolclass": NullPool},  # each test has an event loop of its own
    )


@pytest.fixture
def new_pgvector() -> Callable[[str, int], BasePydanticVectorStore]:
    return pgvector


def chroma(dimension: int) -> BasePydanticVectorStore:
    import chromadb
    from llama_index.vector_stores.chroma import ChromaVectorStore

    store: BasePydanticVectorStore = ChromaVectorStore(chromadb.EphemeralClient().create_collection(f"c{time.monotonic_ns()}"))
    return store


def lancedb(folder: str) -> BasePydanticVectorStore:
    from llama_index.vector_stores.lancedb import LanceDBVectorStore

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        store: BasePydanticVectorStore = LanceDBVectorStore(uri=folder)
    return store
