"""`ragguard bench`."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Annotated

import typer

from ragguard.cli.show import CACHE, MODEL, console, print_findings, progress_bar, quiet, table
from ragguard.errors import InvalidInputError


def bench(
    dataset: Annotated[str, typer.Argument(help="Folder in BEIR layout, or beir:NAME, or hf:OWNER/NAME.")],
    attack: Annotated[list[str], typer.Option(help="Name, or name(option=value, ...). Repeat for more.")],
    defense: Annotated[list[str], typer.Option(help="Name with options; a+b applies both; module:factory for your own.")],
    out: Annotated[Path, typer.Option(help="Folder for results.json and report.html.")] = Path("ragguard-bench"),
    top_k: Annotated[int, typer.Option(min=1, help="Results per query.")] = 10,
    queries: Annotated[int, typer.Option(min=1, help="How many queries are attacked.")] = 100,
    documents: Annotated[int, typer.Option(min=1, help="Poisoned documents for each query.")] = 3,
    tokens: Annotated[int | None, typer.Option(min=1, help="Longest poisoned document, in words.")] = None,
    together: Annotated[bool, typer.Option(help="Plant against all queries at once, as PoisonedRAG does.")] = False,
    retriever: Annotated[str, typer.Option(help="dense, bm25, or static.")] = "dense",
    model: Annotated[str | None, typer.Option(help=MODEL)] = None,
    seed: Annotated[int, typer.Option(min=0, help="Of the drawn queries and the attacks.")] = 0,
    cache: Annotated[Path, typer.Option(help="Folder of embeddings and triggers, kept between runs.")] = CACHE,
    resume: Annotated[bool, typer.Option(help="Go on with an interrupted run in the same folder.")] = False,
) -> None:
    """Attack a corpus of yours, or a public one, and measure what each defense makes of it."""
    start = time.monotonic()
    quiet()
    from pydantic import ValidationError

    from ragguard.evaluation import bench as running

    try:
        settings = running.BenchSettings(
            dataset=dataset,
            attacks=tuple(attack),
            defenses=tuple(defense),
            retriever=retriever,  # type: ignore[arg-type]  # checked by pydantic
            model=model,
            k=top_k,
            queries=queries,
            documents=documents,
            tokens=tokens,
            together=together,
            seed=seed,
        )
    except ValidationError as error:
        raise InvalidInputError(str(error)) from error
    with progress_bar() as progress:
        task = progress.add_task("starting", total=None)

        def step(what: str, done: int, total: int) -> None:
            progress.update(task, description=what, completed=done, total=total)

        result = running.run(settings, out, cache, resume=resume, step=step)
    details = result.details
    console.print(
        f"\n[bold]RAGGuard bench[/bold]: {details['dataset']}, {details['documents']} documents, {details['questions']} queries, "
        f"budget {details['budget']}, {details['protocol']}\n"
        f"top {top_k} of {details['retriever']} retrieval, {details['encoder']} on {details['device']}, "
        f"{time.monotonic() - start:.0f} s\n"
    )
    console.print(table(result.rows))
    print_findings(result.findings, out)
