"""`ragguard ingest`."""

from __future__ import annotations

import json
import logging
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer
from rich.table import Table

from ragguard.cli.show import MODEL, console, progress_bar, quiet
from ragguard.errors import InvalidInputError

if TYPE_CHECKING:
    from ragguard.ingest import Refusal, Report

REFUSED = 3
"""Exit code where all is stored but what no defense judges; 1 is an error, 2 a wrong option, 130 an interruption."""


def ingest(
    sources: Annotated[list[str], typer.Argument(help="JSON lines or Parquet files with text, or folders of them.")],
    store: Annotated[str, typer.Option(help="SQLite file, or an URL such as postgresql+psycopg://user@host/name.")],
    defense: Annotated[
        list[str] | None, typer.Option("--for", help="Whose evidence: default, ragpart, ragmask, with options. Repeat for more.")
    ] = None,
    model: Annotated[str | None, typer.Option(help=MODEL)] = None,
    precision: Annotated[str, typer.Option(help="Of the vectors in the store: fp16 or fp32.")] = "fp16",
    engine: Annotated[
        str, typer.Option(help="local, or ray: on the cluster of RAY_ADDRESS, or all cores and GPUs here.")
    ] = "local",
    workers: Annotated[
        int | None, typer.Option(min=1, help="Of Ray. By default one for each GPU, or else for each core.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the report as JSON.")] = False,
) -> None:
    """Put what defenses need of documents into a store ahead of queries. Run it again after an interruption: it goes on.

    Exit code 0: all documents have their evidence. 3: all but those that no defense judges, which are named.
    1: an error; what was built before is stored. 2: a wrong option.
    """
    quiet(logging.WARNING)
    try:
        from ragguard import ingest as ingesting
    except ImportError as error:
        raise InvalidInputError(str(error)) from error

    job = ingesting.Job(store, tuple(defense or ("default",)), model, precision)  # type: ignore[arg-type]  # the store checks it
    with progress_bar() as progress:
        task = progress.add_task("starting", total=None)

        def step(done: int, total: int) -> None:
            progress.update(task, description="building evidence", completed=done, total=total)

        def told(one: Refusal) -> None:
            progress.console.print(f"refused: {one.document!r} ({one.place}): {one.reason}", markup=False, soft_wrap=True)

        report = ingesting.run(job, sources, engine=engine, workers=workers, step=step, told=told)
    if as_json:
        typer.echo(json.dumps({**asdict(report), "documents_per_second": _rate(report)}))
    else:
        _show(report)
    if report.refused:
        raise typer.Exit(REFUSED)


def _show(report: Report) -> None:
    rate = f"{report.seconds:.1f} s, {_rate(report):,.1f} a second"
    console.print(f"{report.documents:,} documents in {rate}, {report.refused:,} refused")
    table = Table()
    for column in ("evidence", "was there", "built"):
        table.add_column(column, justify="left" if column == "evidence" else "right")
    for key, built in report.built.items():
        table.add_row(key, f"{report.there[key]:,}", f"{built:,}")
    console.print(table)
    mine = {f"{report.encoder}|{key}" for key in report.built}
    for one in report.kept:
        other = "" if one.kind in mine else " (another model or setting: not read by this one)"
        console.print(f"{one.kind}: {one.texts:,} texts, {one.megabytes:,.1f} MB{other}", soft_wrap=True, markup=False)


def _rate(report: Report) -> float:
    return round(report.documents / max(report.seconds, 0.1), 1)
