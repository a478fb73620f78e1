"""`ragguard verify`."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.table import Table
from rich.text import Text

from ragguard.cli.options import FOUND, INPUT, AsJson, Corpus, GuardFile, ManifestFile
from ragguard.cli.show import console, working

if TYPE_CHECKING:
    from ragguard.provenance import Finding

EXAMPLES = (
    "ragguard verify corpus.jsonl --manifest manifest.jsonl --key manifest.key.pub --at-least 3",
    "ragguard verify FOLDER --manifest manifest.jsonl --guard guard.json --json",
)
SHOWN = 50
"""Findings on the screen; --json has a thousand."""


def verify(
    sources: Corpus,
    *,
    manifest: ManifestFile,
    key: Annotated[
        list[Path] | None,
        typer.Option(help="Public key that it must be signed with. Repeat for more: one must fit.", rich_help_panel=INPUT),
    ] = None,
    at_least: Annotated[int, typer.Option(min=1, help="The least that its last generation may be.")] = 1,
    head: Annotated[str | None, typer.Option(help="A head that you remember: it must be in the manifest.")] = None,
    guard: GuardFile = None,
    as_json: AsJson = False,
) -> None:
    """Compare a corpus with its manifest: what was changed, added, taken away or moved, and which document.

    Exit code 4 if anything is not as recorded.
    """
    with working() as work:
        from ragguard import provenance
        from ragguard.provenance import keys
        from ragguard.provenance.guard import used

        expected = provenance.Expected([keys.load_public(path) for path in key or ()], at_least, head)
        encoder, settings = used(guard) if guard else (None, None)
        verification = provenance.verify(
            manifest,
            sources,
            expected,
            encoder=encoder,
            settings=settings,
            step=lambda count: work.step("hashing documents", count),
        )
    if as_json:
        typer.echo(json.dumps(asdict(verification)))
        raise typer.Exit(0 if verification.ok else FOUND)
    if not verification.ok:
        _show(verification.findings)
    if verification.found > SHOWN:
        console.print(f"and {verification.found - SHOWN} more; --json has a thousand")
    signed = f"signed with {verification.key}" if verification.key else "not signed"
    whose = "" if key or not verification.key else ", which nobody vouched for: name it with --key"
    if verification.generation:
        state = "as recorded" if verification.ok else "NOT as recorded"
        console.print(
            f"{verification.documents} documents, {state} in generation {verification.generation}, {signed}{whose}",
            soft_wrap=True,
            markup=False,
        )
        console.print(f"Its head is {verification.head}", soft_wrap=True, markup=False)
    raise typer.Exit(0 if verification.ok else FOUND)


def _show(findings: Sequence[Finding]) -> None:
    table = Table.grid(padding=(0, 2))
    for finding in findings[:SHOWN]:
        table.add_row(Text(finding.kind, style="bold red"), Text(finding.document), Text(finding.place), Text(finding.what))
    console.print(table)
