"""The numbers to reach beside their targets and their history in the committed results; a fresh run may not fall behind."""

from __future__ import annotations

import argparse
import json
import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from benchmarks.run import RESULTS

SHOWN = 5
"""Earlier values that are shown, the latest first."""

SLACK = 0.2
"""Share by which a fresh run may be worse than the committed one: two runs on a shared machine differ by less."""


@dataclass(frozen=True)
class Ratio:
    """A number to reach.

    Attributes:
        name: For the table.
        file: Of `benchmarks/results`, without its ending.
        read: Finds the number in the file's content.
        target: To reach.
        more: Whether more is better.
        steady: Whether it is a ratio within one run, which a fresh run is held to; milliseconds differ between machines.
    """

    name: str
    file: str
    read: Callable[[dict[str, Any]], float]
    target: float
    more: bool = False
    steady: bool = True

    def value(self, found: dict[str, Any] | None) -> float | None:
        """The number, or None where a result is missing or older than it."""
        try:
            return None if found is None else float(self.read(found))
        except (KeyError, StopIteration):
            return None

    def met(self, value: float) -> bool:
        """Whether it reaches the target."""
        return value >= self.target if self.more else value <= self.target

    def fell(self, before: float, after: float) -> bool:
        """Whether a fresh run is worse by more than a fifth."""
        return self.steady and (after < before * (1 - SLACK) if self.more else after > before * (1 + SLACK))


def _of(key: str, **which: object) -> Callable[[dict[str, Any]], float]:
    """A field of the result, or of the one of its settings (stores) that `which` describes."""

    def read(found: dict[str, Any]) -> float:
        rows = (row for rows in found.values() if isinstance(rows, list) for row in rows)
        one = next(row for row in rows if which.items() <= row.items()) if which else found
        value: float = one[key]
        return value

    return read


RATIOS = (
    Ratio("guarded / unguarded, with query encoding", "latency", _of("guarded_over_unguarded"), 1.25),
    Ratio("added per query, ms, median", "latency", _of("added_ms_p50"), 1.5, steady=False),
    Ratio("four threads / one, queries a second, two cores", "throughput", _of("four_threads_over_one"), 1.5, more=True),
    Ratio("64 in flight / one, queries a second, two cores", "throughput", _of("64_in_flight_over_one"), 1.5, more=True),
    Ratio("ingestion added / plain embedding", "latency", _of("ingestion_added_over_plain"), 3.0),
    Ratio("RAGPart N=5 k=2: times faster", "closed_form", _of("times_faster", n=5, k=2), 1.5, more=True),
    Ratio("RAGPart N=5 k=2: times smaller", "closed_form", _of("times_smaller", n=5, k=2), 1.95, more=True),
    Ratio("RAGPart N=10 k=5: times faster", "closed_form", _of("times_faster", n=10, k=5), 10, more=True),
    Ratio("RAGPart N=10 k=5: times smaller", "closed_form", _of("times_smaller", n=10, k=5), 20, more=True),
    Ratio("RAGPart N=20 k=10, 40 candidates, ms", "closed_form", lambda found: float(found["sampled"]["ms"]), 50, steady=False),
    Ratio("ONNX int8 / torch, documents/s", "encoders", _of("documents_times_as_fast", encoder="ONNX int8"), 1.5, more=True),
    Ratio("RAGMask, scoring warm: times faster", "latency", _of("ragmask_speedup"), 50, more=True, steady=False),
    Ratio("evidence of 20 documents, memory, ms", "sql_store", _of("read_ms_from_memory", precision="fp16"), 0.5, steady=False),
    Ratio("evidence of 20 documents, SQLite, ms", "sql_store", _of("read_ms_from_disk", precision="fp16"), 5, steady=False),
)


def table(fresh: Path | None = None) -> tuple[Table, list[str]]:
    """Each number, and the sentences that say which fell behind."""
    shown = Table(title="Numbers to reach", caption="Earlier values from the committed results, the latest first.")
    shown.add_column("number")
    for column in ("target", "now", *(["fresh"] if fresh else []), "earlier"):
        shown.add_column(column, justify="right")
    fallen = []
    for ratio in RATIOS:
        now = ratio.value(_read(RESULTS / f"{ratio.file}.json"))
        earlier = [value for one in _history(ratio.file) if (value := ratio.value(one)) is not None and value != now]
        cells = [f"{'>=' if ratio.more else '<='} {ratio.target:g}", _shown(ratio, now)]
        if fresh:
            again = ratio.value(_read(fresh / f"{ratio.file}.json"))
            cells.append(_shown(ratio, again))
            if now is not None and again is not None and ratio.fell(now, again):
                fallen.append(f"{ratio.name}: {now:g} was committed, {again:g} is measured")
        shown.add_row(ratio.name, *cells, " ".join(f"{value:g}" for value in earlier[:SHOWN]))
    return shown, fallen


def _shown(ratio: Ratio, value: float | None) -> str:
    return "-" if value is None else f"[{'green' if ratio.met(value) else 'red'}]{value:g}"


def _read(path: Path) -> dict[str, Any] | None:
    found: dict[str, Any] | None = json.loads(path.read_text(encoding="utf-8")) if path.exists() else None
    return found


def _history(name: str) -> list[dict[str, Any]]:
    """Earlier versions of a committed result, the latest first; none outside a clone."""
    path = f"benchmarks/results/{name}.json"
    commits = _git("log", "--format=%h", "--", path).split()
    return [json.loads(text) for commit in commits if (text := _git("show", f"{commit}:{path}"))]


def _git(*arguments: str) -> str:
    try:
        done = subprocess.run(["git", *arguments], cwd=RESULTS.parents[1], capture_output=True, text=True, check=False)  # noqa: S603, S607
    except OSError:
        return ""
    return done.stdout if done.returncode == 0 else ""


def main() -> None:
    """Print the table; with a fresh run, fail where a ratio fell behind."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--fresh", type=Path, help="results of another run, held to the committed ones")
    shown, fallen = table(parser.parse_args().fresh)
    Console().print(shown)
    if fallen:
        raise SystemExit("fell behind by more than a fifth:\n  " + "\n  ".join(fallen))


if __name__ == "__main__":
    main()
