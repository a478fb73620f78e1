"""What defenses and peers add to a query nobody asked before, evidence prepared, and to ingestion; on the demo corpus."""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np

from benchmarks import closed_form
from benchmarks.compare_defenses import GMTP, PAPER, PEERS
from benchmarks.timing import milliseconds
from ragguard.defenses import RAGMask, default_guard, prepare
from ragguard.demo.scenario import DATA
from ragguard.encoders import OFFLINE_MODEL, SentenceTransformerEncoder
from ragguard.encoders.vectors import encode_one_query
from ragguard.evaluation import datasets, report
from ragguard.evaluation.cache import CachedEncoder, TextCache
from ragguard.evaluation.experiment import INGESTED, Experiment
from ragguard.evaluation.registry import OVERFETCH, Bench, build_system
from ragguard.evidence import EvidenceBuilder, MaskPlan, MemoryStore
from ragguard.index import DenseIndex
from ragguard.protocols import Defense, Encoder
from ragguard.retriever import GuardedRetriever
from ragguard.types import Vectors

K, QUERIES = 10, 30
ROUNDS, MASKED = 10, 5
"""How often each query is asked of the default guard alone, and how many queries are masked as they come."""
LOSS = 0.05
"""There are too few queries for 2 %; the share does not change the work."""


def measure() -> dict[str, Any]:
    """Median times: the default guard right after the unguarded retriever, and all systems interleaved query by query.

    Query encoding is in both sides of `guarded_over_unguarded`. Between other systems a query costs more, since they leave the
    processor's caches to it cold.
    """
    dataset = datasets.load(DATA)
    model = SentenceTransformerEncoder.offline()
    encoder = CachedEncoder(model)
    index = DenseIndex(encoder)
    index.add(dataset.documents)
    targets = datasets.targets(dataset, QUERIES)
    queries = [target.query for target in targets]
    others = datasets.others(dataset, targets, len(dataset.queries))
    bench = Bench(dataset, encoder, model, TextCache(), others, index, K, seed=0)
    systems = [build_system(spec, bench) for spec in ("none", f"default(max_clean_query_loss={LOSS})", *PAPER, *PEERS, GMTP)]
    live = DenseIndex(model)  # the cache on disk is slower than a query that the model remembers
    live.add(dataset.documents)
    defenses = default_guard(model, live, dataset.documents, others, k=K, max_clean_query_loss=LOSS)
    prepare(defenses, dataset.documents)
    plain, added = _added(live, model, defenses, queries)
    masks = _masks(index, encoder, queries[:MASKED])
    trial = Experiment(index, encoder, targets, systems, k=K, timed=QUERIES).clean()
    ms = {name: median(answer.ms or 0.0 for answer in answers) for name, answers in trial.answers.items()}
    base = trial.encoding_ms + ms["none"]
    found: list[dict[str, Any]] = [
        {
            "defense": name,
            "added_ms": round(ms[name] - ms["none"], 2),
            "guarded_over_unguarded": round((base + ms[name] - ms["none"]) / base, 3),
            "ingestion_over_embedding": trial.ingest_ratio[name],
        }
        for name in ms
        if name != "none"
    ]
    unguarded = trial.encoding_ms + plain
    p50, p99 = np.percentile(added, [50, 99]).tolist()
    (ten,) = (one for one in closed_form.measure()["settings"] if (one["n"], one["k"]) == (10, 5))
    return report.about(
        dataset="the demo corpus",
        seed=0,
        encoder=OFFLINE_MODEL,
        queries=QUERIES,
        candidates=f"{OVERFETCH * K}; of peers that judge what is read, {K}",
        documents_ingested=INGESTED,
        encoding_ms=trial.encoding_ms,
        unguarded_ms=round(unguarded, 2),
        guarded_over_unguarded=round((unguarded + p50) / unguarded, 3),
        added_ms_p50=round(p50, 2),
        added_ms_p99=round(p99, 2),
        ingestion_added_over_plain=round(next(one["ingestion_over_embedding"] for one in found) - 1, 2),
        ragpart_speedup=ten["times_faster"],
        **masks,
        defenses=found,
    )


def _added(index: DenseIndex, encoder: Encoder, defenses: Sequence[Defense], queries: Sequence[str]) -> tuple[float, list[float]]:
    """Milliseconds of the unguarded retriever, and what the guard adds to each query; the query's vector is known to both."""
    guarded = GuardedRetriever(index, defenses)
    plain, added = [], []
    for _ in range(ROUNDS):
        for query in queries:
            encode_one_query(encoder, query)
            before = milliseconds(lambda query=query: index.retrieve(query, K))  # type: ignore[misc]
            plain.append(before)
            added.append(milliseconds(lambda query=query: guarded.retrieve(query, K)) - before)  # type: ignore[misc]
    return median(plain), added


def _masks(index: DenseIndex, encoder: CachedEncoder, queries: Sequence[str]) -> dict[str, Any]:
    """RAGMask with evidence from ingestion against masking as queries come: scoring alone, and the whole defense."""
    store = MemoryStore()
    ready = RAGMask(encoder, store=store)
    prepare([ready], index.documents)
    scoring: list[tuple[float, float]] = []
    whole: list[tuple[float, float]] = []
    same = 0
    for query in queries:
        hits = index.retrieve(query, OVERFETCH * K)
        texts, vector = [hit.document.text for hit in hits], encode_one_query(encoder, query)

        def score(kept: MemoryStore, texts: list[str] = texts, vector: Vectors = vector) -> list[Vectors]:
            plan = MaskPlan(ready.settings.m, ready.settings.group_similarity)
            return [item.vectors @ vector for item in EvidenceBuilder(encoder, plan, kept).get(texts)]

        with encoder.live():
            fresh = RAGMask(encoder)
            scoring.append((milliseconds(lambda: score(store)), milliseconds(lambda: score(MemoryStore()))))
            whole.append((milliseconds(lambda: ready(query, hits, K)), milliseconds(lambda: fresh(query, hits, K))))  # noqa: B023
        one, other = ready(query, hits, K), fresh(query, hits, K)
        same += [verdict.action for verdict in one.verdicts] == [verdict.action for verdict in other.verdicts]
    return {
        "ragmask_speedup": round(median(cold for _, cold in scoring) / median(warm for warm, _ in scoring), 1),
        "ragmask_speedup_end_to_end": round(median(cold for _, cold in whole) / median(warm for warm, _ in whole), 1),
        "ragmask_same_verdicts": f"{same} of {len(queries)} queries",
    }


def main() -> None:
    """Measure and write `OUT/latency.json`."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, required=True, help="a folder")
    out: Path = parser.parse_args().out
    out.mkdir(parents=True, exist_ok=True)
    result = measure()
    (out / "latency.json").write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    print({key: value for key, value in result.items() if isinstance(value, int | float)})


if __name__ == "__main__":
    main()
