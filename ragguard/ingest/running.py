"""An ingestion from its files to its report."""

from __future__ import annotations

import sqlite3
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from ragguard.checks import positive
from ragguard.errors import DuplicateDocumentError, EncoderError, InvalidInputError, StoreError
from ragguard.evidence.sql_store import Kept
from ragguard.ingest.job import Done, Job, Refusal
from ragguard.ingest.reading import Part, parts

TOLD = 1000
"""Refused documents that a report names; all are told while it runs."""

ENGINES = ("local", "ray")


@dataclass(frozen=True)
class Report:
    """What an ingestion did.

    Attributes:
        documents: How many were read.
        there: By plan, how many documents the store had evidence of already.
        built: By plan, of how many it was built.
        refused: How many no defense judges.
        refusals: The first thousand of them.
        seconds: Of it all, the start of workers and models included.
        encoder: Name of the encoder; empty where there were no documents.
        kept: What the store holds now, of other encoders and settings, too.
    """

    documents: int
    there: dict[str, int]
    built: dict[str, int]
    refused: int
    refusals: tuple[Refusal, ...]
    seconds: float
    encoder: str
    kept: tuple[Kept, ...]


def run(
    job: Job,
    sources: Sequence[str],
    *,
    engine: str = "local",
    workers: int | None = None,
    step: Callable[[int, int], None] = lambda *_: None,
    told: Callable[[Refusal], None] = lambda _: None,
) -> Report:
    """Build the evidence of all documents that the store lacks.

    Args:
        job: What is to be built.
        sources: Files and folders, see `parts`.
        engine: `local` works in this process, `ray` in workers of a Ray cluster: that of RAY_ADDRESS, or one on this machine.
        workers: Of Ray; None takes one for each GPU of the cluster, or else for each core.
        step: Called after each block with how many lines were read and how many there are.
        told: Called with each refused document.

    Raises:
        InvalidInputError: If a file cannot be read or a setting is out of range. As with every error, what was built before is
            stored, and a further run goes on there.
        DuplicateDocumentError: If an id has two texts.
        StoreError: If the store cannot be opened, read or written.
        EncoderError: If the model cannot be loaded, fails, or is not the same on all workers.
    """
    start = time.monotonic()
    if engine not in ENGINES:
        raise InvalidInputError(f"engine must be one of {', '.join(ENGINES)}, not {engine!r}")
    if workers is not None:
        positive(workers, "workers")
    if "://" not in job.store:  # workers have folders of their own
        job = replace(job, store=str(Path(job.store).resolve()))
    if job.model and Path(job.model).is_dir():
        job = replace(job, model=str(Path(job.model).resolve()))
    zero = dict.fromkeys(job.keys, 0)
    job.open().close()  # what is wrong with it is known before anything is read or loaded
    file_parts = parts(sources)
    total = sum(part.count for part in file_parts)
    documents, refused, there, built = 0, 0, Counter(zero), Counter(zero)
    refusals: list[Refusal] = []
    encoder = ""
    step(0, total)
    with _ids() as check:
        for done in _local(job, file_parts) if engine == "local" else _ray(job, file_parts, workers):
            if encoder not in ("", done.encoder):
                raise EncoderError(f"workers have different models, {encoder} and {done.encoder}; install the same everywhere")
            encoder = done.encoder
            check(done.named)
            documents, refused = documents + done.read, refused + len(done.refused)
            there.update(done.there)
            built.update(done.built)
            for refusal in done.refused:
                told(refusal)
            refusals.extend(done.refused[: TOLD - len(refusals)])
            step(documents, total)
    step(total, total)
    with job.open() as store:
        kept = tuple(store.kept())
    seconds = round(time.monotonic() - start, 1)
    return Report(documents, dict(there), dict(built), refused, tuple(refusals), seconds, encoder, kept)


def _local(job: Job, file_parts: Sequence[Part]) -> Iterator[Done]:
    if file_parts:
        worker = job.worker()
        with worker.store:
            for part in file_parts:
                yield from worker(part)


def _ray(job: Job, file_parts: Sequence[Part], workers: int | None) -> Iterator[Done]:
    from ragguard.ingest.with_ray import work

    return work(job, file_parts, workers)


@contextmanager
def _ids() -> Iterator[Callable[[Iterable[tuple[str, str, str]]], None]]:
    """Refuses an id that comes with another text; what it knows lies in a temporary file, since ids may be many."""
    try:
        with closing(sqlite3.connect("")) as known:
            known.execute("CREATE TABLE ids (id TEXT PRIMARY KEY, place TEXT, content TEXT) WITHOUT ROWID")

            def check(named: Iterable[tuple[str, str, str]]) -> None:
                for name, place, content in named:
                    if known.execute("INSERT OR IGNORE INTO ids VALUES (?, ?, ?)", (name, place, content)).rowcount:
                        continue
                    first, other = known.execute("SELECT place, content FROM ids WHERE id = ?", (name,)).fetchone()
                    if other != content:
                        raise DuplicateDocumentError(
                            f"document id {name!r} has one text at {first} and another at {place}; rename or take out one of them"
                        )

            yield check
    except sqlite3.Error as error:
        raise StoreError(f"the temporary file of ids: {error}; make room in the temporary folder, or set TMPDIR") from error
