"""RAGPart from N vectors and a Gram matrix against storing and searching every combination, over a whole corpus, same votes."""

from __future__ import annotations

import time
from itertools import combinations
from statistics import median
from typing import Any

import faiss
import numpy as np

from ragguard.defenses.combinations import Combinations, votes
from ragguard.evaluation import report

DOCUMENTS, DIMENSION, P, QUERIES = 20_000, 384, 10, 9
SETTINGS = {(5, 2): 1.5, (10, 5): 10.0}
"""(N, k) and the ratio to reach."""


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
    return report.about(dataset=f"{DOCUMENTS} random documents", seed=0, settings=found)
