"""`ragguard rollback`."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from ragguard.cli.options import OUTPUT, AsJson, Corpus, ManifestFile, PrivateKey, Trust
from ragguard.cli.show import console, working

EXAMPLES = (
    "ragguard rollback corpus.jsonl --manifest manifest.jsonl --batch 2026-11 --dry-run",
    "ragguard rollback corpus.jsonl --manifest manifest.jsonl --batch 2026-11 --key manifest.key",
)
SHOWN = 10
"""Ids on the screen; --json and the file of what was taken out have all."""


def rollback(
    sources: Corpus,
    *,
    manifest: ManifestFile,
    batch: Annotated[str, typer.Option(help="What to take out, as the manifest names it.")],
    key: PrivateKey = None,
    trust: Trust = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what would be done.")] = False,
    removed: Annotated[
        Path | None,
        typer.Option(help="File of what is taken out; named after the manifest unless given.", rich_help_panel=OUTPUT),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Take a batch out of a corpus: out of its files, and by a further generation out of its manifest.

    What is taken out is kept in a file. All files change or none; after an interruption, run it again. Indexes and vector stores
    are yours: delete the same ids there.
    """
    with working():
        from ragguard import provenance
        from ragguard.provenance import keys

        done = provenance.rollback(
            manifest,
            sources,
            batch,
            removed=removed,
            key=keys.load_private(key) if key else None,
            trusted=[keys.load_public(path) for path in trust or ()],
            dry_run=dry_run,
        )
    if as_json:
        typer.echo(json.dumps(asdict(done)))
        return
    if done.finished:
        console.print("An earlier rollback was interrupted, and is ended now.")
    if done.documents:
        names = ", ".join(done.documents[:SHOWN]) + (", ..." if len(done.documents) > SHOWN else "")
        what = "Taken out" if done.done else "Would be taken out"
        console.print(f"{what}: {len(done.documents)} documents of batch {batch}: {names}", soft_wrap=True, markup=False)
        where = "They are kept in" if done.done else "They would be kept in"
        console.print(f"{where} {done.removed}; {done.left} documents stay.", soft_wrap=True, markup=False)
    if done.done:
        console.print(f"Generation {done.generation}. Remember its head: {done.head}", soft_wrap=True, markup=False)
        console.print("Delete the same ids from your index or vector store.")
