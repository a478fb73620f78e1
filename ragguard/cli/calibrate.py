"""`ragguard calibrate`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.table import Table

from ragguard.cli.show import CACHE, MODEL, console, progress_bar, quiet
from ragguard.errors import InvalidInputError

if TYPE_CHECKING:
    from ragguard.defenses import CalibratedGuard


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
    quiet()
    with progress_bar() as progress:
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
