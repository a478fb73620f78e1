"""What the ingestion gate finds of planted documents, and what share of honest ones it flags and quarantines."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from pathlib import Path
from statistics import fmean
from typing import Any

import numpy as np

from ragguard import attacks
from ragguard.attacks import Attack, Budget, Target, ThreatModel
from ragguard.attacks.prepared import Prepared
from ragguard.encoders import OFFLINE_MODEL, SentenceTransformerEncoder
from ragguard.evaluation import datasets, report
from ragguard.evaluation.datasets import Dataset
from ragguard.gate import Gate, GateSettings
from ragguard.gate.query_log import QueryLog
from ragguard.types import Document

FOLDERS = ("nq_dev", "msmarco_dev", "hotpot_dev", "scifact")
SEED, TARGETS, BUDGET, FLAGGED, DRAWS = 0, 20, Budget(3), 0.01, 1
WRITTEN = ("poisonedrag-blackbox(Q.+I)", "garag-typo", "poisonedrag-llm:gpt4")
"""Texts that come with the dataset: a copied question with a lie, honest answers with typing errors, lies alone."""
LOGGED = 100
"""Queries of the log, those under attack among them."""
SHARED, ASKED = 220, 20
"""Honest documents on either side, and planted ones, where a log is used: each is embedded."""
AMONG = 10
"""Planted documents in a corpus that is judged by itself, about one in a hundred."""


def measure() -> dict[str, Any]:
    """Rows by attack, and of honest documents by dataset; empty without data."""
    folder = os.environ.get("RAGGUARD_DATA", "")
    if not folder:
        return {}
    dataset = datasets.load(Path(folder) / FOLDERS[0])
    model = SentenceTransformerEncoder.offline(progress=False)
    targets = datasets.targets(dataset, TARGETS, SEED)
    shared = _halves(dataset.documents, SEED)
    made = {attack.name: attack(aimed, BUDGET) for attack, aimed in _attacks(dataset, shared[1], targets)}
    made["honest"] = []
    gate = Gate(shared[0], trusted=True, settings=GateSettings(max_flagged=FLAGGED))
    others = datasets.others(dataset, targets, LOGGED - TARGETS, SEED)
    log = QueryLog([*(one.query for one in targets), *others], model)
    logged = Gate(shared[0][:SHARED], trusted=True, settings=GateSettings(max_flagged=FLAGGED), log=log)
    rows = []
    for name, planted in made.items():
        row = {
            "attack": name,
            "trusted": _found(gate, planted or shared[1]),
            "with_log": _found(logged, planted[:ASKED] or shared[1][:SHARED]),
            "itself": _itself(shared[1], planted[:AMONG]),
        }
        rows.append(row)
        print(row, flush=True)
    return report.about(
        dataset=FOLDERS[0],
        seed=SEED,
        encoder=OFFLINE_MODEL,
        targets=TARGETS,
        documents_each=BUDGET.documents,
        max_flagged=FLAGGED,
        trusted="half of the corpus is the yardstick; the other half and the planted documents come in",
        with_log=f"{SHARED} documents are the yardstick; {LOGGED} queries, those under attack among them",
        itself=f"half of the corpus with {AMONG} planted documents in it, 1 % assumed to be poison",
        rows=rows,
        honest=[row for name in FOLDERS for row in _honest(name, datasets.load(Path(folder) / name).documents)],
    )


def _attacks(
    dataset: Dataset, passages: Sequence[Document], targets: Sequence[Target]
) -> Iterable[tuple[Attack, Sequence[Target]]]:
    plain: list[Attack] = [
        attacks.QueryCopy(passages, seed=SEED),
        attacks.QueryCopy(passages, places=("spread",) * 3, seed=SEED),
        attacks.KeywordStuffing(passages, seed=SEED),
        *(attacks.HiddenText(passages, style=style, seed=SEED) for style in ("zero-width", "joiner", "bidi", "diacritic")),
        *(attacks.HiddenText(passages, style=style, seed=SEED) for style in ("homoglyph", "html")),
        attacks.PromptInjection(passages, style="plain", seed=SEED),
        attacks.PromptInjection(passages, style="chat-template", seed=SEED),
        attacks.Sybil(seed=SEED),
    ]
    for attack in plain:
        yield attack, targets
    for name in WRITTEN:
        texts: dict[str, list[str]] = {}
        for one in dataset.attack_texts:
            if one.attack == name:
                texts.setdefault(one.query_id, []).append(one.text)
        written = Prepared(name, "B", ThreatModel(knows=("query", "answer")), texts)
        yield written, [target for target in targets if len(texts.get(target.id, ())) >= BUDGET.documents]


def _halves(documents: Sequence[Document], seed: int) -> tuple[list[Document], list[Document]]:
    order = np.random.default_rng(seed).permutation(len(documents)).tolist()
    return [documents[i] for i in order[: len(order) // 2]], [documents[i] for i in order[len(order) // 2 :]]


def _found(gate: Gate, documents: Sequence[Document]) -> dict[str, Any]:
    """Shares of documents that are flagged or quarantined, quarantined, and by which signals."""
    return _shares(one.verdict.action for one in gate.judge(documents))


def _itself(documents: Sequence[Document], planted: Sequence[Document]) -> dict[str, Any]:
    gate = Gate([*documents, *planted], trusted=False, settings=GateSettings(max_flagged=FLAGGED))
    mine = {one.id for one in planted or documents}
    return _shares(one.verdict.action for one in gate.judge() if one.document.id in mine)


def _honest(name: str, documents: Sequence[Document]) -> list[dict[str, Any]]:
    rows = []
    for seed in range(DRAWS):
        first, second = _halves(documents, seed)
        rows.append(_found(Gate(first, trusted=True, settings=GateSettings(max_flagged=FLAGGED, seed=seed)), second))
    row = {"dataset": name, "documents": len(documents), **{key: round(fmean(one[key] for one in rows), 4) for key in rows[0]}}
    print(row, flush=True)
    return [row]


def _shares(actions: Iterable[str]) -> dict[str, Any]:
    every = list(actions)
    found = [action for action in every if action != "admit"]
    return {
        "of": len(every),
        "found": round(len(found) / len(every), 4),
        "quarantined": round(found.count("quarantine") / len(every), 4),
    }
