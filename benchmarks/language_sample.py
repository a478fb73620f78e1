"""How large a sample of a corpus its language model needs: what the default guard stops and costs on nq_dev with smaller ones."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any
from unittest.mock import patch

from benchmarks import default_guard
from benchmarks.compare_defenses import OPTIMISED
from ragguard.encoders import OFFLINE_MODEL
from ragguard.evaluation import report
from ragguard.signals import corpus

DATASET = "nq_dev"
SAMPLES = (100, 250, 500, 1_000, 100_000)
"""Texts that the model learns; the last is all of them."""

ATTACKS = ("query-copy", *OPTIMISED[:4])
"""Those that surprise and intrusion are there for, which the model computes, and one that they are not."""


def measure() -> dict[str, Any]:
    """A row for each sample; empty without data."""
    folder = os.environ.get("RAGGUARD_DATA", "")
    if not folder:
        return {}
    rows = []
    for most in SAMPLES:
        with patch.object(corpus, "SAMPLE", most), patch.dict(default_guard.ATTACKS, {DATASET: ATTACKS}):
            found = default_guard.measure(DATASET, Path(folder))
        row = next(one for one in found["rows"] if one["signals"] == "default")
        rows.append({"sample": min(most, found["documents"]), **{key: row[key] for key in ("clean_loss", "clean_sr", "attacks")}})
        print(rows[-1], flush=True)
    return report.about(dataset=DATASET, encoder=OFFLINE_MODEL, loss=default_guard.LOSS, splits=default_guard.SPLITS, rows=rows)
