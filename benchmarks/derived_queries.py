"""What a guard loses that is calibrated on queries derived from documents, against one calibrated on real queries."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from benchmarks.compare_defenses import CACHE, PARAPHRASES, RESULTS, ROOT
from ragguard.attacks import Budget, Target
from ragguard.calibration.derived import derived_queries, enough
from ragguard.defenses import CalibratedGuard
from ragguard.encoders import OFFLINE_MODEL, SentenceTransformerEncoder
from ragguard.evaluation import datasets, report
from ragguard.evaluation.bench import OTHERS
from ragguard.evaluation.cache import CachedEncoder, TextCache
from ragguard.evaluation.experiment import Experiment, System
from ragguard.evaluation.files import write_whole
from ragguard.evaluation.metrics import Row, rows
from ragguard.evaluation.registry import OVERFETCH, Bench, build_attacks
from ragguard.evaluation.sources import with_sources
from ragguard.evidence import MemoryStore
from ragguard.index import DenseIndex
from ragguard.retriever import GuardedRetriever, GuardPolicy

PARTS = ROOT / "out" / "derived"
K, SEED, TARGETS, LOSS = 10, 0, 20, 0.02
DATASETS = {"nq_dev": 600, "msmarco_dev": 80}
"""And how many real queries calibrate. msmarco_dev has a hundred queries in all."""
ATTACKS = {"nq_dev": ("query-copy", "hotflip", "gaslite"), "msmarco_dev": ("query-copy", "poisonedrag")}
"""Gradient attacks where their triggers were optimised for other benchmarks already: they take hours."""


def measure(folder: Path, name: str, count: int) -> list[dict[str, Any]]:
    """The guards on one dataset."""
    found = datasets.load(folder / name)
    dataset = replace(found, documents=tuple(with_sources(found.documents, SEED)))
    model = SentenceTransformerEncoder.offline(progress=False)
    encoder = CachedEncoder(model, CACHE)
    ids = list(datasets.load_paraphrases(PARAPHRASES))[:TARGETS] if name == "nq_dev" else []
    targets = [datasets.target(dataset, one) for one in ids] or datasets.targets(dataset, TARGETS, SEED)
    others = datasets.others(dataset, targets, OTHERS, SEED)
    index = DenseIndex(encoder)
    index.add(dataset.documents)
    bench = Bench(dataset, encoder, model, TextCache(CACHE), others, index, K, SEED)
    store = MemoryStore()
    make = partial(CalibratedGuard.calibrated, encoder, index, dataset.documents, k=K, max_clean_query_loss=LOSS, store=store)
    derived = derived_queries(dataset.documents, enough(LOSS), SEED)
    encoder.encode_query([*dataset.queries.values(), *(query.text for query in derived)])  # in large batches
    guards = {"real": make(others[:count]), "derived": make(derived)}
    print(f"{name}: calibrated", flush=True)
    unseen = [query for query in dataset.queries.values() if query not in set(others[:count])]
    policy = GuardPolicy(overfetch=OVERFETCH, max_overfetch=OVERFETCH)
    systems = [System(name, partial(GuardedRetriever, defenses=[g], policy=policy), g.prepare) for name, g in guards.items()]
    attacked = _under_attack(bench, encoder, targets, systems, ATTACKS[name])
    answers = []
    for kind, guard in guards.items():
        guarded = GuardedRetriever(index, [guard], policy)
        asked = unseen if kind == "real" or len(unseen) >= 300 else list(dataset.queries.values())
        harmed = sum(bool(guarded.retrieve(query, K).lost) for query in asked)
        answers.append(
            {
                "dataset": name,
                "queries": kind,
                "calibrated_on": count if kind == "real" else sum(len(x) for x in _calibrated_on(guard)),
                "threshold": round(guard.threshold, 3),
                "clean_queries": len(asked),
                "harmed": round(harmed / len(asked), 4),
                "asr": {row.attack: row.asr for row in attacked if row.defense == kind},
                "sr": {row.attack: row.sr for row in attacked if row.defense == kind},
            }
        )
        print(answers[-1], flush=True)
    return answers


def _calibrated_on(guard: CalibratedGuard) -> tuple[Sequence[float], Sequence[float]]:
    return next(iter(guard.calibration.scales.values())).maxima, guard.calibration.maxima


def _under_attack(
    bench: Bench, encoder: CachedEncoder, targets: Sequence[Target], systems: Sequence[System], specs: Sequence[str]
) -> list[Row]:
    experiment = Experiment(bench.corpus, encoder, targets, systems, k=K, timed=1, ingested=10)
    clean = experiment.clean()
    trials = [experiment.under(attack, Budget(3)) for spec in specs for attack in build_attacks(spec, bench)]
    return rows(clean, trials, bench.dataset.relevant, K, SEED)


def main() -> None:
    """Measure on the datasets named on the command line, or on all, and write the result once all are there."""
    folder = os.environ.get("RAGGUARD_DATA", "")
    if not folder:
        raise SystemExit("set RAGGUARD_DATA to a folder of datasets in BEIR layout")
    for name in sys.argv[1:] or DATASETS:
        write_whole(PARTS / f"{name}.json", json.dumps(measure(Path(folder), name, DATASETS[name]), indent=1))
    if not all((PARTS / f"{name}.json").exists() for name in DATASETS):
        return
    found = [row for name in DATASETS for row in json.loads((PARTS / f"{name}.json").read_text())]
    details = report.about(
        dataset=list(DATASETS), seed=SEED, encoder=OFFLINE_MODEL, k=K, max_clean_query_loss=LOSS, attacked=TARGETS, guards=found
    )
    write_whole(RESULTS / "derived_queries.json", json.dumps(details, indent=1) + "\n")


if __name__ == "__main__":
    main()
