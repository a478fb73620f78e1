"""LangChain's documents to hits and back."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from langchain_core.documents import Document

from ragguard import types
from ragguard.retriever.adapting import KEY, AdaptedSearch, converted, kept_originals, ranked, report
from ragguard.text import content_hash, writable
from ragguard.types import GuardedResult, Hit


class Search(AdaptedSearch[Document]):
    """A search of a vector store as RAGGuard's retriever, to calibrate a guard on: `Search(store.similarity_search)`.

    Hits are scored by their place: stores mean different things by a score.
    """

    def __init__(self, search: Callable[[str, int], Sequence[Document]]) -> None:
        """Bind a function of a query and a number of documents."""
        super().__init__(search, hits, "the store's search")


def documents_of(documents: Sequence[Document]) -> list[types.Document]:
    """RAGGuard's documents: for `default_guard`, and to prepare evidence at ingestion.

    Args:
        documents: With or without ids; one without is named by its text and its metadata.

    Raises:
        RetrieverError: If something is not a document.
    """
    return converted(documents, Document, _converted, "LangChain")


def hits(documents: Sequence[Document]) -> list[Hit]:
    """Candidates in the order they came; LangChain's retrievers give no scores."""
    return ranked(documents_of(documents))


def guarded(result: GuardedResult, documents: Sequence[Document]) -> list[Document]:
    """Copies of the kept documents in canonical text, their verdicts under the metadata key `ragguard`.

    Under it: `verdicts` (as `ragguard.Verdict`; spans are ranges of the document as it was retrieved) and `degraded`.
    """
    ids = [document.id for document in documents_of(documents)]
    return [_copy(original, hit, result) for hit, original in kept_originals(result, ids, documents)]


def _copy(original: Document, hit: Hit, result: GuardedResult) -> Document:
    metadata = {**original.metadata, KEY: report(result, hit.document.id)}
    return original.model_copy(update={"page_content": hit.document.text, "metadata": metadata})


def _converted(document: Document) -> types.Document:
    return types.Document(document.id or _name(document), document.page_content, document.metadata)


def _name(document: Document) -> str:
    return content_hash(writable(f"{document.page_content}\0{sorted((str(k), str(v)) for k, v in document.metadata.items())}"))
