"""What commands share: how they look."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console
from rich.progress import BarColumn, Progress, SpinnerColumn, Task, TextColumn, TimeElapsedColumn
from rich.table import Table
from rich.text import Text

if TYPE_CHECKING:
    from ragguard.evaluation.metrics import Row

console = Console(highlight=False)


class Work:
    """What is being done, told on stderr: stdout is for results."""

    def __init__(self, progress: Progress) -> None:
        """Bind a bar that is shown."""
        self._progress = progress
        self._task = progress.add_task("starting", total=None)

    def step(self, what: str, done: int = 0, total: int | None = None) -> None:
        """Tell what comes now, and how much is done of how much."""
        self._progress.update(self._task, description=what, completed=done, total=total)

    def say(self, line: str) -> None:
        """Tell what stays on the screen."""
        self._progress.console.print(line, markup=False, soft_wrap=True)


@contextmanager
def working(level: int = logging.ERROR) -> Iterator[Work]:
    """A bar from the first moment, gone when it is done; what is slow to import is imported under it.

    Nothing tears it: no bars of models being read, and of RAGGuard's own log only what has this level.
    """
    columns = (SpinnerColumn(), TextColumn("{task.description}"), BarColumn(), _Count(), TimeElapsedColumn())
    shown = Console(stderr=True, highlight=False)
    with Progress(*columns, console=shown, transient=True, disable=not shown.is_terminal) as progress:
        work = Work(progress)
        from transformers.utils import logging as transformers_logging

        transformers_logging.disable_progress_bar()  # type: ignore[no-untyped-call]
        with _saying("sentence_transformers", logging.WARNING), _saying("ragguard", level):
            yield work


@contextmanager
def _saying(name: str, level: int) -> Iterator[None]:
    """A log that says no less than this for a while."""
    log = logging.getLogger(name)
    before = log.level
    log.setLevel(level)
    try:
        yield
    finally:
        log.setLevel(before)


class _Count(TextColumn):
    def __init__(self) -> None:
        super().__init__("")

    def render(self, task: Task) -> Text:
        return Text("" if task.total is None else f"{task.completed:.0f}/{task.total:.0f}")


def table(rows: Sequence[Row]) -> Table:
    """Attacks by defenses."""
    k = rows[0].k
    caption = (
        f"ASR@{k}: a poisoned document is in the top {k}; lower is better. SR@{k}: an answering passage is; higher is better. "
        f"Clean harmed: share of questions that lose a document of their top {k} without any attack. "
        "(A) carries a retrieval trigger, (B) is a fluent lie."
    )
    grid = Table(caption=caption)
    for column in ("attack", "defense"):
        grid.add_column(column, overflow="fold")
    for column in (f"ASR@{k}", f"SR@{k}", "clean\nSR", "clean\nharmed", "ms per\nquery"):
        grid.add_column(column, justify="right")
    last = ""
    for row in rows:
        if row.attack != last and last:
            grid.add_section()
        asr = Text(f"{row.asr:.2f}", style="red" if row.asr > 0.1 else "green")
        attack = f"{row.attack} ({row.family})" if row.attack != last else ""
        rates = (f"{rate:.2f}" for rate in (row.sr, row.clean_sr, row.clean_loss))
        grid.add_row(attack, row.defense, asr, *rates, f"{row.ms_per_query:.1f}")
        last = row.attack
    return grid


def print_findings(findings: Sequence[str], out: Path) -> None:
    """What must not be overlooked, and where the report is."""
    console.print("\n[bold]What was not stopped, and what it cost[/bold]")
    for finding in findings or ("Nothing: every attack was held to 10 % of its targets, and no answer was lost.",):
        console.print(Text(f"  - {finding}", style="red" if findings else ""))
    console.print(f"\nWrote {out / 'results.json'} and {out / 'report.html'}")
