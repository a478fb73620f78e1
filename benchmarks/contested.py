"""Contested answers: how often they are said of clean queries, and of queries with fluent lies among the results (family B)."""

from __future__ import annotations

import os
import time
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import fmean, median, quantiles
from typing import Any

from benchmarks.scaling import wilson
from ragguard.evaluation import datasets, report
from ragguard.evaluation.bm25 import BM25Index
from ragguard.evaluation.datasets import Dataset
from ragguard.evaluation.sources import with_sources
from ragguard.retriever.contested import contests, wanted
from ragguard.text import canonical
from ragguard.types import Document, Hit

K, SEED, ALONE, TOGETHER, ATTACKER = 10, 0, 10, 5, "attacker"
LIES = ("poisonedrag-llm:gpt4", "poisonedrag-llm:gemini")
"""By the model that wrote them; some tell the truth, or refuse."""
DATASETS = ("nq_dev", "msmarco_dev", "hotpot_dev")
PARTS = ("development", "held out")
"""Queries alternate, those with lies and the others each on their own. Rules and shares were chosen on development queries, but
the held-out ones were looked at twice: at CONTEXT_SHARE .8, and at .85, which was kept."""


def measure() -> dict[str, Any]:
    """Rows by dataset, part and what was planted; found through RAGGUARD_DATA."""
    folder = os.environ.get("RAGGUARD_DATA", "")
    if not folder:
        return {}
    rows: list[dict[str, Any]] = []
    times: dict[bool, list[float]] = {True: [], False: []}
    for name in DATASETS:
        rows.extend(dataset_rows(datasets.load(Path(folder) / name), times))
    return report.about(
        dataset="+".join(DATASETS),
        k=K,
        seed=SEED,
        retriever="BM25; lies are put in front of its clean top 10, all from one hostile source",
        sources="ragguard.evaluation.sources.with_sources: fifty honest sources, shares by Zipf's law",
        one_lie=f"each of the first {ALONE} lies by itself, averaged within the query",
        flagged="a contest is stated; with lies planted, one in which the attacker is on a side",
        answerable="queries that ask for a number, a date, or yes or no, by their wording",
        because_of_the_lie="flagged, and the same query is not contested when nothing is planted",
        held_out="looked at twice, with CONTEXT_SHARE .8 and .85; the latter was kept",
        interval="Wilson, 95 %, over queries",
        milliseconds={
            "all queries": _spread(times[True] + times[False]),
            "answerable queries": _spread(times[True]),
        },
        rows=rows,
    )


def dataset_rows(dataset: Dataset, times: Mapping[bool, list[float]]) -> list[dict[str, Any]]:
    """Clean queries, those of them that lies are about, and these with lies, for each part."""
    index = BM25Index()
    index.add(with_sources(dataset.documents, SEED))
    top = {name: index.retrieve(query, K) for name, query in dataset.queries.items()}
    lies = {(text.query_id, text.attack): _lies(dataset, text.query_id, text.attack) for text in dataset.attack_texts}
    attacked = [name for name in dataset.queries if any((name, attack) in lies for attack in LIES)]
    spared = [name for name in dataset.queries if name not in attacked]
    rows = []
    for number, part in enumerate(PARTS):
        mine = attacked[number :: len(PARTS)]
        clean = {}
        for name in (*mine, *spared[number :: len(PARTS)]):
            start = time.perf_counter()
            found = contests(dataset.queries[name], top[name])
            took = (time.perf_counter() - start) * 1000
            times[wanted(dataset.queries[name]) is not None].append(took)
            clean[name] = float(bool(found))
        about = {"dataset": dataset.name, "part": part}
        rows.append({**about, "queries": "all", "planted": "nothing", **_row(dataset, clean)})
        rows.append(
            {**about, "queries": "with lies", "planted": "nothing", **_row(dataset, {name: clean[name] for name in mine})}
        )
        for attack in LIES:
            one, five = {}, {}
            for name in mine:
                planted, query = lies.get((name, attack), []), dataset.queries[name]
                one[name] = fmean([_seen(query, [lie, *top[name]]) for lie in planted[:ALONE]] or [0.0])
                five[name] = float(_seen(query, [*planted[:TOGETHER], *top[name]]))
            for planted_as, seen in ((f"one of {attack}", one), (f"{TOGETHER} of {attack}", five)):
                new = {name: share * (1 - clean[name]) for name, share in seen.items()}
                because = _row(dataset, new)["answerable"]
                row = {**about, "queries": "with lies", "planted": planted_as, **_row(dataset, seen)}
                rows.append({**row, "answerable_because_of_the_lie": because})
    for row in rows:
        print(row)
    return rows


def _lies(dataset: Dataset, query_id: str, attack: str) -> list[Hit]:
    texts = [text.text for text in dataset.attack_texts if (text.query_id, text.attack) == (query_id, attack)]
    return [Hit(Document(f"lie/{i}", canonical(text).text, {"source": ATTACKER}), 1e3 - i) for i, text in enumerate(texts)]


def _seen(query: str, hits: Sequence[Hit]) -> bool:
    return any(ATTACKER in side.sources for contest in contests(query, hits) for side in contest.sides)


def _row(dataset: Dataset, flagged: Mapping[str, float]) -> dict[str, Any]:
    """Shares of all queries, of the answerable ones, and by what they ask for; nothing else can be flagged."""
    kinds: dict[str, list[float]] = defaultdict(list)
    for name, share in flagged.items():
        kinds[wanted(dataset.queries[name]) or "nothing that is compared"].append(share)
    answerable = [share for kind, shares in kinds.items() for share in shares if kind != "nothing that is compared"]
    return {
        **_share(list(flagged.values())),
        "answerable": _share(answerable),
        "by_kind": {kind: {"of": len(shares), "flagged": round(sum(shares), 1)} for kind, shares in sorted(kinds.items())},
    }


def _share(flagged: Sequence[float]) -> dict[str, Any]:
    if not flagged:
        return {"of": 0}
    share = fmean(flagged)
    return {"of": len(flagged), "share": round(share, 4), "interval": wilson(share, len(flagged))}


def _spread(times: Sequence[float]) -> dict[str, float]:
    return {"median": round(median(times), 3), "p95": round(quantiles(times, n=20)[-1], 3), "mean": round(fmean(times), 3)}
