"""The demo's cast: its corpus, three attacks, and the defenses of the paper and the default guard against them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from ragguard.attacks import Attack, Budget, Prepared, QueryCopy, ThreatModel
from ragguard.defenses import RAGMask, RAGPart, default_guard, prepare
from ragguard.encoders import OFFLINE_MODEL, SentenceTransformerEncoder
from ragguard.evaluation import datasets, report
from ragguard.evaluation.cache import CachedEncoder
from ragguard.evaluation.example import Example
from ragguard.evaluation.experiment import Experiment, System, steps
from ragguard.evaluation.metrics import Row, rows
from ragguard.index import DenseIndex
from ragguard.retriever import GuardedRetriever

BUDGET = Budget(documents=1)
DATA = Path(__file__).parent / "data"
LOSS = 0.05
"""Of clean questions: the least that the demo's own can calibrate."""


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
    example: Example


def total_steps(questions: int) -> int:
    """How often `play` calls `step`."""
    return 3 + steps(attacks=3, systems=4, targets=questions)


def play(*, questions: int, k: int, seed: int, step: Callable[[str], None]) -> Outcome:
    """Poison the demo corpus and measure, with the real model.

    Args:
        questions: How many of the corpus's questions are attacked, drawn with the seed.
        k: Results per question.
        seed: Of the draw and the attacks.
        step: Called with a sentence before each part of the work.
    """
    dataset = datasets.load(DATA)
    targets = datasets.targets(dataset, questions, seed)
    step("loading the model")
    model = SentenceTransformerEncoder.offline(progress=False)
    encoder = CachedEncoder(model)
    step(f"embedding {len(dataset.documents)} passages")
    index = DenseIndex(encoder)
    index.add(dataset.documents)
    ragpart, ragmask = RAGPart.paper(encoder), RAGMask(encoder)
    step("calibrating on the other questions")
    others = datasets.others(dataset, targets, len(dataset.queries), seed)
    guard = default_guard(encoder, index, dataset.documents, others, k=k, max_clean_query_loss=LOSS)
    systems = [
        System("none", lambda over: over, depth=1),
        System("RAGPart", partial(GuardedRetriever, defenses=[ragpart]), ragpart.prepare, depth=2 * k),
        System("RAGMask", partial(GuardedRetriever, defenses=[ragmask]), ragmask.prepare, depth=2 * k),
        System("default guard", partial(GuardedRetriever, defenses=guard), partial(prepare, guard), depth=2 * k),
    ]
    experiment = Experiment(index, encoder, targets, systems, k=k, timed=4, ingested=1, step=step)
    clean = experiment.clean()
    trials = [experiment.under(attack, BUDGET) for attack in _attacks(dataset, seed)]
    result_rows = rows(clean, trials, dataset.relevant, k, seed)
    details = report.about(
        dataset="the demo corpus",
        documents=len(dataset.documents),
        questions=questions,
        budget=BUDGET.documents,
        k=k,
        attacks={trial.attack: {"family": trial.family, "threat": trial.threat} for trial in trials},
        seed=seed,
        encoder=OFFLINE_MODEL,
        device=model.device,
        defenses={
            "RAGPart": ragpart.name,
            "RAGMask": ragmask.name,
            "default guard": " + ".join(defense.name for defense in guard),
        },
    )
    example = next(trial.example for trial in trials if trial.example)
    return Outcome(tuple(result_rows), details, tuple(report.shortcomings(result_rows)), example)


def _attacks(dataset: datasets.Dataset, seed: int) -> list[Attack]:
    once = QueryCopy(dataset.documents, places=("front",), seed=seed)
    once.name = "query copied"
    twice = QueryCopy(dataset.documents, places=("front", "end"), seed=seed)
    twice.name = "query twice"
    lies = {text.query_id: [text.text] for text in dataset.attack_texts}
    return [once, twice, Prepared("fluent lie", "B", ThreatModel(knows=("query", "answer")), lies)]
