"""How large a sample of a corpus its language model needs: what the default guard stops and costs on nq_dev with smaller ones.

Candidates are those of nq_dev throughout. The model learns a sample of nq_dev itself, or of a corpus that is one seventh nq_dev.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any
from unittest.mock import patch

from benchmarks import default_guard
from benchmarks.compare_defenses import OPTIMISED
from benchmarks.scaling import FOLDERS
from ragguard.defenses.base import judgeable
from ragguard.encoders import OFFLINE_MODEL
from ragguard.evaluation import datasets, report
from ragguard.language import corpus

DATASET, *OTHERS = FOLDERS
SAMPLES = ((DATASET, (250, 500, 1_000, corpus.SAMPLE)), ("+".join(FOLDERS), (1_500, 5_000, corpus.SAMPLE)))
"""Texts that the model learns at most; the last is all of them."""

ATTACKS = ("query-copy", *OPTIMISED[:4])
"""One that the model has no part in, and those that surprise and intrusion are there for, which it computes."""


def measure() -> dict[str, Any]:
    """A row for each sample; empty without data."""
    folder = os.environ.get("RAGGUARD_DATA", "")
    if not folder:
        return {}
    others = [text for name in OTHERS for text in judgeable(datasets.load(Path(folder) / name).documents)]
    learned, rows = corpus.sample, []
    for name, sizes in SAMPLES:
        more = others if name != DATASET else []
        for most in sizes:
            with (
                patch.object(corpus, "SAMPLE", most),
                patch("ragguard.defenses.calibrated.sample", lambda texts, more=more: learned([*texts, *more])),
                patch.dict(default_guard.ATTACKS, {DATASET: ATTACKS}),
            ):
                found = default_guard.measure(DATASET, Path(folder))
            row = next(one for one in found["rows"] if one["signals"] == "default")
            kept = {key: row[key] for key in ("clean_loss", "clean_sr", "attacks")}
            rows.append({"corpus": name, "sample": min(most, found["documents"] + len(more)), **kept})
            print(rows[-1], flush=True)
    return report.about(dataset=DATASET, encoder=OFFLINE_MODEL, loss=default_guard.LOSS, splits=default_guard.SPLITS, rows=rows)
