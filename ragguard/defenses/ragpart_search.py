"""RAGPart over a whole corpus: every combination searches all documents, as in the paper, from N vectors a document."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import dataclass
from typing import get_args

import numpy as np
from numpy.typing import NDArray

from ragguard.checks import positive, query_text
from ragguard.defenses.combinations import Floats, thresholds, votes
from ragguard.defenses.fragment_index import FragmentIndex, FragmentSearch
from ragguard.defenses.ragpart import RAGPart
from ragguard.encoders.vectors import encode_one_query
from ragguard.errors import InvalidInputError
from ragguard.index import DenseIndex
from ragguard.text import content_hash
from ragguard.types import Action, Document, GuardedResult, Hit, Vectors, Verdict

AT_FIRST, FRAGMENTS = 4, 16
"""Documents scored first, for each that a combination votes for; fragments that an approximate search fetches first, for each of
those. The result of `flat` does not depend on them."""

FLOAT32 = 2.0**-23
"""What rounding in single precision may change in a number below 1; in a dot product, that many times its length."""


@dataclass(frozen=True)
class _Corpus:
    """Fragments of one generation of an index; documents ordered by content hash, which decides ties."""

    generation: int
    documents: tuple[Document, ...]
    rows: dict[str, int]
    fragments: FragmentIndex | None
    grams: Vectors  # (documents, N, N)
    shortest: NDArray[np.float64]  # (documents,): no combination's sum of fragments is shorter

    def reach(self, sums: NDArray[np.float64], k: int) -> NDArray[np.float64]:
        """What no combination of k fragments exceeds, given the largest sum of k similarities of each document."""
        most = np.full(len(sums), np.inf)
        np.divide(sums, self.shortest, out=most, where=self.shortest > 0)
        np.maximum(most, sums / k, out=most)
        return most


class RAGPartSearch:
    """A retriever in which RAGPart's combinations vote among all documents of an index, not among candidates.

    Only documents that can matter are scored. A combination scores (sum of its k similarities) / (length of the sum of its
    fragments). Let s be the sum of a document's k largest similarities. If s >= 0, none of its combinations scores more than
    s / L, where L is the least such length; if s < 0, none more than s / k, since no such length exceeds k. L^2 is at least the k
    smallest diagonal entries, plus twice the k (k - 1) / 2 smallest others, of the document's Gram matrix. Documents whose bound
    reaches the lowest score that any combination votes for are scored, too, until none is left: all others have no vote.

    `flat` search knows every similarity, so the result is that of scoring every document. `ivf` and `hnsw` fetch the most similar
    fragments, more where the bounds ask for it, and take the others to be no more similar than the last one. They may have
    overlooked some that are, and `GuardedResult.approximate` says so.

    Follows the index: fragments are looked up and indexed again after documents were added or deleted.
    """

    def __init__(self, index: DenseIndex, defense: RAGPart, *, fragments: FragmentSearch = "flat") -> None:
        """Bind an index and a configured RAGPart with the same encoder.

        Args:
            index: The corpus.
            defense: Settings and fragment evidence.
            fragments: How fragments are searched: "flat" is exact; "ivf" and "hnsw" are approximate, and slow to build.

        Raises:
            InvalidInputError: If they do not have the same encoder, or `fragments` is unknown.
        """
        if index.encoder.name != defense.encoder.name:
            raise InvalidInputError(
                f"index and defense need the same encoder, not {index.encoder.name!r} and {defense.encoder.name!r}"
            )
        if fragments not in get_args(FragmentSearch):
            raise InvalidInputError(f"fragments are searched by one of {', '.join(get_args(FragmentSearch))}, not {fragments!r}")
        self._index, self._defense, self._kind = index, defense, fragments
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
        if corpus.fragments is None:
            return GuardedResult(query, k, (), ())
        # The index may have grown since.
        candidates = [hit for hit in self._index.search(vector, k) if hit.document.id in corpus.rows]
        ranks = {hit.document.id: place for place, hit in enumerate(candidates, 1)}
        kept: list[Hit] = []
        dropped: list[Hit] = []
        verdicts: list[Verdict] = []
        rows, scores = self._scored(corpus, corpus.fragments, vector, k, [corpus.rows[name] for name in ranks])
        for judged in self._defense.rank(scores, k, len(corpus.documents)):
            document = corpus.documents[rows[judged.position]]
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
            certificates=self._defense.certificates(len(corpus.documents if corpus.fragments.exact else rows), k),
            approximate="" if corpus.fragments.exact else f"{self._kind} search may have missed fragments, and so documents",
        )

    def _scored(
        self, corpus: _Corpus, fragments: FragmentIndex, vector: Vectors, k: int, rows: Sequence[int]
    ) -> tuple[NDArray[np.int64], Floats]:
        """Given documents, and every other that can get a vote or fill up the top k: rows, rising, and their scores."""
        total, n = corpus.grams.shape[:2]
        size = self._defense.settings.k
        first = min(total, AT_FIRST * max(self._defense.settings.p or k, k))
        depth = FRAGMENTS * first
        while True:
            most = fragments.at_most(vector, min(depth, total * n)).reshape(total, n) + len(vector) * FLOAT32
            sums = np.partition(most, n - size, axis=1)[:, n - size :].sum(axis=1, dtype=np.float64)
            reach = corpus.reach(sums, size)
            seen = np.union1d(np.array(rows, dtype=np.int64), np.argpartition(sums, total - first)[total - first :])
            while True:
                scores = self._scores(corpus, fragments, vector, seen)
                within = reach >= self._floor(scores, k)
                within[seen] = False
                further = np.flatnonzero(within)
                if not len(further):
                    return seen, scores
                if not fragments.exact and depth < total * n and len(further) > 4 * len(seen):
                    break  # to fetch more fragments costs less
                seen = np.union1d(seen, further)
            depth *= 4

    def _scores(self, corpus: _Corpus, fragments: FragmentIndex, vector: Vectors, rows: NDArray[np.int64]) -> Floats:
        """Added up in double precision, then rounded: documents alike score equally, whichever are scored with them."""
        n = corpus.grams.shape[1]
        taken = fragments.take((rows[:, None] * n + np.arange(n)).ravel()).astype(np.float64)
        similarities = (taken @ vector.astype(np.float64)).reshape(len(rows), n)
        return self._defense.combinations.scores(similarities, corpus.grams[rows].astype(np.float64)).astype(np.float32)

    def _floor(self, scores: Floats, k: int) -> float:
        """What a document must reach to get a vote among these or, where fewer than k have any, to fill up by its mean score."""
        p = min(self._defense.settings.p or k, len(scores))
        floor = float(thresholds(scores.T, p).min())
        without = votes(scores, p) == 0
        free = k - int((~without).sum())
        if self._defense.settings.min_share is None and free > 0 and without.any():
            floor = min(floor, float(np.sort(scores.mean(axis=1)[without])[-free:].min()))
        return floor - 16 * FLOAT32

    def _current(self) -> _Corpus:
        with self._lock:
            generation = self._index.generation
            if self._corpus is None or self._corpus.generation != generation:
                documents = tuple(sorted(self._index.documents, key=lambda d: (content_hash(d.text), d.id)))
                evidence = self._defense.fragments([document.text for document in documents])
                n = self._defense.settings.n
                grams = np.stack([e.gram for e in evidence]) if evidence else np.empty((0, n, n), dtype=np.float32)
                fragments = FragmentIndex(np.concatenate([e.vectors for e in evidence]), self._kind) if evidence else None
                rows = {document.id: row for row, document in enumerate(documents)}
                shortest = least_lengths(grams, self._defense.settings.k)
                self._corpus = _Corpus(generation, documents, rows, fragments, grams, shortest)
            return self._corpus


def least_lengths(grams: Vectors, k: int) -> NDArray[np.float64]:
    """A lower bound of the length of the sum of any k fragments, shape (documents,); 0 where they may cancel out.

    Args:
        grams: Gram matrices of the fragments, shape (documents, n, n).
        k: Fragments in a combination.
    """
    i, j = np.triu_indices(grams.shape[1], 1)
    alone = np.sort(np.diagonal(grams, axis1=1, axis2=2).astype(np.float64), axis=1)[:, :k].sum(axis=1)
    pairs = np.sort(grams[:, i, j].astype(np.float64), axis=1)[:, : k * (k - 1) // 2].sum(axis=1)
    squares = alone + 2 * pairs - 1e-9
    return np.where(squares > 1e-12, np.sqrt(np.maximum(squares, 0)), 0)
