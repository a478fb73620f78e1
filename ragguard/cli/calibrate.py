"""`ragguard calibrate`."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from pydantic import ValidationError
from rich.table import Table

from ragguard.cli.options import CACHE, INPUT, OUTPUT, AsJson, Cache, Model
from ragguard.cli.show import console, working

if TYPE_CHECKING:
    from ragguard.evaluation.calibrate import Summary

EXAMPLES = (
    "ragguard calibrate FOLDER --out guard.json",
    "ragguard calibrate --corpus corpus.jsonl --queries queries.txt --out guard.json --max-clean-query-loss 0.01 --confident",
)


def calibrate(
    data: Annotated[
        str | None,
        typer.Argument(help="Folder with corpus.jsonl and queries.jsonl, or beir:NAME, or hf:OWNER/NAME."),
    ] = None,
    *,
    corpus: Annotated[
        Path | None,
        typer.Option(help="Documents instead of a folder: .jsonl, .json, .csv or .tsv with text.", rich_help_panel=INPUT),
    ] = None,
    queries: Annotated[
        Path | None,
        typer.Option(
            help="Clean queries: .jsonl, .json, .csv or .tsv, or .txt with one a line. Without any, they are derived.",
            rich_help_panel=INPUT,
        ),
    ] = None,
    model: Model = None,
    max_clean_query_loss: Annotated[float, typer.Option(help="Share of clean queries that may lose a document.")] = 0.02,
    top_k: Annotated[int, typer.Option(min=1, help="Results per query, at most.")] = 10,
    confident: Annotated[
        bool,
        typer.Option("--confident", help="Hold the share with 95 % confidence, not on average."),
    ] = False,
    poisoned: Annotated[float, typer.Option(help="Share of the queries that may have met poison already.")] = 0.0,
    out: Annotated[Path, typer.Option(help="The file to write.", rich_help_panel=OUTPUT)],
    cache: Cache = CACHE,
    as_json: AsJson = False,
) -> None:
    """Calibrate the default guard on a corpus and clean queries, and write it to a file for `ragguard serve` and for programs."""
    with working() as work:
        from ragguard.defenses import CalibratedGuardSettings
        from ragguard.evaluation import calibrate as calibrating
        from ragguard.evaluation.datasets import in_folder

        try:
            settings = CalibratedGuardSettings(max_clean_query_loss=max_clean_query_loss, confident=confident, poisoned=poisoned)
        except ValidationError as error:
            wrong = error.errors()[0]
            option = "--" + str(wrong["loc"][0]).replace("_", "-")
            raise typer.BadParameter(f"{wrong['msg']}, not {wrong['input']}.", param_hint=option) from error
        documents, clean_queries = calibrating.read(data, corpus, queries, cache)
        guard = calibrating.calibrate(
            documents, clean_queries, k=top_k, settings=settings, model=model, cache=cache, step=work.step
        )
        guard.save(out)
    summary = calibrating.summary(guard)
    if as_json:
        typer.echo(json.dumps({"file": str(out), **asdict(summary)}))
        return
    console.print(_table(summary))
    console.print(summary.promise, soft_wrap=True)
    console.print(str(summary.report), soft_wrap=True, markup=False)
    where = corpus or (in_folder(Path(data), "corpus") if data and Path(data).is_dir() else "corpus.jsonl")
    console.print(f"\nWrote {out}. Serve it: ragguard serve {out} {where}", soft_wrap=True, markup=False)
    console.print(f"Or load it: CalibratedGuard.load({str(out)!r}, encoder, documents)", soft_wrap=True, markup=False)


def _table(summary: Summary) -> Table:
    what = "derived" if summary.derived else "real"
    table = Table(
        title=f"Calibrated on {summary.documents} documents",
        caption=f"{summary.fitted} queries fit the scales, {summary.queries} {what} others set the threshold: "
        f"{summary.threshold:.3g}",
    )
    table.add_column("signal")
    for column in ("typical", "unit"):
        table.add_column(column, justify="right")
    for name, scale in summary.signals.items():
        table.add_row(name, f"{scale['typical']:.3g}", f"{scale['unit']:.3g}")
    return table
