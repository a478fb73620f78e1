"""What being observed costs a query, how much room its record takes, and whether records decided again come out the same."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Sequence
from pathlib import Path
from statistics import median
from typing import Any

from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from prometheus_client import CollectorRegistry

from benchmarks.compare_defenses import CACHE
from benchmarks.timing import milliseconds
from ragguard.attacks import Budget, QueryCopy
from ragguard.audit import AuditLog
from ragguard.audit.summary import Summary, summarise
from ragguard.defenses import CalibratedGuard, SourceQuota, default_guard, prepare
from ragguard.demo.scenario import DATA
from ragguard.encoders import OFFLINE_MODEL, SentenceTransformerEncoder
from ragguard.encoders.vectors import encode_one_query
from ragguard.evaluation import datasets, report
from ragguard.evaluation.cache import CachedEncoder
from ragguard.evaluation.sources import with_sources
from ragguard.index import DenseIndex
from ragguard.protocols import Defense
from ragguard.retriever import GuardedRetriever, Observers
from ragguard.telemetry import OpenTelemetry, Prometheus
from ragguard.text import content_key
from ragguard.types import Document

K, TARGETS, ROUNDS, SEED, ASKED = 10, 20, 12, 0, 400
LOSS = {"demo": 0.05, "nq_dev": 0.02}
"""The demo corpus has too few queries for 2 %."""


def measure() -> dict[str, Any]:
    """The demo corpus, and nq_dev where it is; a third of the queries under attack."""
    folder = os.environ.get("RAGGUARD_DATA", "")
    found = [_measured("demo", DATA)]
    if folder:
        found.append(_measured("nq_dev", Path(folder) / "nq_dev"))
    return report.about(seed=SEED, encoder=OFFLINE_MODEL, datasets=found)


def _measured(name: str, folder: Path) -> dict[str, Any]:
    dataset = datasets.load(folder)
    documents = list(dataset.documents if name == "demo" else with_sources(dataset.documents, SEED))
    model = SentenceTransformerEncoder.offline(progress=False)
    encoder = CachedEncoder(model, CACHE)
    targets = datasets.targets(dataset, TARGETS, SEED)
    others = datasets.others(dataset, targets, ASKED, SEED)
    index = DenseIndex(encoder)
    index.add(documents)
    defenses = default_guard(encoder, index, documents, others, k=K, max_clean_query_loss=LOSS[name])
    planted = QueryCopy(documents)(targets, Budget(3))
    index.add(planted)
    queries = [*(one.query for one in targets), *others[: 2 * TARGETS]]
    near = {hit.document.id: hit.document for query in queries for hit in index.retrieve(query, 2 * K)}
    prepare(defenses, [*near.values()])
    with tempfile.TemporaryDirectory() as made:
        path, bare, whole = (Path(made) / name for name in ("audit.jsonl", "bare.jsonl", "texts.jsonl"))
        tracer, meter = TracerProvider(), MeterProvider([InMemoryMetricReader()])
        tracer.add_span_processor(BatchSpanProcessor(InMemorySpanExporter()))
        everything = Observers([AuditLog(path), OpenTelemetry(tracer, meter), Prometheus(CollectorRegistry())])
        guards = {
            "nobody": GuardedRetriever(index, defenses),
            "audit": GuardedRetriever(index, defenses, observers=Observers([AuditLog(bare)])),
            "everything": GuardedRetriever(index, defenses, observers=everything),
        }
        ms: dict[str, list[float]] = {name: [] for name in guards}
        busy: dict[str, list[float]] = {name: [] for name in guards}
        for turn in range(ROUNDS):
            order = [*guards.items()][turn % 3 :] + [*guards.items()][: turn % 3]  # none is always the first to meet a query
            for query in queries:
                encode_one_query(encoder, query)
                for observed, guard in order:
                    ms[observed].append(milliseconds(lambda guard=guard, query=query: guard.retrieve(query, K)))  # type: ignore[misc]
                    _flush(guard)  # what is written of one is not to be paid by the next
            for observed, guard in order:
                busy[observed].append(milliseconds(lambda guard=guard: _all(guard, queries)))  # type: ignore[misc]
        texts = Observers([AuditLog(whole, texts=True)])
        guarded = GuardedRetriever(index, defenses, observers=texts)
        for query in queries:
            guarded.retrieve(query, K)
        texts.flush(60)
        again = _again(Path(made), encoder, documents, defenses)
        known = {one.id: one for one in (*documents, *planted)}
        asked = {content_key(query): query for query in queries}
        numbers = summarise([path])
        replayed = summarise([path], again, known, asked)
        alone = summarise([whole], again)
        records = 2 * len(queries) * ROUNDS
        row = {
            "dataset": name,
            "queries": len(queries),
            "records": records,
            "ms": {observed: round(median(times), 2) for observed, times in ms.items()},
            **{f"{one}_over_nobody": round(median(_ratios(ms[one], ms["nobody"])), 3) for one in ("audit", "everything")},
            **{f"{one}_busy": round(median(_ratios(busy[one], busy["nobody"])), 3) for one in ("audit", "everything")},
            "unrecorded": everything.lost + everything.failed,
            "bytes_a_record": path.stat().st_size // records,
            "bytes_with_texts": whole.stat().st_size // len(queries),
            "from_numbers": _came_out(numbers),
            "from_corpus": _came_out(replayed),
            "from_texts_in_the_record": _came_out(alone),
        }
        print(row)
        return row


def _all(guard: GuardedRetriever, queries: Sequence[str]) -> None:
    """One after another, without a pause, and what is to be written of them."""
    for query in queries:
        guard.retrieve(query, K)
    _flush(guard)


def _flush(guard: GuardedRetriever) -> None:
    if guard.observers is not None:
        guard.observers.flush(60)


def _again(folder: Path, encoder: CachedEncoder, documents: Sequence[Document], defenses: Sequence[Defense]) -> list[Defense]:
    """The same guard from its file, as another process has it."""
    guard = next(one for one in defenses if isinstance(one, CalibratedGuard))
    guard.save(folder / "guard.json")
    quotas = [one for one in defenses if isinstance(one, SourceQuota)]
    return [CalibratedGuard.load(folder / "guard.json", encoder, documents), *quotas]


def _came_out(found: Summary) -> dict[str, Any]:
    return {"flaws": found.flawed, "decided": dict(found.replayed), "otherwise": found.different}


def _ratios(ours: Sequence[float], base: Sequence[float]) -> list[float]:
    return [a / b for a, b in zip(ours, base, strict=True)]


if __name__ == "__main__":
    print(measure())
