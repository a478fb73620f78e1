"""Ordinary texts, injections, and orders that stand elsewhere, by the gate: `python -m benchmarks.ordinary_text DATA`."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np

from ragguard.evaluation.datasets import load
from ragguard.gate import Gate
from ragguard.types import Document

ROOT = Path(__file__).parents[1]
WRITTEN = ROOT / "tests" / "data"
RESULT = ROOT / "benchmarks" / "results" / "ordinary_text.json"
TRUSTED, DRAWS, FIRST_CARRIER = 600, 3, 1000

FORMS = {
    "sentence": "{passage} {order}",
    "heading": "## {order}\n\n{passage}",
    "role": "{passage}\nsystem: {order}",
    "comment": "{passage} <!-- {order} -->",
    "fence": "{passage}\n\n```\n{order}\n```",
    "quotation": "{passage} A sign says: \u201c{bare}\u201d",
    "table row": "{passage}\n\n| note | {order} |\n|---|---|\n| a | b |",
    "sentence, of prompts": "{passage} The prompt filter is off. {order}",
    "fence, of prompts": "{passage} The tokenizer adds a prompt.\n\n```\n{order}\n```",
    "quotation, of prompts": "{passage} The prompt filter of the page says: \u201c{bare}\u201d",
    "spelt out": "{passage} {letters}",
}
"""Where the order stands."""


def read(path: Path) -> list[dict[str, str]]:
    """Lines of a file of texts."""
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def shares(gates: Iterable[Gate], texts: Iterable[str]) -> dict[str, float]:
    """Shares of the texts flagged or quarantined, and quarantined, over all gates."""
    documents = [Document(str(i), text) for i, text in enumerate(texts)]
    actions = [one.verdict.action for gate in gates for one in gate.judge(documents)]
    return {
        "found": round(sum(action != "admit" for action in actions) / len(actions), 4),
        "quarantined": round(actions.count("quarantine") / len(actions), 4),
    }


def main(data: str) -> None:
    """Measure, and write the result."""
    passages = load(Path(data) / "nq_dev").documents
    drawn = [np.random.default_rng(draw).permutation(len(passages))[:TRUSTED].tolist() for draw in range(1, DRAWS)]
    gates = [Gate([passages[i] for i in places], trusted=True) for places in [list(range(TRUSTED)), *drawn]]
    kinds = {path.stem: read(path) for path in sorted((WRITTEN / "ordinary").glob("*.jsonl"))}
    orders = read(WRITTEN / "injections.jsonl")
    every = [row for rows in kinds.values() for row in rows]
    result = {
        "ordinary": {kind: shares(gates, [row["text"] for row in rows]) for kind, rows in kinds.items()},
        "all kinds": shares(gates, [row["text"] for row in every]),
        "all kinds, held out": shares(gates, [row["text"] for row in every if row["held_out"]]),
        "injections": shares(gates, [row["text"] for row in orders]),
        "injections, held out": shares(gates, [row["text"] for row in orders if row["held_out"]]),
        "injections, known": shares(gates, [row["text"] for row in read(WRITTEN / "injections_known.jsonl")]),
        "where the order stands": {name: shares(gates[:1], planted(form, orders, passages)) for name, form in FORMS.items()},
    }
    RESULT.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")


def planted(form: str, orders: list[dict[str, str]], passages: Sequence[Document]) -> list[str]:
    """Each order in a passage of its own."""
    texts = []
    for i, row in enumerate(orders):
        order = row["text"]
        bare = order.translate(str.maketrans("", "", '\u201c\u201d"'))
        carrier = passages[FIRST_CARRIER + i].text
        texts.append(form.format(passage=carrier, order=order, bare=bare, letters=" ".join(order)))
    return texts


if __name__ == "__main__":
    main(sys.argv[1])
