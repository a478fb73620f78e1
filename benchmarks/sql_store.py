"""Evidence on disk: how long 20 documents' take to read, how much room they need, and whether rounding changes a verdict."""

from __future__ import annotations

import os
import tempfile
from dataclasses import replace
from pathlib import Path
from statistics import median
from typing import Any

from benchmarks.compare_defenses import CACHE
from benchmarks.timing import milliseconds
from ragguard.defenses import CalibratedGuard
from ragguard.encoders import OFFLINE_MODEL, SentenceTransformerEncoder
from ragguard.evaluation import datasets, report
from ragguard.evaluation.cache import CachedEncoder
from ragguard.evaluation.sources import with_sources
from ragguard.evidence import EvidenceBuilder, MemoryStore, SQLStore, WindowPlan
from ragguard.index import DenseIndex
from ragguard.text import canonical

K, CANDIDATES, CALIBRATING, ASKED, SEED = 10, 20, 600, 400, 0


def measure() -> dict[str, Any]:
    """Times are medians over queries; empty without data."""
    folder = os.environ.get("RAGGUARD_DATA", "")
    if not folder:
        return {}
    found = datasets.load(Path(folder) / "nq_dev")
    dataset = replace(found, documents=tuple(with_sources(found.documents, SEED)))
    encoder = CachedEncoder(SentenceTransformerEncoder.offline(progress=False), CACHE)
    index = DenseIndex(encoder)
    index.add(dataset.documents)
    queries = list(dataset.queries.values())
    guard = CalibratedGuard.calibrated(encoder, index, dataset.documents, queries[:CALIBRATING], k=K, store=MemoryStore())
    asked = queries[CALIBRATING : CALIBRATING + ASKED]
    candidates = {query: index.retrieve(query, CANDIDATES) for query in asked}
    texts = [[canonical(hit.document.text).text for hit in hits] for hits in candidates.values()]
    before = {query: guard(query, hits, K) for query, hits in candidates.items()}
    rows = []
    with tempfile.TemporaryDirectory() as made:
        saved = Path(made) / "guard.json"
        guard.save(saved)
        for precision in ("fp32", "fp16", "int8"):
            path = Path(made) / precision
            with SQLStore(path, precision=precision) as store:
                EvidenceBuilder(encoder, WindowPlan(), store).get([canonical(one.text).text for one in dataset.documents])
                megabytes = sum(one.megabytes for one in store.kept())
            with SQLStore(path, precision=precision) as store:
                restarted = CalibratedGuard.load(saved, encoder, dataset.documents, store=store)
                after = {query: restarted(query, hits, K) for query, hits in candidates.items()}
            pairs = [(a, b) for query in asked for a, b in zip(before[query].verdicts, after[query].verdicts, strict=True)]
            rows.append(
                {
                    "precision": precision,
                    "megabytes": round(megabytes, 1),
                    "file_megabytes": round(path.stat().st_size / 1e6, 1),
                    "read_ms_from_disk": _ms(EvidenceBuilder(encoder, WindowPlan(), SQLStore(path, cached=1)), texts),
                    "read_ms_from_memory": _warm_ms(EvidenceBuilder(encoder, WindowPlan(), SQLStore(path)), texts),
                    "verdicts": len(pairs),
                    "verdicts_changed": sum(a.action != b.action for a, b in pairs),
                    "suspicion_changed_at_most": round(max(abs((a.suspicion or 0) - (b.suspicion or 0)) for a, b in pairs), 5),
                }
            )
            print(rows[-1])
    return report.about(
        dataset="nq_dev",
        encoder=OFFLINE_MODEL,
        seed=SEED,
        documents=len(dataset.documents),
        queries=ASKED,
        candidates=CANDIDATES,
        stores=rows,
    )


def _warm_ms(builder: EvidenceBuilder, texts: list[list[str]]) -> float:
    for some in texts:
        builder.get(some)
    return _ms(builder, texts)


def _ms(builder: EvidenceBuilder, texts: list[list[str]]) -> float:
    return round(median(milliseconds(lambda some=some: builder.get(some)) for some in texts), 3)  # type: ignore[misc]


if __name__ == "__main__":
    measure()
