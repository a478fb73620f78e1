"""`ragguard bench`."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Annotated, Literal

import typer

from ragguard.cli.options import CACHE, OUTPUT, AsJson, Cache, Model, Seed
from ragguard.cli.show import console, print_findings, table, working

EXAMPLES = (
    "ragguard bench FOLDER --attack query-copy --attack hotflip --defense none --defense default",
    "ragguard bench beir:scifact --attack \"query-copy(places=['front', 'end'])\" --defense ragpart+ragmask --queries 20",
    "ragguard bench FOLDER --attack poisonedrag --defense my.module:factory --out mine --resume",
)


def _attacks(incomplete: str) -> list[str]:
    from ragguard.evaluation.registry import ATTACKS

    return [name for name in ATTACKS if name.startswith(incomplete)]


def _defenses(incomplete: str) -> list[str]:
    from ragguard.evaluation.registry import DEFENSES, WHOLE_CORPUS

    return [name for name in (*DEFENSES, *WHOLE_CORPUS) if name.startswith(incomplete)]


def bench(
    dataset: Annotated[str, typer.Argument(help="Folder in BEIR layout, or beir:NAME, or hf:OWNER/NAME.")],
    *,
    model: Model = None,
    attack: Annotated[
        list[str],
        typer.Option(help="Name, or name(option=value, ...). Repeat for more.", autocompletion=_attacks),
    ],
    defense: Annotated[
        list[str],
        typer.Option(
            help="Name with options; a+b applies both; module:factory for your own. Repeat for more.",
            autocompletion=_defenses,
        ),
    ],
    top_k: Annotated[int, typer.Option(min=1, help="Results per query.")] = 10,
    queries: Annotated[int, typer.Option(min=1, help="How many queries are attacked.")] = 100,
    documents: Annotated[int, typer.Option(min=1, help="Poisoned documents for each query.")] = 3,
    tokens: Annotated[int | None, typer.Option(min=1, help="Longest poisoned document, in words.")] = None,
    together: Annotated[
        bool,
        typer.Option("--together", help="Plant against all queries at once, as PoisonedRAG does."),
    ] = False,
    retriever: Annotated[Literal["dense", "bm25", "static"], typer.Option(help="What finds candidates.")] = "dense",
    seed: Seed = 0,
    resume: Annotated[
        bool,
        typer.Option("--resume", help="Go on with an interrupted run in the same folder."),
    ] = False,
    out: Annotated[Path, typer.Option(help="Folder for results.json and report.html.", rich_help_panel=OUTPUT)] = Path(
        "ragguard-bench"
    ),
    cache: Cache = CACHE,
    as_json: AsJson = False,
) -> None:
    """Attack a corpus of yours, or a public one, and measure what each defense makes of it."""
    start = time.monotonic()
    with working() as work:
        from ragguard.evaluation import bench as running

        settings = running.BenchSettings(
            dataset=dataset,
            attacks=tuple(attack),
            defenses=tuple(defense),
            retriever=retriever,
            model=model,
            k=top_k,
            queries=queries,
            documents=documents,
            tokens=tokens,
            together=together,
            seed=seed,
        )
        result = running.run(settings, out, cache, resume=resume, step=work.step)
        for warning in result.details.get("warnings", ()):
            work.say(f"warning: {warning}")
    if as_json:
        typer.echo((out / "results.json").read_text(encoding="utf-8"), nl=False)
        return
    details = result.details
    console.print(
        f"\n[bold]RAGGuard bench[/bold]: {details['dataset']}, {details['documents']} documents, {details['questions']} queries, "
        f"budget {details['budget']}, {details['protocol']}\n"
        f"top {top_k} of {details['retriever']} retrieval, {details['encoder']} on {details['device']}, "
        f"{time.monotonic() - start:.0f} s\n"
    )
    console.print(table(result.rows))
    print_findings(result.findings, out)
