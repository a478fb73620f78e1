"""The command line."""

from __future__ import annotations

import logging
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from ragguard import __version__
from ragguard.errors import InvalidInputError, RAGGuardError

try:
    import typer
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn
    from rich.table import Table
    from rich.text import Text
except ImportError as missing:
    raise SystemExit(f"the command line needs {missing.name}; run: pip install 'ragguard-defense[demo]'") from missing

if TYPE_CHECKING:
    from ragguard.defenses import CalibratedGuard
    from ragguard.evaluation.example import Example
    from ragguard.evaluation.metrics import Row

CACHE = Path.home() / ".cache" / "ragguard"
MODEL = "A sentence-transformers model, or onnx:int8 or onnx:fp32, or onnx:int8:MODEL; without it, the offline one."

app = typer.Typer(
    name="ragguard",
    help="A guard around any retriever against poisoned documents.",
    no_args_is_help=True,
    add_completion=True,
    pretty_exceptions_enable=False,
)
console = Console(highlight=False)


def main() -> None:
    """Run the command line; an error of RAGGuard's ends in one line and exit code 1."""
    try:
        app()
    except RAGGuardError as error:
        raise SystemExit(f"ragguard: {error}") from None


@app.callback(invoke_without_command=True)
def _root(version: Annotated[bool, typer.Option("--version", help="Show the version and exit.")] = False) -> None:
    if version:
        console.print(f"ragguard {__version__}")
        raise typer.Exit


@app.command()
def demo(
    out: Annotated[Path, typer.Option(help="Folder for results.json and report.html.")] = Path("ragguard-demo"),
    questions: Annotated[int, typer.Option(min=1, max=50, help="How many questions are attacked.")] = 12,
    top_k: Annotated[int, typer.Option(min=1, max=20, help="Results per question.")] = 5,
    seed: Annotated[int, typer.Option(min=0, help="Of the drawn questions and the attacks.")] = 0,
) -> None:
    """Poison a small corpus, with a real model and a real index, and show what each defense makes of it."""
    start = time.monotonic()
    _quiet()
    from ragguard.demo import scenario
    from ragguard.evaluation import report

    with _progress() as progress:
        task = progress.add_task("starting", total=scenario.total_steps(questions))

        def step(what: str) -> None:
            progress.update(task, description=what, advance=1)

        outcome = scenario.play(questions=questions, k=top_k, seed=seed, step=step)
    seconds = round(time.monotonic() - start, 1)
    report.write_json(out / "results.json", outcome.rows, {**outcome.details, "seconds": seconds})
    report.write_html(
        out / "report.html", outcome.rows, outcome.details, outcome.findings, {outcome.rows[0].attack: outcome.example}
    )
    details = outcome.details
    console.print(
        f"\n[bold]RAGGuard demo[/bold]: {details['documents']} passages, {details['questions']} questions, "
        f"{details['budget']} poisoned document for each\n"
        f"top {top_k}, {details['encoder']} on {details['device']}, {seconds:.0f} s\n"
    )
    console.print(_table(outcome.rows))
    _print_example(outcome.example)
    _print_findings(outcome.findings, out)


@app.command()
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
    _quiet()
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
    with _progress() as progress:
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
    console.print(_table(result.rows))
    _print_findings(result.findings, out)


@app.command()
def calibrate(
    out: Annotated[Path, typer.Option(help="The file to write.")],
    data: Annotated[
        str | None, typer.Argument(help="Folder with corpus.jsonl and queries.jsonl, or beir:NAME, or hf:OWNER/NAME.")
    ] = None,
    corpus: Annotated[Path | None, typer.Option(help="Documents instead of a folder: JSON lines with text.")] = None,
    queries: Annotated[
        Path | None, typer.Option(help="Clean queries: .jsonl with text, or one a line. Without any, they are derived.")
    ] = None,
    max_clean_query_loss: Annotated[float, typer.Option(help="Share of clean queries that may lose a document.")] = 0.02,
    top_k: Annotated[int, typer.Option(min=1, help="Results per query, at most.")] = 10,
    confident: Annotated[bool, typer.Option(help="Hold the share with 95 % confidence, not on average.")] = False,
    poisoned: Annotated[float, typer.Option(help="Share of the queries that may have met poison already.")] = 0.0,
    model: Annotated[str | None, typer.Option(help=MODEL)] = None,
    cache: Annotated[Path, typer.Option(help="Folder of embeddings, kept between runs.")] = CACHE,
) -> None:
    """Calibrate the default guard on a corpus and clean queries, and write it to a file that CalibratedGuard.load reads."""
    from pydantic import ValidationError

    from ragguard.defenses import CalibratedGuardSettings
    from ragguard.evaluation import calibrate as calibrating

    try:
        settings = CalibratedGuardSettings(max_clean_query_loss=max_clean_query_loss, confident=confident, poisoned=poisoned)
    except ValidationError as error:
        raise InvalidInputError(str(error)) from error
    documents, asked = calibrating.read(data, corpus, queries, cache)
    _quiet()
    with _progress() as progress:
        task = progress.add_task("starting", total=None)

        def step(what: str, done: int, total: int) -> None:
            progress.update(task, description=what, completed=done, total=total)

        guard = calibrating.calibrate(documents, asked, k=top_k, settings=settings, model=model, cache=cache, step=step)
    guard.save(out)
    console.print(_calibration(guard))
    console.print(calibrating.promise(guard), soft_wrap=True)
    console.print(f"\nWrote {out}: CalibratedGuard.load({str(out)!r}, encoder, documents)", soft_wrap=True, markup=False)


def _calibration(guard: CalibratedGuard) -> Table:
    found = guard.calibration
    fitted, held = len(next(iter(found.scales.values())).maxima), len(found.maxima)
    what = "derived" if found.derived else "real"
    table = Table(
        title=f"Calibrated on {found.documents} documents",
        caption=f"{fitted} {what} queries fit the scales, {held} others set the threshold: {guard.threshold:.3g}",
    )
    table.add_column("signal")
    for column in ("typical", "unit"):
        table.add_column(column, justify="right")
    for name, one in found.scales.items():
        table.add_row(name, f"{one.typical:.3g}", f"{one.unit:.3g}")
    return table


def _quiet() -> None:
    """Nothing tears the progress bar: no bars of models being read, no warnings that what is under attack is under attack."""
    from transformers.utils import logging as transformers_logging

    logging.getLogger("sentence_transformers").setLevel(logging.WARNING)
    logging.getLogger("ragguard").setLevel(logging.ERROR)
    transformers_logging.disable_progress_bar()  # type: ignore[no-untyped-call]


def _progress() -> Progress:
    columns = (SpinnerColumn(), TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    return Progress(*columns, console=Console(stderr=True), transient=True)


def _table(rows: Sequence[Row]) -> Table:
    k = rows[0].k
    caption = (
        f"ASR@{k}: a poisoned document is in the top {k}; lower is better. SR@{k}: an answering passage is; higher is better. "
        f"Clean harmed: share of questions that lose a document of their top {k} without any attack. "
        "(A) carries a retrieval trigger, (B) is a fluent lie."
    )
    table = Table(caption=caption)
    for column in ("attack", "defense"):
        table.add_column(column, overflow="fold")
    for column in (f"ASR@{k}", f"SR@{k}", "clean\nSR", "clean\nharmed", "ms per\nquery"):
        table.add_column(column, justify="right")
    last = ""
    for row in rows:
        if row.attack != last and last:
            table.add_section()
        asr = Text(f"{row.asr:.2f}", style="red" if row.asr > 0.1 else "green")
        attack = f"{row.attack} ({row.family})" if row.attack != last else ""
        rates = (f"{rate:.2f}" for rate in (row.sr, row.clean_sr, row.clean_loss))
        table.add_row(attack, row.defense, asr, *rates, f"{row.ms_per_query:.1f}")
        last = row.attack
    return table


def _print_example(example: Example) -> None:
    console.print(Text("\nOne question in full", style="bold").append("  [[marked]]: what carried the similarity", style="dim"))
    console.print(f"{example.question}  (answer: {example.answer})", markup=False)
    for title, hits in (("Undefended", example.before), (example.defense, example.after)):
        console.print(f"\n  [bold]{title}[/bold]")
        for hit in hits:
            what, style = ("POISONED", "red") if hit.poisoned else ("answers", "green") if hit.relevant else ("honest", "dim")
            line = Text(f"  {hit.rank}. ")
            line.append(f"{what:8} ", style=style)
            for text, marked in hit.parts if hit.poisoned else [(_shortened(hit.parts[0][0]), False)]:
                line.append(f"[[{text}]]" if marked else text, style="black on yellow" if marked else "")
            console.print(line)
    console.print(Text(f"\n  Why the poisoned one fell: {example.reason}", style="dim"))


def _print_findings(findings: Sequence[str], out: Path) -> None:
    console.print("\n[bold]What was not stopped, and what it cost[/bold]")
    for finding in findings or ("Nothing: every attack was held to 10 % of its targets, and no answer was lost.",):
        console.print(Text(f"  - {finding}", style="red" if findings else ""))
    console.print(f"\nWrote {out / 'results.json'} and {out / 'report.html'}")


def _shortened(text: str, limit: int = 160) -> str:
    return text if len(text) <= limit else text[:limit].rsplit(" ", 1)[0] + " ..."
