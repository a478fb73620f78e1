"""`ragguard audit`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.table import Table
from rich.text import Text

from ragguard.cli.options import FOUND, INPUT, AsJson, GuardFile, Model
from ragguard.cli.show import console, working
from ragguard.text.shown import in_line

if TYPE_CHECKING:
    from ragguard.audit.replay import Depth
    from ragguard.audit.summary import Summary
    from ragguard.protocols import Defense
    from ragguard.types import Document

EXAMPLES = (
    "ragguard audit audit.jsonl",
    "ragguard audit audit.jsonl.1 audit.jsonl --guard guard.json --corpus corpus.jsonl --quota 2 --queries queries.jsonl",
)
SHOWN = 20
"""Rows on the screen; --json has a thousand."""


def audit(
    logs: Annotated[list[Path], typer.Argument(help="An audit log; of one that was rotated, all files, oldest first.")],
    *,
    guard: GuardFile = None,
    corpus: Annotated[
        Path | None, typer.Option(help="The documents it judged: .jsonl, .json, .csv or .tsv with text.", rich_help_panel=INPUT)
    ] = None,
    quota: Annotated[int | None, typer.Option(min=1, help="Documents of one source that may pass, as it was served.")] = None,
    queries: Annotated[
        Path | None,
        typer.Option(
            help="Queries, where the log has hashes: .jsonl, .json, .csv or .tsv, or .txt with one a line.", rich_help_panel=INPUT
        ),
    ] = None,
    model: Model = None,
    as_json: AsJson = False,
) -> None:
    """Check an audit log, say what was decided, and decide it again: from its numbers, with --guard and --corpus from texts.

    Exit code 4 if a line is damaged or missing, a decision was lost, or one comes out otherwise.
    """
    if (guard is None) != (corpus is None):
        raise typer.BadParameter("a guard needs its corpus, and a corpus its guard; give both.", param_hint="--guard")
    if guard is None and any(option is not None for option in (quota, queries, model)):
        raise typer.BadParameter(
            "these are for deciding again from texts; give --guard, too.", param_hint="--quota, --queries or --model"
        )
    with working() as work:
        from pydantic import TypeAdapter

        from ragguard.audit.summary import Summary, summarise
        from ragguard.defenses import CalibratedGuard, SourceQuota
        from ragguard.evaluation import models
        from ragguard.evaluation.datasets import load_documents, load_queries
        from ragguard.text import content_key

        queries_by_hash = {content_key(query): query for query in (load_queries(queries) if queries else ())}
        defenses: list[Defense] = []
        documents: Sequence[Document] = ()
        if guard and corpus:
            work.step("reading the corpus")
            documents = load_documents(corpus)
            work.step("loading the model")
            defenses = [CalibratedGuard.load(guard, models.load(model), documents)]
            if quota is not None:
                defenses.append(SourceQuota(quota))
        summary = summarise(
            logs,
            defenses,
            {document.id: document for document in documents},
            queries_by_hash,
            step=lambda count: work.step("deciding again", count),
        )
    if as_json:
        typer.echo(TypeAdapter(Summary).dump_json(summary).decode())
    else:
        _show(summary)
    raise typer.Exit(0 if summary.ok else FOUND)


def _show(summary: Summary) -> None:
    def say(line: str, style: str = "") -> None:
        console.print(Text(in_line(line), style=style), soft_wrap=True)

    if summary.first and summary.last:
        when = f" from {summary.first:%Y-%m-%d %H:%M:%S} to {summary.last:%Y-%m-%d %H:%M:%S} UTC"
        say(f"{summary.decisions} decisions{when}: {_counts(summary.outcomes)}; writers: {summary.writers}")
    else:
        say("no decisions")
    if summary.verdicts:
        table = Table(title="Verdicts", title_justify="left")
        table.add_column("defense", overflow="fold")
        for action in ("keep", "demote", "drop"):
            table.add_column(action, justify="right")
        for name, counts in summary.verdicts.items():
            table.add_row(Text(in_line(name)), *(str(counts.get(action, 0)) for action in ("keep", "demote", "drop")))
        console.print(table)
    if summary.dropped:
        table = Table(title="Dropped most", title_justify="left")
        for column in ("document", "times", "by", "why, the last time"):
            table.add_column(column, overflow="fold", justify="right" if column == "times" else "left")
        for dropped in summary.dropped[:SHOWN]:
            table.add_row(
                Text(in_line(dropped.document)), str(dropped.times), Text(in_line(dropped.defense)), Text(in_line(dropped.reason))
            )
        console.print(table)
        if len(summary.dropped) > SHOWN:
            say(f"and {len(summary.dropped) - SHOWN} more documents")
    for flaw in summary.flaws[:SHOWN]:
        say(f"{flaw.kind}  {flaw.place}: {flaw.what}", "bold red")
    for difference in summary.differences[:SHOWN]:
        say(f"otherwise  {difference.writer} {difference.number}: {'; '.join(difference.what)}", "bold red")
    say(f"The log is {'whole' if not summary.flawed else f'NOT whole: {summary.flawed} flaws'}.")
    depths: dict[Depth, str] = {"texts": "from texts", "numbers": "from the recorded numbers", "nothing": "not at all"}
    again = ", ".join(f"{summary.replayed[depth]} {how}" for depth, how in depths.items() if depth in summary.replayed)
    if again:
        say(f"Decided again: {again}; {summary.different or 'none'} came out otherwise.")
    for what, count in summary.changes.items():
        say(f"  of {count}, {what}")
    for why, count in [*summary.why_not.items()][:SHOWN]:
        say(f"  not from texts: {count}, since {why}")


def _counts(outcomes: Mapping[str, int]) -> str:
    return ", ".join(f"{count} {name}" for name, count in outcomes.items())
