"""The plots of a report, as SVG to be put into a page: small, deterministic, in colours that colour-blind people tell apart."""

from __future__ import annotations

import io
import re
from collections.abc import Iterable, Mapping, Sequence
from textwrap import wrap
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Rectangle
from matplotlib.ticker import MaxNLocator

from ragguard.attacks import Family
from ragguard.evaluation.metrics import Row

COLOURS = ("#374151", "#0072b2", "#d98c00", "#009e73", "#cc79a7", "#56b4e9", "#d55e00")
"""One for each defense: Okabe and Ito's, without their yellow, which white paper swallows. After these, dashes tell apart."""

DASHES = ("-", (0, (5, 2)), (0, (1, 1.5)))

FAMILIES: Mapping[Family, tuple[str, str]] = {
    "A": ("Family A: carries a retrieval trigger", "o"),
    "B": ("Family B: fluent lie without a trigger", "^"),
}
"""Heading and marker of each."""

HELD = 0.1
"""An attack is held where at most this share of its targets gets a poisoned document."""

TALL = 25
"""Lines of a heat map that fill a screen."""

INK = "#1f2937"
SLANTED: dict[str, Any] = {"rotation": 45, "rotation_mode": "anchor", "linespacing": 1}
STYLE: dict[Any, Any] = {
    "svg.fonttype": "none",
    "svg.hashsalt": "ragguard",
    "text.parse_math": False,
    "text.color": INK,
    "font.family": "sans-serif",
    "font.size": 9,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.titlesize": 9,
}


def heat_map(rows: Sequence[Row]) -> str:
    """ASR@k by attack and defense, the families apart, and below what each defense costs without attack. Darker is worse."""
    defenses = _names(row.defense for row in rows)
    clean = {row.defense: row for row in rows}
    best = max(row.clean_sr for row in clean.values())
    harm = {name: (row.clean_loss, row.clean_loss) for name, row in clean.items()}
    blocks = {heading: _asr_lines([row for row in rows if row.family == family]) for family, (heading, _) in FAMILIES.items()}
    blocks["Without attack"] = {
        f"SR@{rows[0].k}": {name: (row.clean_sr, best - row.clean_sr) for name, row in clean.items()},
        "queries that lost a document": harm,
    }
    blocks = {heading: lines for heading, lines in blocks.items() if lines}
    height = sum(len(lines) + 1.2 for lines in blocks.values())
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(0.68 * len(defenses), 0.3 * height))
        axes = figure.add_axes((0, 0, 1, 1))
        axes.set(xlim=(0, len(defenses)), ylim=(height, 0))
        axes.axis("off")
        y = 0.0
        for heading, lines in blocks.items():
            axes.text(0.04, y + 0.65, heading, weight="bold", va="center")
            y += 1.2
            for label, cells in lines.items():
                axes.text(-0.12, y + 0.5, _wrapped(label, 26), ha="right", va="center", linespacing=1)
                for x, name in enumerate(defenses):
                    _cell(axes, x, y, cells.get(name))
                y += 1
        _head(axes, defenses)
        if height > TALL:
            _foot(axes, defenses, height)
        return _svg(figure)


def trade_off(rows: Sequence[Row]) -> str:
    """SR@k against ASR@k, a panel for each defense, a point for each attack; the other defenses' points in grey behind."""
    defenses = _names(row.defense for row in rows)
    columns = min(len(defenses), 2 if len(defenses) <= 4 else 4)
    lines = -(-len(defenses) // columns)
    floor = min(0.9, *(row.sr - 0.05 for row in rows))
    good = max(row.clean_sr for row in rows)
    everywhere = np.array(sorted({(round(row.asr, 2), round(row.sr, 2)) for row in rows})).T
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(1.95 * columns, 1.75 * lines + 0.4), layout="constrained")
        panels = figure.subplots(lines, columns, sharex=True, sharey=True, squeeze=False).flat
        for (number, name), axes in zip(enumerate(defenses), panels, strict=False):
            axes.add_patch(Rectangle((-0.04, good - 0.05), HELD + 0.04, 2, color="#bbf7d0", lw=0, zorder=0))
            axes.scatter(*everywhere, s=6, c="#d1d5db", zorder=1)
            for family, (_, marker) in FAMILIES.items():
                points = [row for row in rows if row.defense == name and row.family == family]
                colour = COLOURS[number % len(COLOURS)]
                x, y = [row.asr for row in points], [row.sr for row in points]
                axes.scatter(x, y, s=34, c=colour, marker=marker, alpha=0.75, ec="white", lw=0.6, zorder=2, clip_on=False)
            axes.set_title(_wrapped(name, 22))
            axes.set(xlim=(-0.04, 1.04), ylim=(max(floor, -0.04), 1.02), xticks=(0, 0.5, 1))
            axes.yaxis.set_major_formatter("{x:.2f}")
            axes.yaxis.set_major_locator(MaxNLocator(4, steps=[1, 2, 5, 10]))
            axes.tick_params(labelbottom=number + columns >= len(defenses))
        for axes in panels:
            axes.remove()
        figure.supxlabel(f"ASR@{rows[0].k} (lower is better)", fontsize=9)
        figure.supylabel(f"SR@{rows[0].k} (higher is better)", fontsize=9)
        keys = [
            Line2D([], [], color=INK, marker=FAMILIES[family][1], ls="", label=f"family {family}")
            for family in sorted({row.family for row in rows})
        ]
        keys.append(Line2D([], [], color="#bbf7d0", marker="s", markersize=9, ls="", label="stopped at little cost"))
        figure.legend(handles=keys, loc="outside upper center", ncols=3, frameon=False, handletextpad=0.1, columnspacing=1)
        return _svg(figure)


def budget_curves(rows: Sequence[Row]) -> str | None:
    """ASR@k by effort, a panel for each series, a line for each defense; None if no series has two efforts."""
    series: dict[str, set[int]] = {}
    for row in rows:
        if row.series is not None and row.effort is not None:
            series.setdefault(row.series, set()).add(row.effort)
    shown = {name: sorted(efforts) for name, efforts in series.items() if len(efforts) > 1}
    if not shown:
        return None
    defenses = _names(row.defense for row in rows)
    columns = min(len(shown), 2)
    lines = -(-len(shown) // columns)
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(3.7 * columns, 2.4 * lines + 0.2 * -(-len(defenses) // columns)), layout="constrained")
        panels = figure.subplots(lines, columns, sharey=True, squeeze=False).flat
        for (name, efforts), axes in zip(shown.items(), panels, strict=False):
            _curves(axes, [row for row in rows if row.series == name], defenses, efforts)
            axes.set_title(_wrapped(name, 44))
        for axes in panels:
            axes.remove()
        figure.supxlabel("effort", fontsize=9)
        figure.supylabel(f"ASR@{rows[0].k} (lower is better)", fontsize=9)
        keys = [Line2D([], [], **_look(number), label=_wrapped(name, 40)) for number, name in enumerate(defenses)]
        figure.legend(handles=keys, loc="outside upper center", ncols=columns, frameon=False)
        return _svg(figure)


def _names(names: Iterable[str]) -> list[str]:
    return list(dict.fromkeys(names))


def _wrapped(label: str, width: int) -> str:
    """The label on one line, or on about two."""
    return "\n".join(wrap(label, max(width, len(label) // 2 + 4)))


def _asr_lines(rows: Sequence[Row]) -> dict[str, dict[str, tuple[float, float]]]:
    lines: dict[str, dict[str, tuple[float, float]]] = {}
    for row in rows:
        lines.setdefault(row.attack, {})[row.defense] = (row.asr, row.asr)
    return lines


def _cell(axes: Axes, x: float, y: float, cell: tuple[float, float] | None) -> None:
    """A number on a ground that darkens with its badness; a dash where nothing was measured."""
    value, badness = cell or (None, 0.0)
    ground = mpl.colormaps["YlOrBr"](0.9 * badness) if cell else "#f3f4f6"
    axes.add_patch(Rectangle((x, y), 1, 1, facecolor=ground, edgecolor="white", lw=1.5))
    ink = "white" if badness > 0.6 else INK
    axes.text(x + 0.5, y + 0.5, "–" if value is None else f"{value:.2f}", color=ink, ha="center", va="center")


def _head(axes: Axes, defenses: Sequence[str]) -> None:
    """Names over the columns: upright where they fit in three short lines, else slanted."""
    upright = [wrap(name, 9, break_long_words=False) for name in defenses]
    if all(len(lines) <= 3 and max(map(len, lines)) <= 9 for lines in upright):
        for x, lines in enumerate(upright):
            for place, line in enumerate(reversed(lines)):
                axes.text(x + 0.5, -0.2 - 0.42 * place, line, ha="center", va="baseline")
        return
    for x, name in enumerate(defenses):
        axes.text(x + 0.4, -0.1, _wrapped(name, 24), ha="left", va="bottom", **SLANTED)


def _foot(axes: Axes, defenses: Sequence[str], y: float) -> None:
    """The names again below a map so tall that those above are out of sight."""
    for x, name in enumerate(defenses):
        axes.text(x + 0.6, y + 0.1, _wrapped(name, 24), ha="right", va="top", **SLANTED)


def _curves(axes: Axes, rows: Sequence[Row], defenses: Sequence[str], efforts: Sequence[int]) -> None:
    for number, name in enumerate(defenses):
        points = sorted((row.effort, row.asr) for row in rows if row.defense == name and row.effort is not None)
        axes.plot([effort for effort, _ in points], [asr for _, asr in points], **_look(number), clip_on=False)
    if efforts[0] > 0 and efforts[-1] >= 16 * efforts[0]:
        axes.set_xscale("log")
    axes.set_xticks(efforts, [str(effort) for effort in efforts])
    axes.set_xticks([], minor=True)
    axes.set_ylim(0, 1.02)
    axes.grid(axis="y", color="#e5e7eb", lw=0.8)


def _look(number: int) -> dict[str, Any]:
    """Colour, dashes and marker of a defense's line."""
    turn, colour = divmod(number, len(COLOURS))
    return {
        "color": COLOURS[colour],
        "ls": DASHES[turn % len(DASHES)],
        "marker": "osD"[turn % 3],
        "ms": 4.5,
        "lw": 1.6,
    }


def _svg(figure: Figure) -> str:
    """The figure without ids, links and date, never much smaller than drawn: a narrow page scrolls."""
    out = io.StringIO()
    nothing = dict.fromkeys(("Creator", "Date", "Format", "Type"))
    figure.savefig(out, format="svg", transparent=True, bbox_inches="tight", pad_inches=0.05, metadata=nothing)
    svg = re.sub(r'<g id="[^"]*">', "<g>", out.getvalue()[out.getvalue().index("<svg") :])

    def sized(match: re.Match[str]) -> str:
        return f'style="min-width: {1.2 * float(match[1]):.0f}px; max-width: {1.6 * float(match[1]):.0f}px"'

    return re.sub(r'width="([\d.]+)pt" height="[\d.]+pt"', sized, svg, count=1)
