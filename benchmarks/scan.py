"""What the ingestion gate finds of planted documents, and what share of honest ones it flags and quarantines."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from statistics import fmean
from typing import Any

import numpy as np

from benchmarks.compare_defenses import CACHE
from ragguard import attacks
from ragguard.attacks import Attack, Budget, Target, ThreatModel
from ragguard.attacks.prepared import Prepared
from ragguard.encoders import OFFLINE_MODEL, SentenceTransformerEncoder
from ragguard.encoders.vectors import encode_documents, encode_one_query
from ragguard.evaluation import datasets, report
from ragguard.evaluation.cache import CachedEncoder, TextCache
from ragguard.evaluation.datasets import Dataset
from ragguard.gate import Gate, GateSettings
from ragguard.gate.query_log import QueryLog
from ragguard.index import DenseIndex
from ragguard.types import Document

FOLDERS = ("nq_dev", "msmarco_dev", "hotpot_dev", "scifact")
SEED, TARGETS, BUDGET, FLAGGED, DRAWS = 0, 20, Budget(3), 0.01, 4
WRITTEN = ("poisonedrag-blackbox(Q.+I)", "garag-typo", "poisonedrag-llm:gpt4")
"""Texts that come with the dataset: a copied question with a lie, honest answers with typing errors, lies alone."""
LOGGED = 100
"""Queries of the log, those under attack among them."""
SHARED, ASKED = 220, 20
"""Honest documents on either side, and planted ones, where a log is used: each is embedded."""
OPTIMISED = 5
"""Queries that words are optimised for by gradients: minutes of a core's time."""
CALLS, K = (10, 100, 1000), 10
"""Documents that an attacker who knows the gate tries for each query, and results among which one must be."""
BATCHES = 10
"""Honest documents come in batches of a tenth of what is trusted, for which the share is promised."""
AMONG = 10
"""Planted documents in a corpus that is judged by itself, about one in a hundred."""


def measure() -> dict[str, Any]:
    """Rows by attack, and of honest documents by dataset; empty without data."""
    folder = os.environ.get("RAGGUARD_DATA", "")
    if not folder:
        return {}
    dataset = datasets.load(Path(folder) / FOLDERS[0])
    weights = SentenceTransformerEncoder.offline(progress=False)
    model = CachedEncoder(weights, CACHE)
    targets = datasets.targets(dataset, TARGETS, SEED)
    shared = _halves(dataset.documents, SEED)
    made = {attack.name: attack(aimed, BUDGET) for attack, aimed in _attacks(dataset, shared[1], targets, weights)}
    made["honest"] = []
    gate = Gate(shared[0], trusted=True, settings=GateSettings(max_flagged=FLAGGED))
    others = datasets.others(dataset, targets, LOGGED - TARGETS, SEED)
    log = QueryLog([*(one.query for one in targets), *others], model)
    logged, again = (
        Gate(shared[0][:SHARED], trusted=True, settings=GateSettings(max_flagged=FLAGGED, seed=seed), log=log)
        for seed in (SEED, SEED + 1)
    )
    other = Gate(shared[0], trusted=True, settings=GateSettings(max_flagged=FLAGGED, seed=SEED + 1))
    index = DenseIndex(model)
    index.add(dataset.documents)
    adaptive = [
        {"gate": kind, **row}
        for kind, pair in {"trusted": (gate, other), "with_log": (logged, again)}.items()
        for row in _adaptive(*pair, index, shared[1], targets)
    ]
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
        adaptive=adaptive,
        honest=[row for name in FOLDERS for row in _honest(name, datasets.load(Path(folder) / name).documents)],
    )


def _attacks(
    dataset: Dataset, passages: Sequence[Document], targets: Sequence[Target], weights: SentenceTransformerEncoder
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
    kept = TextCache(CACHE)
    yield attacks.HotFlip(weights, passages, cache=kept, seed=SEED), targets[:OPTIMISED]
    yield attacks.GASLITE(weights, passages, cache=kept, seed=SEED), targets[:OPTIMISED]
    yield attacks.GASLITE(weights, passages, words=32, places=("spread",), cache=kept, seed=SEED), targets[:OPTIMISED]
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


def _adaptive(
    gate: Gate, other: Gate, index: DenseIndex, passages: Sequence[Document], targets: Sequence[Target]
) -> Iterator[dict[str, Any]]:
    """Rows by calls: shares of targets whose document is admitted, retrieved, both, and both by a gate of another draw."""
    spent: list[str] = []

    def excess(text: str) -> float:
        spent.append(text)
        return _excess(gate, text)

    for calls in CALLS:
        spent.clear()
        attack = attacks.EvadeGate([one.text for one in passages], index, index.encoder, excess, calls=calls, k=K, seed=SEED)
        made = [one.text for one in attack(targets, Budget(1))]
        admitted = [_excess(gate, text) <= 0 for text in made]
        found = [_found_by(index, target.query, text) for target, text in zip(targets, made, strict=True)]
        both = [one and two for one, two in zip(admitted, found, strict=True)]
        moved = [one and _excess(other, text) <= 0 for one, text in zip(both, made, strict=True)]
        row = {
            "calls": calls,
            "spent": round(len(spent) / len(targets), 1),
            **{name: fmean(each) for name, each in {"admitted": admitted, "found": found, "both": both, "moved": moved}.items()},
        }
        print(row, flush=True)
        yield row


def _excess(gate: Gate, text: str) -> float:
    (judged,) = gate.judge([Document("planted", text)])
    suspicion = judged.verdict.suspicion
    return float("inf") if suspicion is None else suspicion - gate.yardstick.threshold


def _found_by(index: DenseIndex, query: str, text: str) -> bool:
    near = float(encode_documents(index.encoder, [text])[0] @ encode_one_query(index.encoder, query))
    return near > index.retrieve(query, K)[-1].score


def _itself(documents: Sequence[Document], planted: Sequence[Document]) -> dict[str, Any]:
    gate = Gate([*documents, *planted], trusted=False, settings=GateSettings(max_flagged=FLAGGED))
    mine = {one.id for one in planted or documents}
    return _shares(one.verdict.action for one in gate.judge() if one.document.id in mine)


def _honest(name: str, documents: Sequence[Document]) -> list[dict[str, Any]]:
    rows = []
    for seed in range(DRAWS):
        first, second = _halves(documents, seed)
        gate = Gate(first, trusted=True, settings=GateSettings(max_flagged=FLAGGED, seed=seed))
        size = len(first) // BATCHES
        batches = [second[i : i + size] for i in range(0, len(second), size)]
        rows.append(_shares(one.verdict.action for batch in batches for one in gate.judge(batch)))
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
