"""`ragguard scan`."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer
from pydantic import ValidationError
from rich.table import Table
from rich.text import Text

from ragguard.cli.options import FOUND, INPUT, OUTPUT, AsJson, Model
from ragguard.cli.show import console, working
from ragguard.text.shown import visible

if TYPE_CHECKING:
    from ragguard.gate import GateVerdict
    from ragguard.scan import Found, Scan
    from ragguard.types import Document

SHOWN = 20
"""Documents that are listed; the report and the file of verdicts have more."""

EXAMPLES = (
    "ragguard scan corpus.jsonl --report scan.html",
    "ragguard scan incoming/ --trusted corpus.jsonl --queries queries.txt",
    "ragguard scan incoming.parquet --trusted corpus.jsonl --quarantine quarantine.db --json",
)

STYLE = {"flag": "yellow", "quarantine": "bold red"}


def scan(
    sources: Annotated[
        list[str], typer.Argument(help="JSON lines, Parquet, .txt or .md files, or folders of them.", show_default=False)
    ],
    *,
    trusted: Annotated[
        list[str] | None,
        typer.Option(
            help="Honest documents to judge by, in the same forms. Repeat for more. Without any, the sources judge themselves.",
            rich_help_panel=INPUT,
        ),
    ] = None,
    queries: Annotated[
        Path | None,
        typer.Option(
            help="What users ask: .jsonl, .json, .csv or .tsv, or .txt with one a line. Finds copied questions, and hubs.",
            rich_help_panel=INPUT,
        ),
    ] = None,
    model: Model = None,
    max_flagged: Annotated[float, typer.Option(help="Share of honest documents that may be flagged.")] = 0.01,
    poisoned: Annotated[
        float | None,
        typer.Option(help="Share of what is judged by that may be poison: 0 with --trusted, 0.01 without.", show_default=False),
    ] = None,
    fail_on: Annotated[
        Literal["quarantined", "flagged", "never"], typer.Option(help="What makes the exit code 4, for CI.")
    ] = "quarantined",
    report: Annotated[
        Path | None, typer.Option(help="HTML page with what was found, marked in its text.", rich_help_panel=OUTPUT)
    ] = None,
    verdicts: Annotated[
        Path | None, typer.Option(help="JSON lines: the verdict on every document.", rich_help_panel=OUTPUT)
    ] = None,
    quarantine: Annotated[
        str | None,
        typer.Option(help="Database in which what is quarantined is kept, for ragguard review.", rich_help_panel=OUTPUT),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Judge documents before they are indexed, without any query: admit, flag or quarantine each.

    Looks for odd passages, planted words, hidden text, orders to a model, and floods of near copies.
    Exit code 4 if something is quarantined.
    """
    with working() as work:
        from ragguard.gate import GateSettings
        from ragguard.scan import Setting, run

        try:
            strict = GateSettings(max_flagged=max_flagged, poisoned=poisoned)
        except ValidationError as error:
            wrong = error.errors()[0]
            option = "--" + str(wrong["loc"][0]).replace("_", "-")
            raise typer.BadParameter(f"{wrong['msg']}, not {wrong['input']}.", param_hint=option) from error
        setting = Setting(tuple(sources), tuple(trusted or ()), queries, model, strict, verdicts)
        with _holding(quarantine) as held:
            result = run(setting, work.step, held)
        if report is not None:
            from ragguard.scan.report import write_html

            write_html(report, result)
    if as_json:
        typer.echo(json.dumps(result.as_json()))
    else:
        _show(result)
        for path in (report, verdicts):
            if path is not None:
                console.print(f"Wrote {path}", soft_wrap=True, markup=False)
    if (fail_on != "never" and result.quarantined) or (fail_on == "flagged" and result.flagged):
        raise typer.Exit(FOUND)


@contextmanager
def _holding(database: str | None) -> Iterator[Callable[[Document, GateVerdict], object]]:
    """Keeps what is quarantined, where there is a place for it."""
    if database is None:
        yield lambda *_: None
        return
    from ragguard.quarantine import Quarantine

    with Quarantine(database) as kept:
        yield lambda document, verdict: kept.hold(document, verdict.verdict(), by="scan")


def _show(result: Scan) -> None:
    by = f"{result.yardstick['documents']:,} trusted documents" if result.yardstick["trusted"] else "themselves"
    table = Table(title=f"{result.documents:,} documents judged by {by}")
    for column in ("document", "action", "why"):
        table.add_column(column, overflow="fold")
    for finding in result.found[:SHOWN]:
        verdict = finding.verdict
        table.add_row(Text(visible(verdict.document_id)), Text(verdict.action, style=STYLE[verdict.action]), _why(finding))
    if result.found:
        console.print(table)
        if (left := result.flagged + result.quarantined - SHOWN) > 0:
            console.print(f"and {left:,} more: --report and --verdicts show them")
    console.print(
        f"{result.quarantined:,} quarantined, {result.flagged:,} flagged, {result.admitted:,} admitted of {result.documents:,} "
        f"documents in {result.seconds} s"
    )


def _why(finding: Found) -> Text:
    marked = " ... ".join([part[:60] for part, is_marked in finding.parts if is_marked][:2])
    return Text(finding.verdict.reason).append(f"\n{visible(marked)}" if marked else "", style="dim")
