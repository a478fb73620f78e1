"""The picture of `scaling`: ASR against corpus size."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks import scaling
from ragguard.attacks import QueryCopy

COLOURS = ("#dc2626", "#d97706", "#059669", "#2563eb", "#9333ea", "#6b7280")


def draw(result: Mapping[str, Any], path: Path) -> None:
    """Draw ASR against corpus size, the number fixed and the share fixed, as SVG."""
    import matplotlib as mpl

    mpl.use("svg")
    from matplotlib import pyplot as plt

    with mpl.rc_context({"svg.fonttype": "none", "svg.hashsalt": "ragguard", "font.family": "sans-serif"}):
        figure, axes = plt.subplots(1, 2, figsize=(11, 5.2), sharey=True, layout="constrained", facecolor="white")
        panels = (
            ("count", "poisoned", "a fixed number of poisoned documents"),
            ("share", "share", "a fixed share of the corpus"),
        )
        for axis, (fixed, key, title) in zip(axes, panels, strict=True):
            mine = [row for row in result["rows"] if row["fixed"] == fixed]
            values = sorted({row[key] for row in mine}, reverse=True)
            for value, colour in zip(values, COLOURS, strict=False):
                line = [row for row in mine if row[key] == value and row["attack"] == QueryCopy.base]
                _line(
                    axis,
                    line,
                    f"query-copy (A): {value:,}" if fixed == "count" else f"query-copy (A): {value * 100:.4g} %",
                    colour,
                    "-",
                )
            for (kind, family), dashes in zip(scaling.PUBLISHED.items(), ("--", ":"), strict=True):
                if fixed == "count":
                    _line(
                        axis,
                        [row for row in mine if row[key] == 1 and row["attack"] == kind],
                        f"{kind} ({family}): 1",
                        "#111827",
                        dashes,
                    )
            axis.set(xscale="log", ylim=(0, 1.03), xlabel="honest documents")
            axis.set_title(f"Each query attacked by {title}", fontsize=11)
            axis.legend(loc="lower left", fontsize=9, frameon=False)
            axis.grid(color="#e5e7eb", lw=0.8)
            axis.spines[["top", "right"]].set_visible(False)
        axes[0].set_ylabel(f"ASR@{scaling.K} without a defense")
        figure.supxlabel(
            "filled: measured; hollow: simulated, the lower where documents on the query's topic grow with the corpus, "
            "the upper where they stay",
            fontsize=9,
        )
        path.parent.mkdir(parents=True, exist_ok=True)
        figure.savefig(path, format="svg", metadata={"Date": None})
        plt.close(figure)


def _line(axis: Any, line: Sequence[Mapping[str, Any]], label: str, colour: str, dashes: str) -> None:
    """Measured points, and the two bounds that simulation puts on what follows; a small share starts beyond what was measured."""
    points = {
        topic: [(row["documents"], row["asr"]) for row in line if row["topic"] == topic]
        for topic in ("measured", *scaling.SKIPPED)
    }
    measured = points["measured"]
    axis.plot([], [], color=colour, ls=dashes, lw=1.8, label=label)
    axis.plot([size for size, _ in measured], [asr for _, asr in measured], color=colour, ls=dashes, marker="o", ms=5, lw=1.8)
    bounds = []
    for topic in scaling.SKIPPED:
        sizes, rates = zip(*measured[-1:], *points[topic], strict=True)
        axis.plot(sizes, rates, color=colour, ls=dashes, lw=0.9)
        simulated = slice(len(measured[-1:]), None)
        axis.plot(sizes[simulated], rates[simulated], color=colour, marker="o", ms=5, mfc="white", ls="")
        bounds.append(rates)
    axis.fill_between(sizes, *bounds, color=colour, alpha=0.1, lw=0)
