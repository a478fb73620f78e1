"""RAGPart over 21,190 documents: fragments searched flat, by IVF and by HNSW, against scoring every document."""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from pathlib import Path
from statistics import median
from typing import Any, get_args

import faiss
import numpy as np

from ragguard.defenses import RAGPart
from ragguard.defenses.combinations import votes
from ragguard.defenses.fragment_index import PROBED, FragmentSearch
from ragguard.defenses.ragpart_search import RAGPartSearch
from ragguard.encoders import OFFLINE_MODEL, SentenceTransformerEncoder
from ragguard.encoders.vectors import encode_one_query
from ragguard.evaluation import datasets, report
from ragguard.evaluation.cache import CachedEncoder
from ragguard.index import DenseIndex
from ragguard.protocols import Encoder
from ragguard.text import canonical
from ragguard.types import Document, Vectors

N, K, QUERIES, TIMES, SEED = 5, 10, 100, 10, 0
"""Fragments of a document, results, questions, documents in all for each real one, and the seed of the synthetic ones."""

FETCHED = 640
"""Fragments that the plain index of FAISS is asked for: as many as an approximate search fetches first."""

CACHE = Path(__file__).parents[1] / ".cache" / "embeddings"


class Corpus(dict[str, Vectors]):
    """Vectors of real and synthetic pieces by their text, as an encoder.

    A synthetic document lies between two real ones: each of its fragments is a mean of theirs, with the same weights.
    """

    def __init__(self, encoder: Encoder, real: list[Document]) -> None:
        """Embed the real documents and their fragments, and make the others."""
        super().__init__()
        self.name, self.dimension = f"{encoder.name}, {TIMES} times", encoder.dimension
        defense = RAGPart(encoder, n=N)
        defense.prepare(real)
        fragments = np.stack([one.vectors for one in defense.fragments([document.text for document in real])])
        wholes = encoder.encode_document([document.text for document in real])
        generator = np.random.default_rng(SEED)
        self.documents: list[Document] = []
        for copy in range(TIMES):
            others = generator.permutation(len(real))
            weights = (
                generator.uniform(0.5, 0.9, size=(len(real), 1, 1)).astype(np.float32)
                if copy
                else np.ones((len(real), 1, 1), dtype=np.float32)
            )
            pieces = _unit(weights * fragments + (1 - weights) * fragments[others])
            whole = _unit(weights[:, 0] * wholes + (1 - weights[:, 0]) * wholes[others])
            for row in range(len(real)):
                words = [f"c{copy}r{row}f{place}" for place in range(N)]  # a document of N words has these as its fragments
                self.update(zip(words, pieces[row], strict=True))
                self[" ".join(words)] = whole[row]
                self.documents.append(Document(f"{copy}/{real[row].id}", " ".join(words)))

    def encode_document(self, texts: Sequence[str]) -> Vectors:
        """As they were made."""
        return np.stack([self[text] for text in texts])

    encode_query = encode_document


def _unit(rows: Vectors) -> Vectors:
    return np.asarray(rows / np.linalg.norm(rows, axis=-1, keepdims=True), dtype=np.float32)


def measure() -> dict[str, Any]:
    """Median times per query, interleaved, of finding the top 10, and what approximate searches find of it."""
    folder = os.environ.get("RAGGUARD_DATA", "")
    if not folder:
        return {}
    dataset = datasets.load(Path(folder) / "nq_dev")
    encoder = CachedEncoder(SentenceTransformerEncoder.offline(), CACHE)
    real = [Document(document.id, canonical(document.text).text) for document in dataset.documents]
    corpus = Corpus(encoder, real)
    queries = list(dataset.queries.values())[:QUERIES]
    corpus.update({canonical(query).text: encode_one_query(encoder, query) for query in queries})
    index = DenseIndex(corpus, backend="faiss")
    index.add(corpus.documents)
    defense = RAGPart.paper(corpus)
    defense.prepare(corpus.documents)
    searches: dict[str, RAGPartSearch] = {}
    built: dict[str, float] = {}
    for kind in get_args(FragmentSearch):
        searches[kind] = RAGPartSearch(index, defense, fragments=kind)
        start = time.perf_counter()
        searches[kind].retrieve(queries[0], K)  # indexes the fragments
        built[kind] = time.perf_counter() - start
    flat, grams = _everything(defense, corpus)
    plain = faiss.IndexFlatIP(corpus.dimension)
    plain.add(flat)
    ms: dict[str, list[float]] = {
        name: [] for name in ("scoring every document", "undefended", "FAISS's flat index, fragments alone", *searches)
    }
    recall: dict[str, list[float]] = {name: [] for name in searches}
    proven: dict[str, list[bool]] = {name: [] for name in searches}
    for query in queries:
        vector = corpus[canonical(query).text]
        start = time.perf_counter()
        similarities = np.asarray(flat @ vector, dtype=np.float32).reshape(-1, N)
        votes(defense.combinations.scores(similarities, grams), K)
        ms["scoring every document"].append(time.perf_counter() - start)
        start = time.perf_counter()
        index.search(vector, K)
        ms["undefended"].append(time.perf_counter() - start)
        start = time.perf_counter()
        plain.search(vector[None], FETCHED)
        ms["FAISS's flat index, fragments alone"].append(time.perf_counter() - start)
        top: set[str] = set()
        for kind, search in searches.items():
            start = time.perf_counter()
            result = search.retrieve(query, K)
            ms[kind].append(time.perf_counter() - start)
            names = {hit.document.id for hit in result}
            top = top or names  # flat comes first, and is proven
            recall[kind].append(len(names & top) / K)
            proven[kind].append(not result.approximate)
    rows: list[dict[str, Any]] = [
        {"search": kind, "ms": round(median(times) * 1000, 2), "ms_p95": round(float(np.percentile(times, 95)) * 1000, 2)}
        for kind, times in ms.items()
    ]
    for row in rows:
        if (kind := row["search"]) in searches:
            row["proven"] = float(np.mean(proven[kind]))
            row["recall_at_10"] = round(float(np.mean(recall[kind])), 4)
            row["same_top_10"] = float(np.mean(np.array(recall[kind]) == 1))
            row["build_s"] = round(built[kind], 1)
        print(row)
    return report.about(
        dataset=f"nq_dev, {len(real)} documents, and {len(corpus.documents) - len(real)} synthetic ones between them",
        seed=SEED,
        encoder=OFFLINE_MODEL,
        queries=len(queries),
        documents=len(corpus.documents),
        ivf_cells_read=PROBED,
        rows=rows,
    )


def _everything(defense: RAGPart, corpus: Corpus) -> tuple[Vectors, Vectors]:
    evidence = defense.fragments([document.text for document in corpus.documents])
    return np.concatenate([one.vectors for one in evidence]), np.stack([one.gram for one in evidence])
