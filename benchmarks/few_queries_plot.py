"""The picture of `few_queries`: copies that pass against queries that calibrate, over draws of these."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

FORM = "copied in front"
SCORES = {
    "before": ("scales from the same queries (version 0.1)", "#9ca3af"),
    "now": ("scales and joint scores from the corpus", "#2563eb"),
}
COLUMNS = 4


def draw(result: Mapping[str, Any], path: Path) -> None:
    """Draw as SVG: a line for the mean, a band from 5 to 95 % of the draws, for every case."""
    import matplotlib as mpl

    mpl.use("svg")
    from matplotlib import pyplot as plt

    cases = result["cases"]
    with mpl.rc_context({"svg.fonttype": "none", "svg.hashsalt": "ragguard", "font.family": "sans-serif"}):
        rows = -(-len(cases) // COLUMNS)
        figure, axes = plt.subplots(
            rows, COLUMNS, figsize=(12, 2.7 * rows), layout="constrained", facecolor="white", sharey=True, squeeze=False
        )
        for axis, case in zip(axes.flat, cases, strict=False):
            for when, (label, colour) in SCORES.items():
                sizes = [draws["queries"] for draws in case["draws"]]
                rates = [draws[when]["attacks"][FORM] for draws in case["draws"]]
                low, high = ([rate[key] for rate in rates] for key in ("5 %", "95 %"))
                axis.fill_between(sizes, low, high, color=colour, alpha=0.2, lw=0)
                axis.plot(sizes, [rate["asr"] for rate in rates], color=colour, marker="o", ms=3, label=label)
            axis.set(ylim=(0, 1), xscale="log", xlim=(56, 430))
            axis.set_xticks([59, 100, 200, 400], ["59", "100", "200", "400"], minor=False)
            axis.minorticks_off()
            axis.set_title(case["case"], fontsize=10)
            axis.spines[["top", "right"]].set_visible(False)
        for axis in axes.flat[len(cases) :]:
            axis.set_visible(False)
        axes[0, 0].set_ylabel("copies that pass")
        figure.supxlabel("queries that calibrate", fontsize=10)
        handles, labels = axes[0, 0].get_legend_handles_labels()
        figure.legend(handles, labels, loc="outside upper center", ncols=2, frameon=False, fontsize=9)
        path.parent.mkdir(parents=True, exist_ok=True)
        figure.savefig(path, format="svg", metadata={"Date": None})
        plt.close(figure)
