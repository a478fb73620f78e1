"""Write the README's tables from the committed results, so that no number in it was typed."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
README = ROOT / "README.md"
RESULTS = Path(__file__).parent / "results"


def render(readme: str) -> str:
    """The README with every block between `<!-- table: name -->` and `<!-- end -->` made anew."""

    def block(match: re.Match[str]) -> str:
        name = match.group(1)
        result = json.loads((RESULTS / f"{name}.json").read_text(encoding="utf-8"))
        return f"<!-- table: {name} -->\n{TABLES[name](result)}\n<!-- end -->"

    return re.sub(r"<!-- table: (\w+) -->.*?<!-- end -->", block, readme, flags=re.DOTALL)


def _table(head: list[str], rows: list[list[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _paper_rows(result: dict[str, Any]) -> str:
    rows = result["rows"]
    attacks = list(dict.fromkeys(row["attack"] for row in rows))
    lines = []
    for defense in dict.fromkeys(row["defense"] for row in rows):
        mine = {row["attack"]: row for row in rows if row["defense"] == defense}
        rates = [f"{mine[attack]['asr']:.2f}" for attack in attacks]
        lines.append([defense, *rates, f"{mine[attacks[0]]['clean_sr']:.2f}"])
    return _table(["ASR@10", "once", "in the middle", "twice", "in all fragments", "clean SR@10"], lines)


def _closed_form(result: dict[str, Any]) -> str:
    lines = [
        [f"N={s['n']}, k={s['k']}", str(s["combinations"]), f"{s['times_faster']:.1f}x", f"{s['times_smaller']:.1f}x"]
        for s in result["settings"]
    ]
    return _table(["RAGPart", "combinations", "faster", "smaller"], lines)


def _overhead(result: dict[str, Any]) -> str:
    lines = [[d["defense"], f"{d['added_ms']:.1f} ms", f"{d['guarded_over_unguarded']:.2f}"] for d in result["defenses"]]
    return _table(["defense", "added per query", "guarded / unguarded"], lines)


TABLES = {"paper_rows": _paper_rows, "closed_form": _closed_form, "overhead": _overhead}


if __name__ == "__main__":
    README.write_text(render(README.read_text(encoding="utf-8")), encoding="utf-8")
