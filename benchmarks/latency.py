"""What defenses and peers add to a query nobody asked before, evidence prepared, and to ingestion; on the demo corpus."""

from __future__ import annotations

from statistics import median
from typing import Any

from benchmarks.compare_defenses import GMTP, PAPER, PEERS
from ragguard.demo.scenario import DATA
from ragguard.encoders import OFFLINE_MODEL, SentenceTransformerEncoder
from ragguard.evaluation import datasets, report
from ragguard.evaluation.cache import CachedEncoder, TextCache
from ragguard.evaluation.experiment import INGESTED, Experiment
from ragguard.evaluation.registry import OVERFETCH, Bench, build_system
from ragguard.index import DenseIndex

K, QUERIES = 10, 30
DEFAULT = "default(max_clean_query_loss=0.05)"
"""There are too few queries for 2 %; the share does not change the work."""


def measure() -> dict[str, Any]:
    """Median times, all systems interleaved query by query; query encoding is in the ratio's both sides."""
    dataset = datasets.load(DATA)
    model = SentenceTransformerEncoder.offline()
    encoder = CachedEncoder(model)
    index = DenseIndex(encoder)
    index.add(dataset.documents)
    targets = datasets.targets(dataset, QUERIES)
    others = datasets.others(dataset, targets, len(dataset.queries))
    bench = Bench(dataset, encoder, model, TextCache(), others, index, K, seed=0)
    systems = [build_system(spec, bench) for spec in ("none", DEFAULT, *PAPER, *PEERS, GMTP)]
    trial = Experiment(index, encoder, targets, systems, k=K, timed=QUERIES).clean()
    ms = {name: median(answer.ms or 0.0 for answer in answers) for name, answers in trial.answers.items()}
    base = trial.encoding_ms + ms["none"]
    found = [
        {
            "defense": name,
            "added_ms": round(ms[name] - ms["none"], 2),
            "guarded_over_unguarded": round((base + ms[name] - ms["none"]) / base, 3),
            "ingestion_over_embedding": trial.ingest_ratio[name],
        }
        for name in ms
        if name != "none"
    ]
    for one in found:
        print(one)
    return report.about(
        dataset="the demo corpus",
        seed=0,
        encoder=OFFLINE_MODEL,
        queries=QUERIES,
        candidates=f"{OVERFETCH * K}; of peers that judge what is read, {K}",
        documents_ingested=INGESTED,
        encoding_ms=trial.encoding_ms,
        defenses=found,
    )
