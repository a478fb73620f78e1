"""Haystack's documents to hits and back."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, replace
from typing import Any

from haystack import Document

from ragguard import types
from ragguard.errors import RetrieverError
from ragguard.types import GuardedResult, Hit, rankable

KEY = "ragguard"
"""Key of the verdicts in the `meta` of a returned document."""


def documents_of(found: Sequence[Document]) -> list[types.Document]:
    """RAGGuard's documents: for `default_guard`, and to prepare evidence at ingestion.

    Raises:
        RetrieverError: If something is not a document.
    """
    if not isinstance(found, Sequence) or not all(isinstance(one, Document) for one in found):
        raise RetrieverError(f"expected a list of Haystack documents, not {found!r:.200}")
    return [types.Document(one.id, one.content or "", one.meta) for one in found]


def hits(found: Sequence[Document]) -> list[Hit]:
    """Candidates in the order they came, with their scores where all have one.

    Raises:
        RetrieverError: If a score is not finite.
    """
    documents = documents_of(found)
    scores = [one.score for one in found]
    for one in found:
        if one.score is not None and not rankable(one.score):
            raise RetrieverError(f"document {one.id!r} has the score {one.score}")
    given = [1 / place if None in scores or score is None else float(score) for place, score in enumerate(scores, 1)]
    return [Hit(document, score) for document, score in zip(documents, given, strict=True)]


def guarded(result: GuardedResult, found: Sequence[Document]) -> list[Document]:
    """Copies of the kept documents in canonical text, their verdicts in `meta["ragguard"]`.

    Under it: `verdicts` (as `ragguard.Verdict`; spans are ranges of the document as it was retrieved) and `degraded`.
    """
    originals = {one.id: one for one in reversed(found)}
    return [_copy(originals[hit.document.id], hit, result) for hit in result.kept]


def _copy(original: Document, hit: Hit, result: GuardedResult) -> Document:
    report: dict[str, Any] = {
        "verdicts": [asdict(verdict) for verdict in result.verdicts_on(hit.document.id)],
        "degraded": list(result.degraded),
    }
    score = None if original.score is None else hit.score
    return replace(original, content=hit.document.text, meta={**original.meta, KEY: report}, score=score)
