"""Calibrating the default guard for a corpus of the user's: what `ragguard calibrate` does."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from ragguard.calibration import Report, all_of, report
from ragguard.calibration.derived import derived_queries, enough
from ragguard.defenses import CalibratedGuard, CalibratedGuardSettings, Policy
from ragguard.defenses.saved import SavedGuard
from ragguard.errors import InvalidInputError
from ragguard.evaluation import models, remote
from ragguard.evaluation.cache import CachedEncoder
from ragguard.evaluation.datasets import in_folder, load_documents, load_queries
from ragguard.index import DenseIndex
from ragguard.types import Document

BLOCK = 1024
"""Documents indexed between two signs of life."""

FEWEST = 2
"""Documents of a corpus, at least: the model of its language leaves out the one that is judged."""


@dataclass(frozen=True)
class Summary:
    """What a guard was calibrated on, and what it holds.

    Attributes:
        encoder: Fingerprint of the model.
        documents: How many different texts the corpus had; 0 if that is unknown.
        fitted: Queries derived from the corpus that fit the scales; where none can be, clean ones.
        queries: Others, which set the threshold.
        derived: Whether all of them were derived from documents.
        k: Up to how many results a query may ask for.
        max_clean_query_loss: Share of clean queries that may lose a document.
        policy: What is done with a suspicious document.
        threshold: The suspicion above which a document is one.
        signals: By name, what is typical of a clean query's worst document, and the unit of what is beyond.
        promise: What share of clean queries may lose a document, and when that holds, in sentences.
        report: What is harmed and what is stopped, in numbers (`ragguard.calibration.Report`).
    """

    encoder: str
    documents: int
    fitted: int
    queries: int
    derived: bool
    k: int
    max_clean_query_loss: float
    policy: Policy
    threshold: float
    signals: Mapping[str, Mapping[str, float]]
    promise: str
    report: Report


def read(
    data: str | None, corpus: Path | None, queries: Path | None, cache: Path
) -> tuple[tuple[Document, ...], tuple[str, ...] | None]:
    """Documents, and clean queries where there are some.

    Args:
        data: A folder with `corpus.jsonl` and `queries.jsonl` (other formats: see `datasets.in_folder`), or a name of a dataset,
            see `remote.find`; or None.
        corpus: Of documents, where `data` is None.
        queries: Takes the place of the folder's.
        cache: Folder of what is downloaded.

    Raises:
        InvalidInputError: If something is missing or malformed, or both a folder and a corpus are given.
    """
    if (data is None) == (corpus is None):
        raise InvalidInputError("give a folder in BEIR layout, or --corpus with a file of documents")
    if data is not None and data.partition(":")[0] in ("beir", "hf"):
        dataset = remote.find(data, cache)
        return dataset.documents, load_queries(queries) if queries else tuple(dict.fromkeys(dataset.queries.values()))
    documents = load_documents(corpus or in_folder(Path(str(data)), "corpus"))
    if queries is None and data is not None and (own := in_folder(Path(data), "queries")).exists():
        queries = own
    return documents, load_queries(queries) if queries else None


def calibrate(
    documents: Sequence[Document],
    queries: Sequence[str] | None,
    *,
    k: int,
    settings: CalibratedGuardSettings,
    model: str | None,
    cache: Path,
    step: Callable[[str, int, int], None] = lambda *_: None,
) -> CalibratedGuard:
    """The default guard over exact dense search, calibrated.

    Args:
        documents: The corpus.
        queries: Clean ones; None derives them from the documents.
        k: Results per query, at most.
        settings: Of the guard.
        model: Of the encoder, see `models.load`; None takes the offline one.
        cache: Folder of embeddings, kept between runs.
        step: Called before each part of the work with a sentence, how much is done, and how much there is.

    Raises:
        InvalidInputError: If there are too few documents or queries; the message says how many, and how many are needed.
    """
    total = len(documents)
    if total < FEWEST:
        raise InvalidInputError(
            f"the corpus has {total} document{'' if total == 1 else 's'} with words, and {FEWEST} are needed, as each is judged "
            "by the language of others; give more"
        )
    loss = settings.max_clean_query_loss
    clean_queries = derived_queries(documents, enough(loss)) if queries is None else queries
    try:  # too few are refused before the corpus is embedded
        all_of([query if isinstance(query, str) else query.text for query in clean_queries], loss)
    except InvalidInputError as error:
        raise InvalidInputError(f"queries are derived from {total} documents: {error}") if queries is None else error from None
    step("loading the model", 0, total)
    encoder = CachedEncoder(models.load(model), cache)
    index = DenseIndex(encoder)
    for start in range(0, total, BLOCK):
        step("indexing documents", start, total)
        index.add(documents[start : start + BLOCK])
    step("judging what queries find", total, total)
    if queries is not None:
        encoder.encode_query(list(queries))  # in large batches
    return CalibratedGuard.calibrated(encoder, index, documents, clean_queries, k=k, **settings.model_dump())


def summary(guard: CalibratedGuard | SavedGuard) -> Summary:
    """Of a guard, or of its file.

    Raises:
        InvalidInputError: If there are too few calibration queries for the share.
    """
    settings, calibration = guard.settings, guard.calibration
    loss = settings.max_clean_query_loss
    return Summary(
        encoder=calibration.encoder,
        documents=calibration.documents,
        fitted=len(next(iter(calibration.scales.values())).maxima),
        queries=len(calibration.maxima),
        derived=calibration.derived,
        k=calibration.k,
        max_clean_query_loss=loss,
        policy=settings.policy,
        threshold=calibration.threshold(loss, poisoned=settings.poisoned, confident=settings.confident),
        signals={name: {"typical": scale.typical, "unit": scale.unit} for name, scale in calibration.scales.items()},
        promise=promise(guard),
        report=report(calibration, loss, poisoned=settings.poisoned, confident=settings.confident),
    )


def promise(guard: CalibratedGuard | SavedGuard) -> str:
    """What share of clean queries may lose a document, and when that holds, in sentences."""
    settings, calibration = guard.settings, guard.calibration
    if calibration.derived:
        return (
            "The queries were derived from documents: what share of clean queries loses a document is not guaranteed. "
            "Calibrate again on queries of your users when there are some."
        )
    loss, n = settings.max_clean_query_loss, len(calibration.maxima)
    poisoned = math.floor(settings.poisoned * n)
    if poisoned and not settings.confident:
        loss += poisoned / (n - poisoned + 1)
    how = "with 95 % confidence" if settings.confident else "on average over draws of such queries"
    among = f", even if {poisoned} of them met poison" if poisoned else ""
    return (
        f"At most {loss:.2%} of clean queries lose a document of their top {calibration.k}, {how}{among}, "
        "as long as live queries are like these."
    )
