"""Every attack against every defense and peer under the paper's protocol: each query alone, three poisoned documents."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

from ragguard.evaluation import datasets, report
from ragguard.evaluation.bench import BenchSettings, run

ROOT = Path(__file__).parents[1]
CACHE, OUT = ROOT / ".cache" / "embeddings", ROOT / "out" / "compare"
RESULTS = ROOT / "benchmarks" / "results"
PARAPHRASES = ROOT / "benchmarks" / "data" / "paraphrases-nq_dev.jsonl"

PAPER = ("ragpart", "ragpart(k=2, min_share=0.5)", "ragmask(group_similarity=None)", "ragmask", "ragpart+ragmask")
OURS = ("none", "default", *PAPER)
PEERS = tuple(f"benchmarks.peers.systems:{name}" for name in ("ragdefender", "trustrag", "perplexity", "near_duplicates"))
GMTP = "benchmarks.peers.systems:gmtp"
"""A second a query, for a gradient of every document: apart, with the attacks it is meant for."""

WORDS = (
    "query-copy",
    "query-copy(places=['middle'])",
    "query-copy(places=['front', 'end'])",
    "query-copy(places=['every-fragment'])",
    "query-copy(places=['spread'])",
    "keyword-stuffing",
)
"""Need no answers, weights or paraphrases: for every dataset."""

CARRIERS = (
    "jamming",
    "injection",
    "injection(style='chat-template')",
    "hidden-text(style='zero-width')",
    "hidden-text(style='homoglyph')",
    "hidden-text(style='html')",
)
HIDDEN = tuple(f"hidden-text(style='{style}')" for style in ("joiner", "bidi", "diacritic"))
"""Disguises that survive canonical text."""
OPTIMISED = (
    "hotflip",
    "hotflip(places=['spread'], excerpt=128)",
    "gaslite",
    "gaslite(places=['spread'], words=32, excerpt=128)",
    "corpus-poisoning",
    "phantom",
    "poisonedrag-whitebox",
    "adversarial-decoding",
)
ADAPTIVE = ("adaptive-ragpart", "adaptive-ragmask")
ON_TOPIC = ("poisonedrag", "texts(attack='poisonedrag-llm:gpt4')", "sybil", "edit", "framing")
PARAPHRASE = f"paraphrase(file='{PARAPHRASES.relative_to(ROOT)}', places=['front', 'end'])"
JOINT = (
    "joint(calls=[100, 300, 600])",
    "joint(defense='ragpart(k=2, min_share=0.5)', calls=[100, 300, 600])",
)
JOINT_DEFAULT = ("joint(defense='default', calls=[100, 300, 1000])",)


def settings(folder: Path) -> dict[str, BenchSettings]:
    """The runs, by name. Optimised attacks are dear: twenty queries."""
    nq = str(folder / "nq_dev")
    paraphrased = tuple(datasets.load_paraphrases(PARAPHRASES))
    everything = (*WORDS, *CARRIERS, *HIDDEN, PARAPHRASE, *OPTIMISED, *ADAPTIVE, *ON_TOPIC)
    other: dict[str, Any] = {
        "dataset": nq,
        "attacks": (*WORDS, "hotflip"),
        "defenses": ("none", "default", "ragpart", "ragmask"),
        "ids": paraphrased[:20],
    }
    return {
        "nq_dev": BenchSettings(dataset=nq, attacks=everything, defenses=(*OURS, "quota(limit=1)", *PEERS), ids=paraphrased[:20]),
        "nq_dev_gmtp": BenchSettings(
            dataset=nq,
            attacks=("query-copy", "keyword-stuffing", "hotflip", "gaslite"),
            defenses=("none", GMTP),
            ids=paraphrased[:20],
        ),
        "nq_dev_joint": BenchSettings(dataset=nq, attacks=JOINT, defenses=OURS, ids=paraphrased[:5], documents=1),
        "nq_dev_joint_default": BenchSettings(
            dataset=nq, attacks=JOINT_DEFAULT, defenses=("none", "default"), ids=paraphrased[:5], documents=1
        ),
        "nq_dev_bm25": BenchSettings(retriever="bm25", **other),
        "nq_dev_static": BenchSettings(retriever="static", **other),
        "scifact": BenchSettings(  # without RAGMask: a mask each fifteen words of long abstracts takes hours on two cores
            dataset=str(folder / "scifact"), attacks=WORDS, defenses=OURS[:4], queries=20
        ),
        "msmarco_dev": BenchSettings(
            dataset=str(folder / "msmarco_dev"), attacks=(*WORDS, "poisonedrag"), defenses=(*OURS, *PEERS), queries=20
        ),
        "hotpot_dev": BenchSettings(
            dataset=str(folder / "hotpot_dev"), attacks=(*WORDS, "poisonedrag"), defenses=(*OURS, *PEERS), queries=20
        ),
    }


def main() -> None:
    """Run those named on the command line, or all; with --resume, go on where they were interrupted."""
    folder = os.environ.get("RAGGUARD_DATA", "")
    if not folder:
        raise SystemExit("set RAGGUARD_DATA to a folder of datasets in BEIR layout")
    runs = settings(Path(folder))
    names = [name for name in sys.argv[1:] if name != "--resume"]
    unknown = set(names) - set(runs)
    if unknown:
        raise SystemExit(f"unknown run {sorted(unknown)}; there are {sorted(runs)}")
    for name in names or runs:
        result = run(runs[name], OUT / name, CACHE, resume="--resume" in sys.argv, step=_tell)
        against_none = [one for one in result.comparisons if one.first == "none"]
        details = {key: value for key, value in result.details.items() if key != "settings"}  # it names folders of this machine
        report.write_json(RESULTS / f"compare_{name}.json", result.rows, details, against_none)


def _tell(what: str, done: int, attacks: int) -> None:
    print(f"{done}/{attacks} {what}", flush=True)


if __name__ == "__main__":
    main()
