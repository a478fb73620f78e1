"""What a benchmark run looks like to people: one JSON file, and one HTML page that needs nothing else."""

from __future__ import annotations

import json
import os
import platform
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from ragguard.evaluation.example import Example
from ragguard.evaluation.files import write_whole
from ragguard.evaluation.metrics import Comparison, Row

SCHEMA = 2
"""Of the JSON file; grows when a key changes its meaning or goes."""


def about(**more: object) -> dict[str, Any]:
    """Where and on what a result was measured."""
    packages = ("ragguard-defense", "numpy", "faiss-cpu", "torch", "sentence-transformers")
    return {
        "commit": _commit(),
        "hardware": {"machine": platform.machine(), "cores": os.cpu_count(), "system": platform.system()},
        "python": platform.python_version(),
        "packages": {name: _version(name) for name in packages},
        **more,
    }


def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:  # run from a folder of sources, or without what a benchmark does not need
        return "not installed"


def write_json(path: Path, rows: Sequence[Row], details: Mapping[str, Any], comparisons: Sequence[Comparison] = ()) -> None:
    """Write rows, paired tests and how they were measured; the file appears whole or not at all."""
    content = {
        "schema": SCHEMA,
        "rows": [asdict(row) for row in rows],
        "comparisons": [asdict(comparison) for comparison in comparisons],
        **details,
    }
    write_whole(path, json.dumps(content, indent=1) + "\n")


def write_html(
    path: Path, rows: Sequence[Row], details: Mapping[str, Any], findings: Sequence[str], examples: Mapping[str, Example]
) -> None:
    """Write a page that people look at: findings, plots, all numbers, threat models, examples, and how it was measured.

    It needs no other file, runs no script, and shows hostile texts as text.

    Args:
        path: Of the page.
        rows: Of one run, attacks in the order in which they are to appear; at least one.
        details: What `about` gives, with at least `dataset`; `attacks` holds `family` and `threat` by name.
        findings: What was not stopped, and what it cost.
        examples: By attack, one query before and after.
    """
    from jinja2 import Environment, PackageLoader

    from ragguard.evaluation import plots

    environment = Environment(
        loader=PackageLoader("ragguard.evaluation", "."), autoescape=True, trim_blocks=True, lstrip_blocks=True
    )
    page = environment.get_template("report.html").render(
        rows=rows,
        k=rows[0].k,
        held=plots.HELD,
        details=details,
        findings=findings,
        examples=examples,
        heat_map=plots.heat_map(rows),
        trade_off=plots.trade_off(rows),
        curves=plots.budget_curves(rows),
    )
    write_whole(path, page.encode("utf-8", "replace").decode())  # hostile texts may hold what no file can


def shortcomings(rows: Sequence[Row], limit: float = 0.1) -> list[str]:
    """What must not be overlooked, in sentences.

    Args:
        rows: Of one run; systems whose clean SR is below that of "none", or else of the best one, have a cost.
        limit: An attack that every system lets through to more than this share of its targets was not stopped, and a system
            that takes a document from more than this share of clean queries has a cost.
    """
    sentences = []
    for attack in dict.fromkeys(row.attack for row in rows):
        under_attack = [row for row in rows if row.attack == attack]
        best = min(under_attack, key=lambda row: row.asr)
        if best.asr > limit:
            same = all(row.asr == best.asr for row in under_attack)
            under = "every defense here" if same else f"{best.defense}, the best of these"
            why = (
                " It carries no trigger: nothing here can tell a fluent, on-topic lie from the truth."
                if best.family == "B"
                else ""
            )
            sentences.append(f"{attack}: still in the top {best.k} of {best.asr:.0%} of its targets under {under}.{why}")
    clean = {row.defense: row for row in rows}
    undefended = clean["none"].clean_sr if "none" in clean else max(row.clean_sr for row in clean.values())
    for name, row in clean.items():
        costs = []
        if (lost := undefended - row.clean_sr) > 0:
            costs.append(f"{lost:.0%} of the questions lose their answer")
        if row.clean_loss > limit:
            costs.append(f"{row.clean_loss:.0%} of the questions lose a document")
        if costs:
            sentences.append(f"{name}: without any attack, {' and '.join(costs)} from the top {row.k}.")
    return sentences


def _commit() -> str:
    try:
        process = subprocess.run(
            ["git", "rev-parse", "--short", "HEAD"],  # noqa: S607
            cwd=Path(__file__).parent,
            capture_output=True,
            text=True,
            timeout=5,
            check=True,
        )
    except (OSError, subprocess.SubprocessError):
        return "unknown"
    return process.stdout.strip()
