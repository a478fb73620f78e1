"""`ragguard ingest`."""

from __future__ import annotations

import json
import logging
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Literal

import typer
from rich.table import Table

from ragguard.cli.options import OUTPUT, AsJson, Model
from ragguard.cli.show import console, working
from ragguard.errors import InvalidInputError

if TYPE_CHECKING:
    from ragguard.ingest import Report

REFUSED = 3
"""Exit code where all is stored but what no defense judges."""

EXAMPLES = (
    "ragguard ingest corpus.jsonl --store evidence.db",
    "ragguard ingest FOLDER --store postgresql+psycopg://user@host/name --for default --for 'ragpart(n=10)'",
)


def ingest(
    sources: Annotated[list[str], typer.Argument(help="JSON lines or Parquet files with text, or folders of them.")],
    *,
    model: Model = None,
    defense: Annotated[
        list[str] | None,
        typer.Option(
            "--for",
            help="Whose evidence: default (unless given), ragpart, ragmask, with options. Repeat for more.",
        ),
    ] = None,
    precision: Annotated[Literal["fp16", "fp32"], typer.Option(help="Of the vectors in the store.")] = "fp16",
    engine: Annotated[
        Literal["local", "ray"],
        typer.Option(help="local, or ray: on the cluster of RAY_ADDRESS, or all cores and GPUs here."),
    ] = "local",
    workers: Annotated[
        int | None,
        typer.Option(min=1, help="Of Ray. By default one for each GPU, or else for each core."),
    ] = None,
    store: Annotated[
        str,
        typer.Option(help="SQLite file, or an URL such as postgresql+psycopg://user@host/name.", rich_help_panel=OUTPUT),
    ],
    as_json: AsJson = False,
) -> None:
    """Put what defenses need of documents into a store ahead of queries. Run it again after an interruption: it goes on.

    Documents that no defense judges are named and left out, and the exit code is then 3. What was built before an error is kept.
    """
    with working(logging.WARNING) as work:
        try:
            from ragguard import ingest as ingesting
        except ImportError as error:
            raise InvalidInputError(str(error)) from error

        report = ingesting.run(
            ingesting.Job(store, tuple(defense or ("default",)), model, precision),
            sources,
            engine=engine,
            workers=workers,
            step=lambda done, total: work.step("building evidence", done, total),
            told=lambda refusal: work.say(f"refused: {refusal.document!r} ({refusal.place}): {refusal.reason}"),
        )
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
    kinds = {f"{report.encoder}|{key}" for key in report.built}
    for kept in report.kept:
        other = "" if kept.kind in kinds else " (another model or setting: not read by this one)"
        console.print(f"{kept.kind}: {kept.texts:,} texts, {kept.megabytes:,.1f} MB{other}", soft_wrap=True, markup=False)


def _rate(report: Report) -> float:
    return round(report.documents / max(report.seconds, 0.1), 1)
