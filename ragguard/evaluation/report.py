"""What a benchmark run looks like to people: one JSON file, and one HTML page that needs nothing else."""

from __future__ import annotations

import io
import json
import os
import platform
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

from ragguard.evaluation.experiment import Row
from ragguard.types import Hit, Span

COLOURS = ("#6b7280", "#2563eb", "#d97706", "#059669", "#9333ea", "#dc2626")


@dataclass(frozen=True)
class ShownHit:
    """A result as it is shown in an example.

    Attributes:
        rank: Place among the results.
        poisoned: Whether it was planted.
        relevant: Whether it answers the question.
        parts: The text in pieces; a piece is marked where the guard found what carried the similarity.
    """

    rank: int
    poisoned: bool
    relevant: bool
    parts: tuple[tuple[str, bool], ...]


@dataclass(frozen=True)
class Example:
    """One question, before and after.

    Attributes:
        question: The query.
        answer: The correct answer.
        before: The undefended results.
        after: The guarded results.
        defense: Which defense answered.
        reason: Why the planted document was moved or dropped.
    """

    question: str
    answer: str
    before: tuple[ShownHit, ...]
    after: tuple[ShownHit, ...]
    defense: str
    reason: str


def about(**more: object) -> dict[str, Any]:
    """Where and on what a result was measured."""
    packages = ("ragguard-defense", "numpy", "faiss-cpu", "torch", "sentence-transformers")
    return {
        "commit": _commit(),
        "hardware": {"machine": platform.machine(), "cores": os.cpu_count(), "system": platform.system()},
        "python": platform.python_version(),
        "packages": {name: version(name) for name in packages},
        **more,
    }


def write_json(path: Path, rows: Sequence[Row], details: Mapping[str, Any]) -> None:
    """Write rows and how they were measured; the file appears whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_suffix(".part")
    part.write_text(json.dumps({"rows": [asdict(row) for row in rows], **details}, indent=1) + "\n", encoding="utf-8")
    part.replace(path)


def write_html(
    path: Path, rows: Sequence[Row], details: Mapping[str, Any], findings: Sequence[str], example: Example | None
) -> None:
    """Write a page with a plot, the table, what was not stopped, and an example."""
    from jinja2 import Environment, PackageLoader

    environment = Environment(loader=PackageLoader("ragguard.evaluation", "."), autoescape=True)
    page = environment.get_template("report.html").render(
        rows=rows, k=rows[0].k, details=details, findings=findings, example=example, plot=_plot(rows)
    )
    path.write_text(page, encoding="utf-8")


def shortcomings(rows: Sequence[Row], limit: float = 0.1) -> list[str]:
    """What must not be overlooked, in sentences.

    Args:
        rows: Of one run; systems whose clean SR is below the best one's have a cost.
        limit: An attack that every system lets through to more than this share of its targets was not stopped.
    """
    sentences = []
    for attack in dict.fromkeys(row.attack for row in rows):
        best = min((row for row in rows if row.attack == attack), key=lambda row: row.asr)
        if best.asr > limit:
            why = (
                " It carries no trigger: nothing here can tell a fluent, on-topic lie from the truth."
                if best.family == "B"
                else ""
            )
            held = (
                f"{attack}: still in the top {best.k} of {best.asr:.0%} of its targets under {best.defense}, the best of these."
            )
            sentences.append(held + why)
    clean = {row.defense: row.clean_sr for row in rows}
    for defense, share in clean.items():
        if (lost := max(clean.values()) - share) > 0:
            sentences.append(
                f"{defense}: without any attack, {lost:.0%} of the questions lose their answer from the top {rows[0].k}."
            )
    return sentences


def show(
    hits: Sequence[Hit], planted: set[str], relevant: frozenset[str], marks: Mapping[str, Sequence[Span]]
) -> tuple[ShownHit, ...]:
    """Results ready to be shown.

    Args:
        hits: Best first.
        planted: Ids of poisoned documents.
        relevant: Ids of documents that answer the question.
        marks: By id, what to mark in the text.
    """
    shown = []
    for rank, hit in enumerate(hits, 1):
        text, position, parts = hit.document.text, 0, []
        for span in marks.get(hit.document.id, ()):
            parts += [(text[position : span.start], False), (text[span.start : span.end], True)]
            position = span.end
        parts.append((text[position:], False))
        pieces = tuple(part for part in parts if part[0])
        shown.append(ShownHit(rank, hit.document.id in planted, hit.document.id in relevant, pieces))
    return tuple(shown)


def _plot(rows: Sequence[Row]) -> str:
    """ASR@k by attack and defense, as SVG."""
    import matplotlib as mpl

    mpl.use("svg")
    from matplotlib import pyplot as plt

    attacks = list(dict.fromkeys(row.attack for row in rows))
    systems = list(dict.fromkeys(row.defense for row in rows))
    with mpl.rc_context({"svg.fonttype": "none", "svg.hashsalt": "ragguard", "font.family": "sans-serif"}):
        figure, axes = plt.subplots(figsize=(8, 3.4), layout="constrained")
        width = 0.8 / len(systems)
        for number, system in enumerate(systems):
            heights = [next(row.asr for row in rows if row.attack == attack and row.defense == system) for attack in attacks]
            places = [place + (number - (len(systems) - 1) / 2) * width for place in range(len(attacks))]
            bars = axes.bar(places, heights, width * 0.92, label=system, color=COLOURS[number % len(COLOURS)])
            axes.bar_label(bars, fmt="%.2f", fontsize=8, padding=1)
        axes.set_xticks(range(len(attacks)), attacks)
        axes.set_ylim(0, 1.12)
        axes.set_ylabel(f"ASR@{rows[0].k} (lower is better)")
        axes.spines[["top", "right"]].set_visible(False)
        figure.legend(loc="outside upper center", ncols=len(systems), frameon=False, fontsize=9)
        out = io.StringIO()
        figure.savefig(out, format="svg", transparent=True, metadata={"Date": None})
        plt.close(figure)
    return out.getvalue()[out.getvalue().index("<svg") :]


def _commit() -> str:
    try:
        found = subprocess.run(
            ["git", "rev-parse", "--short", "HEAD"],  # noqa: S607
            cwd=Path(__file__).parent,
            capture_output=True,
            text=True,
            timeout=5,
            check=True,
        )
    except (OSError, subprocess.SubprocessError):
        return "unknown"
    return found.stdout.strip()
