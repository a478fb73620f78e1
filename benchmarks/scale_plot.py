"""The picture of `scale`: time of a query and memory against corpus size."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

PANELS = {
    "milliseconds a query": (
        ("flat_ms_p50", "exact search (FAISS flat)", "#6b7280", ":"),
        ("ivf_ms_p50", "approximate search (FAISS IVF)", "#6b7280", "--"),
        ("disk_ms_p50", "the guard adds: evidence on disk, median", "#2563eb", "-"),
        ("disk_ms_p99", "the same, 99 %", "#2563eb", ":"),
        ("warm_ms_p50", "the guard adds: evidence in memory, median", "#059669", "-"),
        ("warm_ms_p99", "the same, 99 %", "#059669", ":"),
    ),
    "megabytes of memory": (
        ("plain_mb", "process with the plain index", "#6b7280", "--"),
        ("serving_mb", "process with index and guard", "#2563eb", "-"),
        ("guard_mb", "the difference", "#059669", "-"),
    ),
}


def draw(result: Mapping[str, Any], path: Path) -> None:
    """Draw as SVG; both axes are logarithmic."""
    import matplotlib as mpl

    mpl.use("svg")
    from matplotlib import pyplot as plt

    sizes = [row["documents"] for row in result["rows"]]
    with mpl.rc_context({"svg.fonttype": "none", "svg.hashsalt": "ragguard", "font.family": "sans-serif"}):
        figure, axes = plt.subplots(1, 2, figsize=(11, 5.2), layout="constrained", facecolor="white")
        for axis, (title, lines) in zip(axes, PANELS.items(), strict=True):
            for key, label, colour, dashes in lines:
                axis.plot(sizes, [row[key] for row in result["rows"]], dashes, color=colour, marker="o", ms=4, label=label)
            axis.set(xscale="log", yscale="log", xlabel="documents (synthetic)")
            axis.set_title(title, fontsize=11)
            axis.legend(fontsize=8, frameon=False, loc="upper center", bbox_to_anchor=(0.5, -0.14), ncols=2)
            axis.grid(color="#e5e7eb", lw=0.8)
            axis.spines[["top", "right"]].set_visible(False)
        path.parent.mkdir(parents=True, exist_ok=True)
        figure.savefig(path, format="svg", metadata={"Date": None})
        plt.close(figure)
