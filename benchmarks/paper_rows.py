"""RAGPart and RAGMask under the paper's protocol: three random documents poisoned per question, top 10."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from ragguard.attacks import Attack, Budget, QueryCopy
from ragguard.defenses import RAGMask, RAGPart
from ragguard.defenses.ragpart_search import RAGPartSearch
from ragguard.encoders import OFFLINE_MODEL, SentenceTransformerEncoder
from ragguard.evaluation import datasets, experiment, metrics, report
from ragguard.evaluation.cache import CachedEncoder
from ragguard.evidence import MemoryStore
from ragguard.index import DenseIndex
from ragguard.protocols import Encoder
from ragguard.retriever import GuardedRetriever, GuardPolicy

K = 10
QUESTIONS = 100
CACHE = Path(__file__).parents[1] / ".cache" / "embeddings"
BUDGET = Budget(documents=3)


def attacks(dataset: datasets.Dataset, seed: int = 0) -> list[Attack]:
    """The question copied once, in the middle, twice, and into every fragment."""
    return [
        QueryCopy(dataset.documents, places=("front",), seed=seed),
        QueryCopy(dataset.documents, places=("middle",), seed=seed),
        QueryCopy(dataset.documents, places=("front", "end"), seed=seed),
        QueryCopy(dataset.documents, places=("every-fragment",), seed=seed),
    ]


def ragpart_systems(encoder: Encoder) -> list[experiment.System]:
    """No defense, and RAGPart over the whole corpus in three settings that share their fragments."""
    store = MemoryStore()
    settings = [
        RAGPart.paper(encoder, store=store),
        RAGPart(encoder, n=5, k=2, min_share=0.5, store=store),
        RAGPart(encoder, n=5, k=1, store=store),
    ]
    return [
        experiment.System("none", lambda index: index),
        *(experiment.System(one.name, partial(RAGPartSearch, defense=one), one.prepare) for one in settings),
    ]


def ragmask_systems(encoder: Encoder) -> list[experiment.System]:
    """RAGMask with single spans, as in the paper, and with groups; candidates are the top 20."""
    store = MemoryStore()
    policy = GuardPolicy(overfetch=2, max_overfetch=2)
    settings = [RAGMask(encoder, group_similarity=None, store=store), RAGMask(encoder, store=store)]
    return [experiment.System(one.name, partial(GuardedRetriever, defenses=[one], policy=policy)) for one in settings]


def rows(
    folder: Path,
    systems: Callable[[Encoder], Sequence[experiment.System]],
    encoder: CachedEncoder,
    step: Callable[[str], None] = lambda _: None,
) -> list[metrics.Row]:
    """Run the protocol on the first hundred questions with answers of a dataset."""
    dataset = datasets.load(folder)
    questions = [query_id for query_id in dataset.queries if query_id in dataset.answers][:QUESTIONS]
    targets = [datasets.target(dataset, query_id) for query_id in questions]
    step(f"embedding {len(dataset.documents)} documents")
    index = DenseIndex(encoder)
    index.add(dataset.documents)
    running = experiment.Experiment(index, encoder, targets, systems(encoder), k=K, step=step)
    clean = running.clean()
    trials = [running.under(attack, BUDGET) for attack in attacks(dataset)]
    return metrics.rows(clean, trials, dataset.relevant, K)


def measure() -> dict[str, Any]:
    """The rows on nq_dev, found through RAGGUARD_DATA."""
    folder = os.environ.get("RAGGUARD_DATA", "")
    if not folder:
        return {}
    encoder = CachedEncoder(SentenceTransformerEncoder.offline(), CACHE)
    found = rows(Path(folder) / "nq_dev", lambda e: [*ragpart_systems(e), *ragmask_systems(e)], encoder)
    for row in found:
        print(f"{row.attack:26} {row.defense:30} ASR@{K} {row.asr:.2f}  SR@{K} {row.sr:.2f}  clean {row.clean_sr:.2f}")
    return report.about(
        dataset="nq_dev",
        questions=QUESTIONS,
        documents_per_question=BUDGET.documents,
        seed=0,
        encoder=OFFLINE_MODEL,
        rows=found,
    )
