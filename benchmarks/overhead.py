"""What a guard adds to a query nobody asked before, its evidence prepared; query encoding included in both."""

from __future__ import annotations

import time
from statistics import median
from typing import Any

from ragguard.defenses import RAGMask, RAGPart
from ragguard.demo.scenario import DATA
from ragguard.encoders import OFFLINE_MODEL, SentenceTransformerEncoder
from ragguard.evaluation import datasets, report
from ragguard.index import DenseIndex
from ragguard.protocols import Defense, Retriever
from ragguard.retriever import GuardedRetriever, GuardPolicy
from ragguard.store import MemoryStore
from ragguard.vectors import encode_one_query

K, QUERIES = 5, 60


def measure() -> dict[str, Any]:
    """Median times over the demo corpus, plain and guarded interleaved."""
    dataset = datasets.load(DATA)
    encoder = SentenceTransformerEncoder.offline()
    index = DenseIndex(encoder)
    index.add(dataset.documents)
    masks = MemoryStore()
    ragpart, ragmask, second = RAGPart.paper(encoder), RAGMask(encoder, store=masks), RAGMask(encoder, store=masks)
    guards: dict[str, list[Defense]] = {"RAGPart": [ragpart], "RAGMask": [ragmask], "RAGPart + RAGMask": [ragpart, second]}
    guarded = {name: GuardedRetriever(index, defenses) for name, defenses in guards.items()}
    queries = list(dataset.queries.values())[:QUERIES]
    for defense in (ragpart, ragmask, second):
        defense.prepare(index.documents)
    times: dict[str, list[float]] = {"encoding": [], "none": [], **{name: [] for name in guarded}}
    for number, query in enumerate(queries):
        fresh = f"{query} ({number})"  # not among the remembered queries
        start = time.perf_counter()
        encode_one_query(encoder, fresh)
        times["encoding"].append((time.perf_counter() - start) * 1000)
        everyone: dict[str, Retriever] = {"none": index, **guarded}
        for name, retriever in everyone.items():
            start = time.perf_counter()
            retriever.retrieve(fresh, K)
            times[name].append((time.perf_counter() - start) * 1000)
    base = median(times["encoding"]) + median(times["none"])
    found = []
    for name in guarded:
        added = median(times[name]) - median(times["none"])
        found.append({"defense": name, "added_ms": round(added, 2), "guarded_over_unguarded": round((base + added) / base, 3)})
        print(found[-1])
    encoding = round(median(times["encoding"]), 2)
    candidates = K * GuardPolicy().overfetch
    about = {"dataset": "the demo corpus", "seed": 0, "encoder": OFFLINE_MODEL, "candidates": candidates}
    return report.about(**about, encoding_ms=encoding, defenses=found)
