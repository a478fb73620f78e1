"""The default guard: what documents say is judged by the calibrated guard, who says it is counted by a quota."""

from __future__ import annotations

from collections.abc import Sequence

from ragguard.calibration.derived import derived_queries, enough
from ragguard.defenses.calibrated import CalibratedGuard
from ragguard.defenses.quota import SourceQuota
from ragguard.defenses.saved import Policy
from ragguard.protocols import Defense, Encoder, EvidenceStore, Retriever
from ragguard.types import Document, Hit


def default_guard(
    encoder: Encoder,
    retriever: Retriever,
    documents: Sequence[Document],
    queries: Sequence[str] | None = None,
    *,
    k: int = 10,
    max_clean_query_loss: float = 0.02,
    policy: Policy = "drop",
    depth: int = 2,
    store: EvidenceStore | None = None,
) -> tuple[Defense, ...]:
    """The defenses to give to `GuardedRetriever` if you want to choose nothing but the share of clean queries harmed.

    `CalibratedGuard` with its default signals, and, where documents have a source, the tightest `SourceQuota` under which none of
    the queries loses a document: another one then does with probability 1 / (n + 1) at most, beyond the share that is set.

    Args:
        encoder: Embeds windows and queries.
        retriever: The undefended retriever of the corpus.
        documents: The corpus; `metadata["source"]` is their provenance.
        queries: Like those that users ask. None derives them from the documents, which guarantees no share.
        k: Results per query, at most.
        max_clean_query_loss: Share of clean queries that may lose a document.
        policy: What is done with a suspicious document.
        depth: Candidates for each result, as in service.
        store: Keeps the embeddings of windows; None keeps them in memory.

    Raises:
        InvalidInputError: If there are no documents with words, or too few queries for the share.
    """
    clean_queries = derived_queries(documents, enough(max_clean_query_loss)) if queries is None else queries
    retrieved_once = _RetrievedOnce(retriever)
    guard = CalibratedGuard.calibrated(
        encoder,
        retrieved_once,
        documents,
        clean_queries,
        k=k,
        max_clean_query_loss=max_clean_query_loss,
        policy=policy,
        depth=depth,
        store=store,
    )
    if all(document.metadata.get("source") is None for document in documents):
        return (guard,)
    texts = [query if isinstance(query, str) else query.text for query in clean_queries]
    return guard, SourceQuota.calibrated(retrieved_once, texts, k=k)


class _RetrievedOnce:
    """A retriever that is asked each query once for as many results, so that the quota costs no second pass of the encoder."""

    def __init__(self, retriever: Retriever) -> None:
        self._retriever = retriever
        self._hits: dict[str, tuple[int, Sequence[Hit]]] = {}

    def retrieve(self, query: str, k: int) -> Sequence[Hit]:
        depth, _ = self._hits.get(query, (0, ()))
        if depth < k:
            self._hits[query] = (k, self._retriever.retrieve(query, k))
        return self._hits[query][1][:k]
