"""Haystack's documents to hits and back."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

from haystack import Document

from ragguard import types
from ragguard.errors import RetrieverError
from ragguard.retriever.adapting import KEY, AdaptedSearch, converted, falling, kept_originals, ranked, report
from ragguard.types import GuardedResult, Hit, rankable


class Search(AdaptedSearch[Document]):
    """What a pipeline retrieves, as RAGGuard's retriever, to calibrate a guard on."""

    def __init__(self, search: Callable[[str, int], Sequence[Document]]) -> None:
        """Bind a function of a query and a number of documents, such as one that runs embedder and retriever."""
        super().__init__(search, hits)


def documents_of(documents: Sequence[Document]) -> list[types.Document]:
    """RAGGuard's documents: for `default_guard`, and to prepare evidence at ingestion.

    Raises:
        RetrieverError: If something is not a document.
    """
    return converted(documents, Document, _converted, "Haystack")


def hits(documents: Sequence[Document]) -> list[Hit]:
    """Candidates in the order they came, with their scores where these fall.

    Raises:
        RetrieverError: If a score is not finite.
    """
    return ranked(documents_of(documents), _scores(documents))


def guarded(result: GuardedResult, documents: Sequence[Document]) -> list[Document]:
    """Copies of the kept documents in canonical text, their verdicts in `meta["ragguard"]`.

    Under it: `verdicts` (as `ragguard.Verdict`; spans are ranges of the document as it was retrieved) and `degraded`. Scores are
    those that the last defense ranked by, or the documents' own where these do not fall with the order they came in.
    """
    ids = [document.id for document in documents]
    scored = _scores(documents) is not None
    return [_copy(original, hit, result, scored) for hit, original in kept_originals(result, ids, documents)]


def _converted(document: Document) -> types.Document:
    return types.Document(document.id, document.content or "", document.meta)


def _scores(documents: Sequence[Document]) -> list[float] | None:
    """None where one has none, or where lists were joined whose scores mean different things."""
    for document in documents:
        if document.score is not None and not rankable(document.score):
            raise RetrieverError(f"document {document.id!r} has the score {document.score}")
    return falling([document.score for document in documents])


def _copy(original: Document, hit: Hit, result: GuardedResult, scored: bool) -> Document:
    meta = {**original.meta, KEY: report(result, hit.document.id)}
    return replace(original, content=hit.document.text, meta=meta, score=hit.score if scored else original.score)
