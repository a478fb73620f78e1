"""What adapters to frameworks have in common: a framework's documents to hits, and back to the documents that were kept."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict
from itertools import pairwise
from typing import Any, Generic, TypeVar

from ragguard.checks import positive
from ragguard.errors import RetrieverError
from ragguard.retriever.policy import GuardPolicy
from ragguard.types import Document, GuardedResult, Hit

OriginalT = TypeVar("OriginalT")
"""A framework's own document."""

KEY = "ragguard"
"""Metadata key of the verdicts on a returned document."""


class AdaptedSearch(Generic[OriginalT]):
    """A framework's search as a `Retriever`, to calibrate a guard on what it will judge."""

    def __init__(
        self,
        search: Callable[[str, int], Sequence[OriginalT]],
        hits: Callable[[Sequence[OriginalT]], list[Hit]],
        name: str = "the search",
    ) -> None:
        """Bind a search.

        Args:
            search: A function of a query and a number of documents.
            hits: Makes hits of what the search returns; raises RetrieverError if that is something else than documents.
            name: What errors call the search.
        """
        self._search, self._hits, self._name = search, hits, name

    def retrieve(self, query: str, k: int) -> list[Hit]:
        """At most k hits.

        Raises:
            InvalidInputError: If `k` is below 1.
            RetrieverError: If the search raises, or returns something else than documents.
        """
        positive(k)
        try:
            originals = self._search(query, k)
        except Exception as error:
            raise RetrieverError(f"{self._name} failed: {error!r}") from error
        return self._hits(originals)[:k]


def converted(
    originals: Sequence[OriginalT], kind: type[OriginalT], convert: Callable[[OriginalT], Document], framework: str
) -> list[Document]:
    """A framework's documents as RAGGuard's.

    Args:
        originals: What the framework gave; it may be anything.
        kind: The class of the framework's documents.
        convert: Makes a document of one of them.
        framework: Its name, for errors.

    Raises:
        RetrieverError: If something is not a document.
    """
    if not isinstance(originals, Sequence) or not all(isinstance(original, kind) for original in originals):
        raise RetrieverError(f"expected a list of {framework} documents, not {originals!r:.200}")
    return [convert(original) for original in originals]


def falling(scores: Sequence[float | None]) -> list[float] | None:
    """The scores, if all are there and none is above the one before it.

    Otherwise None: they are distances, or lists were joined whose scores mean different things.
    """
    known = [float(score) for score in scores if score is not None]
    return known if len(known) == len(scores) and all(better >= worse for better, worse in pairwise(known)) else None


def ranked(documents: Sequence[Document], scores: Sequence[float] | None = None) -> list[Hit]:
    """Documents as hits, in the order in which they came.

    Args:
        documents: Best first.
        scores: One each, falling. None takes ranks for them: 1, 1/2, 1/3 and so on.
    """
    if scores is None:
        scores = [1 / place for place in range(1, len(documents) + 1)]
    return [Hit(document, score) for document, score in zip(documents, scores, strict=True)]


def kept_originals(result: GuardedResult, ids: Sequence[str], originals: Sequence[OriginalT]) -> list[tuple[Hit, OriginalT]]:
    """Each kept hit with the framework's document that was judged, best first.

    Args:
        result: Of the guard.
        ids: Of the candidates, as the guard knows them.
        originals: The framework's documents, in the same order. Of two with one id, the first was judged.
    """
    by_id = dict(zip(reversed(ids), reversed(originals), strict=True))
    return [(hit, by_id[hit.document.id]) for hit in result.kept]


def report(result: GuardedResult, document_id: str) -> dict[str, Any]:
    """What stands under `KEY` on a returned document: `verdicts` (as `ragguard.Verdict`) and `degraded`, in plain values."""
    return {
        "verdicts": [asdict(verdict) for verdict in result.verdicts_on(document_id)],
        "degraded": list(result.degraded),
    }


def depth(top_k: int, candidates: int | None, policy: GuardPolicy | None) -> int:
    """How many candidates a framework's retriever shall find.

    Args:
        top_k: How many documents are returned.
        candidates: How many are judged; None means the policy's `overfetch` times `top_k`.
        policy: None takes the defaults.

    Raises:
        InvalidInputError: If `top_k` is below 1 where it counts.
    """
    return (policy or GuardPolicy()).overfetch * positive(top_k, "top_k") if candidates is None else candidates
