"""`ragguard demo`."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.text import Text

from ragguard.cli.options import OUTPUT, AsJson, Seed
from ragguard.cli.show import console, print_findings, table, working

if TYPE_CHECKING:
    from ragguard.evaluation.example import Example

EXAMPLES = ("ragguard demo", "ragguard demo --questions 4 --out /tmp/demo --json")


def demo(
    questions: Annotated[int, typer.Option(min=1, max=50, help="How many questions are attacked.")] = 12,
    top_k: Annotated[int, typer.Option(min=1, max=20, help="Results per question.")] = 5,
    seed: Seed = 0,
    out: Annotated[Path, typer.Option(help="Folder for results.json and report.html.", rich_help_panel=OUTPUT)] = Path(
        "ragguard-demo"
    ),
    as_json: AsJson = False,
) -> None:
    """Poison a small corpus, with a real model and a real index, and show what each defense makes of it."""
    start = time.monotonic()
    with working() as work:
        from ragguard.demo import scenario
        from ragguard.evaluation import report

        total, done = scenario.total_steps(questions), iter(range(1000))
        outcome = scenario.play(questions=questions, k=top_k, seed=seed, step=lambda what: work.step(what, next(done), total))
    seconds = round(time.monotonic() - start, 1)
    report.write_json(out / "results.json", outcome.rows, {**outcome.details, "seconds": seconds})
    report.write_html(
        out / "report.html", outcome.rows, outcome.details, outcome.findings, {outcome.rows[0].attack: outcome.example}
    )
    if as_json:
        typer.echo((out / "results.json").read_text(encoding="utf-8"), nl=False)
        return
    details = outcome.details
    console.print(
        f"\n[bold]RAGGuard demo[/bold]: {details['documents']} passages, {details['questions']} questions, "
        f"{details['budget']} poisoned document for each\n"
        f"top {top_k}, {details['encoder']} on {details['device']}, {seconds:.0f} s\n"
    )
    console.print(table(outcome.rows))
    _print_example(outcome.example)
    print_findings(outcome.findings, out)


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


def _shortened(text: str, limit: int = 160) -> str:
    return text if len(text) <= limit else text[:limit].rsplit(" ", 1)[0] + " ..."
