"""The demo's cast: its corpus, three attacks, and the defenses of the paper against them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from ragguard.attacks import Attack, Budget, Prepared, QueryCopy, Target, ThreatModel
from ragguard.defenses import RAGMask, RAGPart
from ragguard.encoders import OFFLINE_MODEL, SentenceTransformerEncoder
from ragguard.evaluation import datasets, report
from ragguard.evaluation.experiment import Row, System, run, steps
from ragguard.index import DenseIndex
from ragguard.retriever import GuardedRetriever, GuardPolicy
from ragguard.store import MemoryStore

BUDGET = Budget(documents=1)
DATA = Path(__file__).parent / "data"


@dataclass(frozen=True)
class Outcome:
    """What the demo found.

    Attributes:
        rows: One for each attack and system.
        details: How it was measured.
        findings: What was not stopped, and what it cost.
        example: One question before and after.
    """

    rows: tuple[Row, ...]
    details: dict[str, Any]
    findings: tuple[str, ...]
    example: report.Example


def total_steps() -> int:
    """How often `play` calls `step`."""
    return 2 + steps(attacks=3, systems=4)


def play(*, questions: int, k: int, seed: int, step: Callable[[str], None]) -> Outcome:
    """Poison the demo corpus and measure, with the real model.

    Args:
        questions: How many of the corpus's questions are attacked, drawn with the seed.
        k: Results per question.
        seed: Of the draw and the attacks.
        step: Called with a sentence before each part of the work.
    """
    dataset = datasets.load(DATA)
    drawn = sorted(np.random.default_rng(seed).permutation(len(dataset.queries))[:questions].tolist())
    queries = [list(dataset.queries)[number] for number in drawn]
    step("loading the model")
    encoder = SentenceTransformerEncoder.offline(progress=False)
    step(f"embedding {len(dataset.documents)} passages")
    index = DenseIndex(encoder)
    index.add(dataset.documents)
    masks = MemoryStore()
    ragpart, ragmask, second = RAGPart.paper(encoder), RAGMask(encoder, store=masks), RAGMask(encoder, store=masks)
    few = GuardPolicy(overfetch=2)  # masks are dear: half as many candidates as RAGPart keep the demo short
    systems = [
        System("none", lambda over: over, depth=1),
        System("RAGPart", partial(GuardedRetriever, defenses=[ragpart]), ragpart.prepare, depth=4 * k),
        System("RAGMask", partial(GuardedRetriever, defenses=[ragmask], policy=few), ragmask.prepare, depth=2 * k),
        System("RAGPart + RAGMask", partial(GuardedRetriever, defenses=[ragpart, second], policy=few), depth=1),
    ]
    attacks = _attacks(dataset, seed)
    rows = run(dataset, index, attacks, systems, k=k, budget=BUDGET, queries=queries, step=step)
    details = report.about(
        dataset="the demo corpus",
        documents=len(dataset.documents),
        questions=len(queries),
        budget=BUDGET.documents,
        seed=seed,
        encoder=OFFLINE_MODEL,
        device=encoder.device,
        defenses={"RAGPart": ragpart.name, "RAGMask": ragmask.name},
    )
    example = _example(dataset, index, attacks[0], ragmask, queries, k)
    return Outcome(tuple(rows), details, tuple(report.shortcomings(rows)), example)


def _attacks(dataset: datasets.Dataset, seed: int) -> list[Attack]:
    once = QueryCopy(dataset.documents, places=("front",), seed=seed)
    once.name = "query copied"
    twice = QueryCopy(dataset.documents, places=("front", "end"), seed=seed)
    twice.name = "query twice"
    lies = {text.query_id: [text.text] for text in dataset.attack_texts}
    return [once, twice, Prepared("fluent lie", "B", ThreatModel(knows=("query", "answer")), lies)]


def _example(
    dataset: datasets.Dataset, index: DenseIndex, attack: Attack, defense: RAGMask, queries: list[str], k: int
) -> report.Example:
    """The first question whose attack ranks first undefended and fails guarded; the last one asked if there is none."""
    for query_id in queries:
        question = dataset.queries[query_id]
        planted = attack([Target(query_id, question)], BUDGET)
        index.add(planted)
        result = GuardedRetriever(index, [defense]).retrieve(question, k)
        index.delete([document.id for document in planted])
        ids = {document.id for document in planted}
        stopped = result.candidates[0].document.id in ids and any(hit.document.id in ids for hit in result.lost)
        answered = any(hit.document.id in dataset.relevant[query_id] for hit in result)
        if (stopped and answered) or query_id == queries[-1]:
            break
    marks = {document_id: verdict.spans for document_id in ids for verdict in result.verdicts_on(document_id)}
    relevant = dataset.relevant[query_id]
    return report.Example(
        question=question,
        answer=dataset.answers[query_id][0],
        before=report.show(result.candidates[:3], ids, relevant, marks),
        after=report.show(result.kept[:3], ids, relevant, {}),
        defense="RAGMask",
        reason=" ".join(verdict.reason for document_id in ids for verdict in result.verdicts_on(document_id)),
    )
