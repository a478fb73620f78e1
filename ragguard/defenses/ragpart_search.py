"""RAGPart over a whole corpus: every combination searches all documents, as in the paper, from N vectors a document."""

from __future__ import annotations

import threading
from dataclasses import dataclass

import numpy as np

from ragguard.checks import positive, query_text
from ragguard.defenses.ragpart import RAGPart
from ragguard.errors import InvalidInputError
from ragguard.index import DenseIndex
from ragguard.text import content_hash
from ragguard.types import Action, Document, GuardedResult, Hit, Vectors, Verdict
from ragguard.vectors import encode_one_query


@dataclass(frozen=True)
class _Corpus:
    """Fragments of one generation of an index; documents ordered by content hash, which decides ties."""

    generation: int
    documents: tuple[Document, ...]
    fragments: Vectors  # (documents * N, d)
    grams: Vectors  # (documents, N, N)


class RAGPartSearch:
    """A retriever in which RAGPart's combinations vote among all documents of an index, not among candidates.

    Follows the index: fragments are looked up again after documents were added or deleted.
    """

    def __init__(self, index: DenseIndex, defense: RAGPart) -> None:
        """Bind an index and a configured RAGPart with the same encoder.

        Args:
            index: The corpus.
            defense: Settings and fragment evidence.

        Raises:
            InvalidInputError: If they do not have the same encoder.
        """
        if index.encoder.name != defense.encoder.name:
            raise InvalidInputError(
                f"index and defense need the same encoder, not {index.encoder.name!r} and {defense.encoder.name!r}"
            )
        self._index, self._defense = index, defense
        self._lock = threading.Lock()
        self._corpus: _Corpus | None = None

    def retrieve(self, query: str, k: int) -> GuardedResult:
        """The k documents with the most votes.

        Returns:
            `candidates` are the undefended top k and whatever got a vote; more documents only where these are fewer than k.

        Raises:
            InvalidInputError: If `k` is below 1 or the query has no text.
            EncoderError: If the encoder fails.
        """
        positive(k)
        query = query_text(query)
        vector = encode_one_query(self._index.encoder, query)
        corpus = self._current()
        if not corpus.documents:
            return GuardedResult(query, k, (), ())
        listed = {document.id for document in corpus.documents}
        candidates = [hit for hit in self._index.search(vector, k) if hit.document.id in listed]  # the index may have grown since
        ranks = {hit.document.id: place for place, hit in enumerate(candidates, 1)}
        kept: list[Hit] = []
        dropped: list[Hit] = []
        verdicts: list[Verdict] = []
        similarities = (corpus.fragments @ vector).reshape(len(corpus.documents), -1)
        for judged in self._defense.rank(similarities, corpus.grams, k):
            document = corpus.documents[judged.position]
            if judged.signals["vote_share"] == 0 and document.id not in ranks and (judged.drop or len(kept) >= k):
                continue
            hit = Hit(document, judged.score)
            if document.id not in ranks:
                candidates.append(hit)
                ranks[document.id] = len(candidates)
            (dropped if judged.drop else kept).append(hit)
            rank = None if judged.drop else len(kept)
            lost = ranks[document.id] <= k and (rank or 0) > k
            action: Action = "drop" if rank is None else "demote" if lost else "keep"
            verdicts.append(
                Verdict(document.id, self._defense.name, action, judged.reason, ranks[document.id], rank, judged.signals)
            )
        verdicts.sort(key=lambda verdict: verdict.rank_before)
        return GuardedResult(
            query=query,
            k=k,
            candidates=tuple(candidates),
            kept=tuple(kept[:k]),
            reserve=tuple(kept[k:]),
            removed=tuple(dropped),
            verdicts=tuple(verdicts),
            certificates=self._defense.certificates(len(corpus.documents), k),
        )

    def _current(self) -> _Corpus:
        with self._lock:
            generation = self._index.generation
            if self._corpus is None or self._corpus.generation != generation:
                documents = tuple(sorted(self._index.documents, key=lambda d: (content_hash(d.text), d.id)))
                evidence = self._defense.fragments([document.text for document in documents])
                n = self._defense.settings.n
                fragments = np.concatenate([e.vectors for e in evidence]) if evidence else np.empty((0, 1), dtype=np.float32)
                grams = np.stack([e.gram for e in evidence]) if evidence else np.empty((0, n, n), dtype=np.float32)
                self._corpus = _Corpus(generation, documents, fragments, grams)
            return self._corpus
