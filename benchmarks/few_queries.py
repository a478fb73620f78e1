"""What is stopped, and what is harmed, by a guard that few queries calibrate; over random draws of these queries.

Each dataset is scored once. What a guard learns from the corpus does not depend on its queries, so that a draw costs a sort. The
score of version 0.1, whose scales come from the first of the same queries, stands beside it.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.compare_defenses import CACHE, RESULTS, ROOT
from ragguard.calibration import Calibration, all_of, parts, scale, suspicions
from ragguard.calibration.derived import derived_queries
from ragguard.calibration.self_attacks import FORMS
from ragguard.defenses.base import judgeable
from ragguard.defenses.calibrating import SIGNALS, build
from ragguard.defenses.learning import REFERENCES, Planting, Scorer, learn, reference_queries
from ragguard.encoders import OFFLINE_MODEL, SentenceTransformerEncoder
from ragguard.encoders.vectors import encode_one_query
from ragguard.evaluation import datasets, report
from ragguard.evaluation.cache import CachedEncoder
from ragguard.evaluation.files import write_whole
from ragguard.index import DenseIndex
from ragguard.language.corpus import CorpusModel
from ragguard.signals import Profiles
from ragguard.text import canonical
from ragguard.types import Document

PARTS = ROOT / "out" / "few_queries"
K, SEED, LOSS, DRAWS, TARGETS = 10, 0, 0.02, 200, 60
SIZES = (59, 75, 100, 200, 400)
MOST = 500
"""Queries of a dataset, at most; drawn at random."""

FAQ, WORDS = 560, (30, 120)
"""Entries of the FAQ that is made of nq_dev, and words that their answers have."""

STOP = (
    "|a|an|the|of|in|on|at|to|for|is|are|was|were|be|been|do|does|did|what|which|who|whom|when|where|why|how|and|or|by|with|from|as"
    "|that|this|it|its|"
)
ECHOING = (0.0, 0.02, 0.04, 0.08)
"""Shares of msmarco_dev's queries for which an honest document that holds the query word for word is added."""

Scores = Mapping[str, NDArray[np.float64]]


@dataclass(frozen=True)
class Case:
    """A corpus and its clean queries.

    Attributes:
        documents: The corpus.
        calibrating: Queries that calibrate.
        live: Queries that are asked, where these are others.
    """

    documents: Sequence[Document]
    calibrating: Sequence[str]
    live: Sequence[str] | None = None


def plain(name: str) -> Callable[[Path], Case]:
    """A dataset as it is."""

    def load(folder: Path) -> Case:
        dataset = datasets.load(folder / name)
        queries = list(dict.fromkeys(dataset.queries.values()))
        drawn = np.random.default_rng(SEED).permutation(len(queries))[:MOST]
        return Case(dataset.documents, [queries[i] for i in drawn])

    return load


def keywords(share: float) -> Callable[[Path], Case]:
    """msmarco_dev, with honest documents on the subject that hold a query word for word: its own, with the query as a heading."""

    def load(folder: Path) -> Case:
        dataset = datasets.load(folder / "msmarco_dev")
        by_id = {document.id: document for document in dataset.documents}
        ids = [name for name in dataset.queries if any(one in by_id for one in dataset.relevant.get(name, ()))]
        drawn = np.random.default_rng(SEED).permutation(len(ids))[: round(share * len(ids))]
        added = []
        for i in drawn.tolist():
            own = by_id[next(one for one in sorted(dataset.relevant[ids[i]]) if one in by_id)]
            added.append(Document(f"{own.id}-page", f"{dataset.queries[ids[i]]}\n{own.text}"))
        return Case([*dataset.documents, *added], list(dict.fromkeys(dataset.queries.values())))

    return load


def faq(calibrating: str, live: str) -> Callable[[Path], Case]:
    """Questions and answers made of nq_dev, asked loosely or word for word."""

    def load(folder: Path) -> Case:
        dataset = datasets.load(folder / "nq_dev")
        by_id = {document.id: document for document in dataset.documents}
        entries: dict[str, Document] = {}
        for name, query in dataset.queries.items():
            for one in sorted(dataset.relevant.get(name, ())):
                known = one in {entry.id for entry in entries.values()}
                if not known and WORDS[0] <= len(by_id[one].text.split()) <= WORDS[1] and query not in entries:
                    entries[query] = Document(one, f"Q: {query}?\nA: {by_id[one].text}")
                    break
            if len(entries) == FAQ:
                break
        generator = np.random.default_rng(SEED)
        asked = {"verbatim": list(entries), "loose": [_loosely(query, generator) for query in entries]}
        return Case(list(entries.values()), asked[calibrating], None if live == calibrating else asked[live])

    return load


def _loosely(query: str, generator: np.random.Generator) -> str:
    """Without stop words, one word less, two neighbours exchanged."""
    words = [word for word in query.split() if f"|{word.lower()}|" not in STOP] or query.split()
    if len(words) > 2:
        words.pop(int(generator.integers(len(words))))
        i = int(generator.integers(len(words) - 1))
        words[i], words[i + 1] = words[i + 1], words[i]
    return " ".join(words)


CASES: Mapping[str, Callable[[Path], Case]] = {
    **{name: plain(name) for name in ("nq_dev", "hotpot_dev", "msmarco_dev")},
    "faq, loosely worded": faq("loose", "loose"),
    "faq, word for word": faq("verbatim", "verbatim"),
    "faq, from loose to word for word": faq("loose", "verbatim"),
    "faq, from word for word to loose": faq("verbatim", "loose"),
    **{f"keyword traffic, {share:.0%}": keywords(share) for share in ECHOING},
    "scifact": plain("scifact"),
}


@dataclass(frozen=True)
class Recorded:
    """Scores of one case.

    Attributes:
        judge: Scales and joint score.
        clean: For each query, scores of its top documents by signal.
        live: Likewise of the queries that are asked.
        attacked: By form, scores of the planted texts by signal, and which of them the undefended top k has.
        derived: Suspicions of the worst documents of derived queries.
    """

    judge: Calibration
    clean: Sequence[Scores]
    live: Sequence[Scores] | None
    attacked: Mapping[str, tuple[Scores, NDArray[np.bool_]]]
    derived: Sequence[float]


def record(case: Case, encoder: CachedEncoder) -> Recorded:
    """Everything that draws of queries need."""
    texts = judgeable(case.documents)
    index = DenseIndex(encoder)
    index.add(case.documents)
    profiles = Profiles(encoder, CorpusModel(texts))
    scorer = Scorer(encoder, profiles, build(SIGNALS, texts, encoder, ()))
    planting = Planting(texts)
    references = reference_queries(case.documents)
    learned = learn(scorer, index, references, planting, K)
    if learned is None:
        raise SystemExit("too few queries can be derived")
    judge = Calibration(encoder=encoder.name, k=K, scales=learned[0], maxima=(0.0,), joint=learned[1])
    live = list(case.live or case.calibrating)
    encoder.encode_query([*case.calibrating, *live])
    found = {query: index.retrieve(query, K) for query in dict.fromkeys((*case.calibrating, *live))}
    scorer.prepare(canonical(hit.document.text).text for hits in found.values() for hit in hits)
    scored = {query: scorer(query, [canonical(hit.document.text).text for hit in hits]) for query, hits in found.items()}
    targets = [live[i] for i in np.random.default_rng(SEED + 1).permutation(len(live))[:TARGETS].tolist()]
    attacked = {}
    for form in FORMS:
        pairs = planting(targets, form)
        vectors = encoder.encode_document([text for _, text in pairs])
        reached = [
            float(encode_one_query(encoder, query) @ vector) > found[query][-1].score
            for (query, _), vector in zip(pairs, vectors, strict=True)
        ]
        attacked[form] = scorer.apart(pairs), np.array(reached)
    derived = [
        float(
            judge.suspicions(
                scorer(query.text, [canonical(hit.document.text).text for hit in index.retrieve(query.text, K)])
            ).max()
        )
        for query in derived_queries(case.documents, REFERENCES, SEED)
        if query not in references
    ]
    asked = [scored[query] for query in live] if case.live else None
    return Recorded(judge, [scored[query] for query in case.calibrating], asked, attacked, derived)


def drawn(recorded: Recorded, size: int) -> dict[str, Any]:
    """Both scores over random draws of so many queries."""
    generator = np.random.default_rng(SEED)
    new, old = [], []
    worst = np.array([recorded.judge.suspicions(scores).max() for scores in recorded.clean])
    live = None if recorded.live is None else np.array([recorded.judge.suspicions(scores).max() for scores in recorded.live])
    planted = {form: recorded.judge.suspicions(scores) for form, (scores, _) in recorded.attacked.items()}
    for _ in range(DRAWS):
        order = generator.permutation(len(worst))
        chosen, rest = order[:size], order[size:]
        threshold = recorded.judge.model_copy(update={"maxima": tuple(np.sort(worst[chosen]).tolist())}).threshold(LOSS)
        others = worst[rest] if live is None else live
        new.append(_outcome(recorded, planted, others, threshold))
        fit, held = parts([str(i) for i in chosen], LOSS)
        signals = [name for name, one in recorded.judge.scales.items() if one.alone]
        units = {signal.name: signal.unit for signal in SIGNALS}
        scales = {name: scale([float(recorded.clean[int(i)][name].max()) for i in fit], units[name]) for name in signals}

        def before(scores: Scores, scales: Any = scales) -> NDArray[np.float64]:
            return suspicions(scales, {name: scores[name] for name in scales})

        limit = Calibration(
            encoder="", k=K, scales=scales, maxima=tuple(sorted(float(before(recorded.clean[int(i)]).max()) for i in held))
        ).threshold(LOSS)
        asked = [recorded.clean[i] for i in rest.tolist()] if recorded.live is None else recorded.live
        old_planted = {form: before(scores) for form, (scores, _) in recorded.attacked.items()}
        old.append(_outcome(recorded, old_planted, np.array([before(scores).max() for scores in asked]), limit))
    return {"queries": size, "now": _summed(new), "before": _summed(old)}


def _outcome(
    recorded: Recorded, planted: Mapping[str, NDArray[np.float64]], others: NDArray[np.float64], threshold: float
) -> Any:
    asr = {form: float((recorded.attacked[form][1] & (values <= threshold)).mean()) for form, values in planted.items()}
    return float((others > threshold).mean()) if len(others) else float("nan"), asr


def _summed(outcomes: Sequence[tuple[float, Mapping[str, float]]]) -> dict[str, Any]:
    rows = {}
    for form in outcomes[0][1]:
        values = np.array([asr[form] for _, asr in outcomes])
        low, high = np.quantile(values, [0.05, 0.95]).tolist()
        rows[form] = {
            "asr": round(float(values.mean()), 4),
            "5 %": round(low, 4),
            "95 %": round(high, 4),
            "more than half pass": round(float((values > 0.5).mean()), 4),
        }
    return {"harmed": round(float(np.mean([harmed for harmed, _ in outcomes])), 4), "attacks": rows}


def measure(name: str, folder: Path, encoder: CachedEncoder) -> dict[str, Any]:
    """One case."""
    case = CASES[name](folder)
    recorded = record(case, encoder)
    sizes = [size for size in SIZES if size <= len(all_of(case.calibrating, LOSS)) - (0 if case.live else 20)]
    threshold = recorded.judge.model_copy(update={"maxima": tuple(sorted(recorded.derived)), "derived": True}).threshold(LOSS)
    others = np.array([recorded.judge.suspicions(scores).max() for scores in recorded.live or recorded.clean])
    planted = {form: recorded.judge.suspicions(scores) for form, (scores, _) in recorded.attacked.items()}
    return {
        "case": name,
        "documents": len(case.documents),
        "clean_queries": len(case.calibrating),
        "undefended": {form: round(float(reached.mean()), 4) for form, (_, reached) in recorded.attacked.items()},
        "draws": [drawn(recorded, size) for size in sizes],
        "derived": _summed([_outcome(recorded, planted, others, threshold)]),
    }


def main() -> None:
    """Measure the cases named on the command line, or all, and write the result once all are there."""
    folder = os.environ.get("RAGGUARD_DATA", "")
    if not folder:
        raise SystemExit("set RAGGUARD_DATA to a folder of datasets in BEIR layout")
    encoder = CachedEncoder(SentenceTransformerEncoder.offline(progress=False), CACHE)
    for name in sys.argv[1:] or CASES:
        found = measure(name, Path(folder), encoder)
        write_whole(PARTS / f"{name}.json", json.dumps(found, indent=1))
        for row in found["draws"][:1]:
            plain_copy = {when: (row[when]["harmed"], row[when]["attacks"]["copied in front"]) for when in ("now", "before")}
            print(name, row["queries"], plain_copy, flush=True)
    if not all((PARTS / f"{name}.json").exists() for name in CASES):
        return
    cases = [json.loads((PARTS / f"{name}.json").read_text()) for name in CASES]
    details = report.about(
        dataset=list(CASES),
        seed=SEED,
        encoder=OFFLINE_MODEL,
        k=K,
        max_clean_query_loss=LOSS,
        draws=DRAWS,
        attacked=TARGETS,
        cases=cases,
    )
    write_whole(RESULTS / "few_queries.json", json.dumps(details, indent=1) + "\n")


if __name__ == "__main__":
    main()
