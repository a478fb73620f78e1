"""RAGPart from N vectors and a Gram matrix, against storing and searching every combination; and where a sample of them votes."""

from __future__ import annotations

import time
from itertools import combinations
from statistics import median
from typing import Any

import faiss
import numpy as np

from ragguard.defenses import RAGPart
from ragguard.defenses.combinations import Combinations, votes
from ragguard.demo.scenario import DATA
from ragguard.encoders import SentenceTransformerEncoder
from ragguard.evaluation import datasets, report
from ragguard.evaluation.cache import CachedEncoder
from ragguard.index import DenseIndex

DOCUMENTS, DIMENSION, P, QUERIES = 20_000, 384, 10, 9
SETTINGS = {(5, 2): 1.5, (10, 5): 10.0}
"""(N, k) and the ratio to reach."""
LARGE, CANDIDATES, ASKED, TARGET_MS = (20, 10), 40, 30, 50.0
"""(N, k) of which a sample votes, on real candidates; how many; queries; and the time to stay within."""


def measure() -> dict[str, Any]:
    """Median time per query of both methods, interleaved, and their sizes."""
    generator = np.random.default_rng(0)
    found = []
    for (n, k), target in SETTINGS.items():
        vectors = generator.normal(size=(DOCUMENTS, n, DIMENSION)).astype(np.float32) + np.float32(0.05)
        vectors = np.asarray(vectors / np.linalg.norm(vectors, axis=2, keepdims=True), dtype=np.float32)
        every = Combinations.of(n, k)
        stored = []
        for chosen in combinations(range(n), k):
            means = vectors[:, list(chosen)].mean(axis=1)
            index = faiss.IndexFlatIP(DIMENSION)
            index.add(means / np.linalg.norm(means, axis=1, keepdims=True))
            stored.append(index)
        flat, grams = vectors.reshape(-1, DIMENSION), vectors @ vectors.transpose(0, 2, 1)
        naive_ms, ours_ms, same = [], [], 0
        for _ in range(QUERIES):
            query = generator.normal(size=DIMENSION).astype(np.float32)
            query /= np.linalg.norm(query)
            start = time.perf_counter()
            naive = np.zeros(DOCUMENTS, dtype=np.int64)
            for index in stored:
                naive[index.search(query[None], P)[1][0]] += 1
            middle = time.perf_counter()
            similarities = np.asarray(flat @ query, dtype=np.float32).reshape(DOCUMENTS, n)
            ours = votes(every.scores(similarities, grams), P)
            end = time.perf_counter()
            naive_ms.append((middle - start) * 1000)
            ours_ms.append((end - middle) * 1000)
            same += int(np.array_equal(naive, ours))
        size = (flat.nbytes + grams.nbytes) / (len(stored) * DOCUMENTS * DIMENSION * 4)
        ratio = median(naive_ms) / median(ours_ms)
        found.append(
            {
                "n": n,
                "k": k,
                "combinations": len(stored),
                "naive_ms": round(median(naive_ms), 2),
                "ours_ms": round(median(ours_ms), 2),
                "times_faster": round(ratio, 2),
                "target": target,
                "times_smaller": round(1 / size, 2),
                "queries_with_equal_votes": f"{same} of {QUERIES}",
            }
        )
        print(found[-1])
    return report.about(
        dataset=f"{DOCUMENTS} random documents; sampled: the demo corpus", seed=0, settings=found, sampled=sampled()
    )


def sampled() -> dict[str, Any]:
    """Time to re-rank the candidates of a query, evidence and query vector known, and how far shares are from those of all."""
    n, k = LARGE
    dataset = datasets.load(DATA)
    encoder = CachedEncoder(SentenceTransformerEncoder.offline())
    index = DenseIndex(encoder, backend="faiss")
    index.add(dataset.documents)
    defense = RAGPart(encoder, n=n, k=k)
    defense.prepare(dataset.documents)
    every = Combinations.of(n, k, limit=defense.combinations.total)
    queries = list(dataset.queries.values())[:ASKED]
    candidates = [index.retrieve(query, CANDIDATES) for query in queries]
    defense(queries[0], candidates[0], P)
    ms, all_ms, off = [], [], []
    for query, hits in zip(queries, candidates, strict=True):
        start = time.perf_counter()
        result = defense(query, hits, P)
        ms.append((time.perf_counter() - start) * 1000)
        evidence = defense.fragments([hit.document.text for hit in hits])
        similarities = np.stack([one.vectors for one in evidence]) @ encoder.encode_query([query])[0]
        grams = np.stack([one.gram for one in evidence])
        start = time.perf_counter()
        shares = votes(every.scores(similarities, grams), P) / len(every)
        all_ms.append((time.perf_counter() - start) * 1000)
        found = np.array([verdict.signals["vote_share"] for verdict in result.verdicts])
        off.append(float(np.abs(found - shares).max()))
    row = {
        "n": n,
        "k": k,
        "combinations": every.total,
        "voting": len(defense.combinations),
        "candidates": CANDIDATES,
        "queries": len(queries),
        "ms": round(median(ms), 2),
        "ms_p95": round(float(np.percentile(ms, 95)), 2),
        "target_ms": TARGET_MS,
        "all_combinations_ms": round(median(all_ms), 1),
        "stated_error": round(defense.combinations.error(CANDIDATES), 4),
        "largest_error": round(max(off), 4),
        "queries_within_the_error": f"{sum(one <= defense.combinations.error(CANDIDATES) for one in off)} of {len(off)}",
        "times_smaller": round(every.total / (n + n * n / encoder.dimension)),
    }
    print(row)
    return row
