"""`ragguard doctor`."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.table import Table
from rich.text import Text

from ragguard.cli.options import INPUT, AsJson, Model
from ragguard.cli.show import console, working

if TYPE_CHECKING:
    from ragguard.doctor import Finding

EXAMPLES = (
    "ragguard doctor",
    "ragguard doctor --guard guard.json --corpus corpus.jsonl --store evidence.db",
    "ragguard doctor --model onnx:int8 --json",
)

STYLE = {"ok": "green", "note": "yellow", "problem": "bold red"}


def doctor(
    guard: Annotated[Path | None, typer.Option(help="What ragguard calibrate wrote.", rich_help_panel=INPUT)] = None,
    corpus: Annotated[
        Path | None, typer.Option(help="The documents it is for: .jsonl, .json, .csv or .tsv with text.", rich_help_panel=INPUT)
    ] = None,
    store: Annotated[
        str | None, typer.Option(help="Evidence: SQLite file, or an URL of PostgreSQL.", rich_help_panel=INPUT)
    ] = None,
    model: Model = None,
    as_json: AsJson = False,
) -> None:
    """Look whether everything a guard needs is there and fits together, and say what to do where it does not.

    Exit code 1 if there is a problem.
    """
    with working() as work:
        from ragguard.doctor import examine

        findings = list(examine(model, guard, corpus, store, work.step))
    well = all(finding.state != "problem" for finding in findings)
    if as_json:
        typer.echo(json.dumps({"ok": well, "findings": [asdict(finding) for finding in findings]}))
    else:
        _show(findings)
        options = {"--guard": guard, "--corpus": corpus, "--store": store}
        if left := ", ".join(name for name, value in options.items() if value is None):
            console.print(Text(f"Not looked at: {left}.", style="dim"))
    raise typer.Exit(not well)


def _show(findings: Sequence[Finding]) -> None:
    table = Table.grid(padding=(0, 2))
    for finding in findings:
        message = Text(finding.what).append(f"\n{finding.todo}", style="italic") if finding.todo else Text(finding.what)
        table.add_row(Text(finding.state, style=STYLE[finding.state]), finding.about, message)
    console.print(table)
