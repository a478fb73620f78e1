"""`ragguard trace`."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer
from rich.table import Table
from rich.text import Text

from ragguard.cli.options import CACHE, INPUT, AsJson, Cache, Corpus, GuardFile, ManifestFile, Model
from ragguard.cli.show import console, working
from ragguard.text.shown import in_line

if TYPE_CHECKING:
    from ragguard.provenance import Influence, Trace

EXAMPLES = (
    "ragguard trace corpus.jsonl --manifest manifest.jsonl --query 'When did the tunnel open?' --guard guard.json",
    "ragguard trace FOLDER --manifest manifest.jsonl --queries log.txt --by source --top-k 5",
)


def trace(
    sources: Corpus,
    *,
    manifest: ManifestFile,
    query: Annotated[str | None, typer.Option(help="What its results rest on, and what would be there without.")] = None,
    queries: Annotated[
        Path | None,
        typer.Option(
            help="A query log, for the influence of each batch: .jsonl, .json, .csv or .tsv, or .txt with one a line.",
            rich_help_panel=INPUT,
        ),
    ] = None,
    by: Annotated[Literal["batch", "source"], typer.Option(help="Whose influence.")] = "batch",
    key: Annotated[
        list[Path] | None,
        typer.Option(
            help="Public key that the manifest must be signed with. Repeat for more: one must fit.", rich_help_panel=INPUT
        ),
    ] = None,
    guard: GuardFile = None,
    quota: Annotated[
        int | None, typer.Option(min=1, help="Documents of one source that may pass. Not counted without it.")
    ] = None,
    top_k: Annotated[int, typer.Option(min=1, help="Results per query.")] = 10,
    model: Model = None,
    cache: Cache = CACHE,
    as_json: AsJson = False,
) -> None:
    """Trace results to documents, batches and sources: what they rest on, and what would come in without each of them.

    Searches the corpus exactly, guarded as --guard and --quota say; with neither, undefended.
    """
    if query is None and queries is None:
        raise typer.BadParameter("there is nothing to trace; give --query, or --queries with a log.", param_hint="--query")
    with working() as work:
        from ragguard import provenance
        from ragguard.evaluation.datasets import load_queries
        from ragguard.provenance import keys
        from ragguard.provenance.searching import tracer

        expected = provenance.Expected([keys.load_public(path) for path in key or ()])
        log = load_queries(queries) if queries else ()
        documents = provenance.recorded(manifest, sources, expected)
        asking = tracer(documents, guard=guard, quota=quota, model=model, cache=cache, step=work.step)
        work.step("asking")
        traced = asking.trace(query, top_k) if query is not None else None
        influence = asking.influence(log, top_k, by, lambda done, total: work.step("asking", done, total)) if queries else None
    if as_json:
        output = {
            "trace": asdict(traced) if traced else None,
            "influence": None if influence is None else [*map(asdict, influence)],
        }
        typer.echo(json.dumps(output))
        return
    if traced:
        _show(traced, {document.id: str(document.metadata.get("title") or document.text) for document in documents})
    if influence is not None:
        _show_influence(influence, by, len(log), top_k)


def _show(traced: Trace, titles: Mapping[str, str]) -> None:
    results = Table(title=Text(f"What the results rest on: {in_line(traced.query)}"), title_justify="left")
    for column in ("", "document", "score", "batch", "source", "brought in by"):
        results.add_column(column, overflow="fold", justify="right" if column in ("", "score") else "left")
    for rank, result in enumerate(traced.results, 1):
        where = (_named(result.batch), _named(result.source), _named(result.principal))
        results.add_row(str(rank), Text(result.document), f"{result.score:.3f}", *where)
    console.print(results)
    without = Table(title="What would be there without them", title_justify="left")
    for column in ("without", "", "goes", "comes in"):
        without.add_column(column, overflow="fold")
    last = ""
    for case in traced.without:
        if case.kind != last and last:
            without.add_section()
        gone = ", ".join(case.documents) + (f" and with it {', '.join(case.leaving)}" if case.leaving else "")
        entering = (
            "\n".join(f"{result.document}  {in_line(titles[result.document][:50])}" for result in case.entering) or "nothing"
        )
        without.add_row(case.kind if case.kind != last else "", _named(case.name), Text(gone), Text(entering))
        last = case.kind
    console.print(without)


def _show_influence(influence: Sequence[Influence], by: str, queries: int, k: int) -> None:
    table = Table(title=f"Influence of each {by} on {queries} queries", caption=f"Of the top {k} of each.")
    table.add_column(by, overflow="fold")
    for column in ("queries", "of all", "results", "of all"):
        table.add_column(column, justify="right")
    for row in influence:
        table.add_row(_named(row.name), str(row.queries), f"{row.query_share:.1%}", str(row.slots), f"{row.slot_share:.1%}")
    console.print(table)


def _named(name: str | None) -> Text:
    return Text("not recorded", style="bold red") if name is None else Text(name)
