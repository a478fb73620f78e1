"""`ragguard manifest`."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from ragguard.cli.options import OUTPUT, AsJson, Corpus, GuardFile, PrivateKey, Trust
from ragguard.cli.show import console, working

EXAMPLES = (
    "ragguard manifest corpus.jsonl --out manifest.jsonl --source example.org --batch 2026-11 --principal ada --key manifest.key",
    "ragguard manifest FOLDER --out manifest.jsonl --guard guard.json",
)
PROVENANCE = "Of documents that are new"


def manifest(
    sources: Corpus,
    *,
    source: Annotated[
        str | None, typer.Option(help="Who they are from; without it, as their metadata says.", rich_help_panel=PROVENANCE)
    ] = None,
    batch: Annotated[
        str | None,
        typer.Option(
            help="What they came with; without it, as their metadata says, or generation-N.", rich_help_panel=PROVENANCE
        ),
    ] = None,
    principal: Annotated[
        str | None, typer.Option(help="Who brings them in; without it, as their metadata says.", rich_help_panel=PROVENANCE)
    ] = None,
    guard: GuardFile = None,
    key: PrivateKey = None,
    trust: Trust = None,
    out: Annotated[Path, typer.Option(help="The manifest; one that is there gets a further generation.", rich_help_panel=OUTPUT)],
    as_json: AsJson = False,
) -> None:
    """Record a corpus: every document with its hash, source, batch and principal, in a chain of generations.

    Documents that are as they were keep what was recorded of them first.
    """
    with working() as work:
        from ragguard.provenance import Provenance, keys, record
        from ragguard.provenance.guard import used

        encoder, settings = used(guard) if guard else (None, None)
        done = record(
            out,
            sources,
            Provenance(source, batch, principal),
            encoder=encoder,
            settings=settings,
            key=keys.load_private(key) if key else None,
            trusted=[keys.load_public(path) for path in trust or ()],
            step=lambda count: work.step("hashing documents", count),
        )
    if as_json:
        typer.echo(json.dumps(asdict(done)))
        return
    what = f"{done.added} added, {done.removed} removed" if done.new else "nothing new"
    signed = f"signed with {done.key}" if done.key else "not signed"
    console.print(f"Generation {done.generation}: {done.documents} documents, {what}; {signed}", soft_wrap=True, markup=False)
    console.print(f"Remember its head: {done.head}", soft_wrap=True, markup=False)
