"""Haystack's documents to hits and back."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, replace
from itertools import pairwise
from typing import Any

from haystack import Document

from ragguard import types
from ragguard.checks import positive
from ragguard.errors import RetrieverError
from ragguard.types import GuardedResult, Hit, rankable

KEY = "ragguard"
"""Key of the verdicts in the `meta` of a returned document."""


class Search:
    """What a pipeline retrieves, as RAGGuard's retriever, to calibrate a guard on."""

    def __init__(self, search: Callable[[str, int], Sequence[Document]]) -> None:
        """Bind a function of a query and a number of documents, such as one that runs embedder and retriever."""
        self._search = search

    def retrieve(self, query: str, k: int) -> list[Hit]:
        """At most k hits.

        Raises:
            InvalidInputError: If `k` is below 1.
            RetrieverError: If the search raises, or returns something else than documents.
        """
        positive(k)
        try:
            found = self._search(query, k)
        except Exception as error:
            raise RetrieverError(f"the search failed: {error!r}") from error
        return hits(found)[:k]


def documents_of(found: Sequence[Document]) -> list[types.Document]:
    """RAGGuard's documents: for `default_guard`, and to prepare evidence at ingestion.

    Raises:
        RetrieverError: If something is not a document.
    """
    if not isinstance(found, Sequence) or not all(isinstance(one, Document) for one in found):
        raise RetrieverError(f"expected a list of Haystack documents, not {found!r:.200}")
    return [types.Document(one.id, one.content or "", one.meta) for one in found]


def hits(found: Sequence[Document]) -> list[Hit]:
    """Candidates in the order they came, with their scores where these fall.

    Raises:
        RetrieverError: If a score is not finite.
    """
    documents = documents_of(found)
    scores = _scores(found) or [1 / place for place in range(1, len(found) + 1)]
    return [Hit(document, score) for document, score in zip(documents, scores, strict=True)]


def _scores(found: Sequence[Document]) -> list[float] | None:
    """None where one has none, or where lists were joined whose scores mean different things."""
    for one in found:
        if one.score is not None and not rankable(one.score):
            raise RetrieverError(f"document {one.id!r} has the score {one.score}")
    scores = [float(one.score) for one in found if one.score is not None]
    return scores if len(scores) == len(found) and all(a >= b for a, b in pairwise(scores)) else None


def guarded(result: GuardedResult, found: Sequence[Document]) -> list[Document]:
    """Copies of the kept documents in canonical text, their verdicts in `meta["ragguard"]`.

    Under it: `verdicts` (as `ragguard.Verdict`; spans are ranges of the document as it was retrieved) and `degraded`. Scores are
    those that the last defense ranked by, or the documents' own where these do not fall with the order they came in.
    """
    originals = {one.id: one for one in reversed(found)}
    scored = _scores(found) is not None
    return [_copy(originals[hit.document.id], hit, result, scored) for hit in result.kept]


def _copy(original: Document, hit: Hit, result: GuardedResult, scored: bool) -> Document:
    report: dict[str, Any] = {
        "verdicts": [asdict(verdict) for verdict in result.verdicts_on(hit.document.id)],
        "degraded": list(result.degraded),
    }
    score = hit.score if scored else original.score
    return replace(original, content=hit.document.text, meta={**original.meta, KEY: report}, score=score)
