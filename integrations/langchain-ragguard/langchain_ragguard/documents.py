"""LangChain's documents to hits and back."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict
from typing import Any

from langchain_core.documents import Document

from ragguard import types
from ragguard.checks import positive
from ragguard.errors import RetrieverError
from ragguard.text import content_hash, writable
from ragguard.types import GuardedResult, Hit

KEY = "ragguard"
"""Metadata key of the verdicts on a returned document."""


class Search:
    """A search of a vector store as RAGGuard's retriever, to calibrate a guard on: `Search(store.similarity_search)`."""

    def __init__(self, search: Callable[[str, int], Sequence[Document]]) -> None:
        """Bind a function of a query and a number of documents."""
        self._search = search

    def retrieve(self, query: str, k: int) -> list[Hit]:
        """At most k hits, scored by their place: stores mean different things by a score.

        Raises:
            InvalidInputError: If `k` is below 1.
            RetrieverError: If the search raises, or returns something else than documents.
        """
        positive(k)
        try:
            found = self._search(query, k)
        except Exception as error:
            raise RetrieverError(f"the store's search failed: {error!r}") from error
        return hits(found)[:k]


def documents_of(found: Sequence[Document]) -> list[types.Document]:
    """RAGGuard's documents: for `default_guard`, and to prepare evidence at ingestion.

    Args:
        found: With or without ids; one without is named by its text and its metadata.

    Raises:
        RetrieverError: If something is not a document.
    """
    if not isinstance(found, Sequence) or not all(isinstance(one, Document) for one in found):
        raise RetrieverError(f"expected a list of LangChain documents, not {found!r:.200}")
    return [types.Document(one.id or _name(one), one.page_content, one.metadata) for one in found]


def hits(found: Sequence[Document]) -> list[Hit]:
    """Candidates in the order they came; LangChain's retrievers give no scores."""
    return [Hit(document, 1 / place) for place, document in enumerate(documents_of(found), 1)]


def guarded(result: GuardedResult, found: Sequence[Document]) -> list[Document]:
    """Copies of the kept documents in canonical text, their verdicts under the metadata key `ragguard`.

    Under it: `verdicts` (as `ragguard.Verdict`; spans are ranges of the document as it was retrieved) and `degraded`.
    """
    originals = dict(zip((one.id for one in reversed(documents_of(found))), reversed(found), strict=True))
    return [_copy(originals[hit.document.id], hit, result) for hit in result.kept]


def _copy(original: Document, hit: Hit, result: GuardedResult) -> Document:
    report: dict[str, Any] = {
        "verdicts": [asdict(verdict) for verdict in result.verdicts_on(hit.document.id)],
        "degraded": list(result.degraded),
    }
    metadata = {**original.metadata, KEY: report}
    return original.model_copy(update={"page_content": hit.document.text, "metadata": metadata})


def _name(document: Document) -> str:
    return content_hash(writable(f"{document.page_content}\0{sorted((str(k), str(v)) for k, v in document.metadata.items())}"))
