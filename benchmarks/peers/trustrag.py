"""TrustRAG's clustering stage (Zhou et al., arXiv 2501.00879), re-implemented; its second stage asks a language model."""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from benchmarks.peers.base import VectorPeer, beyond
from ragguard.defenses.base import Judgement
from ragguard.protocols import Encoder
from ragguard.types import Hit, Vectors

COSINE, ROUGE = 0.88, 0.25
"""Thresholds of the authors' program: mean cosine within a cluster, ROUGE-L F1 between two texts; the first for SimCSE."""

REMEMBERED = 100_000
"""Texts and pairs of texts that are kept."""


class TrustRAG(VectorPeer):
    """Parts the top k in two clusters; drops a cluster of very similar members and, elsewhere, members that share wording.

    Nothing is dropped unless two of the candidates share their wording: n-gram preservation, meant for queries with one poisoned
    document. It judges the passages that a model would read, the top k, and does not replace what it drops.

    Not checked against the paper, whose text was not at hand: a public copy of the authors' program was read for the order of
    the steps and the constants. Where it differs: words are not stemmed for ROUGE; all members that share wording go, where the
    program's loop can miss some of a second group; and a candidate alone in its cluster is judged by its mean cosine to the
    others (the program drops it beside a loose cluster and compares it with one member of a tight one).
    """

    name = "TrustRAG (clustering stage only)"

    def __init__(self, encoder: Encoder, *, cosine: float = COSINE, rouge: float = ROUGE) -> None:
        """Configure.

        Args:
            encoder: Embeds the candidates; the authors' is SimCSE, for which `cosine` was set.
            cosine: Mean cosine above which a cluster is dropped.
            rouge: ROUGE-L F1 above which two texts share their wording.
        """
        super().__init__(encoder)
        self._cosine, self._rouge = cosine, rouge

    def judge(self, query: str, hits: Sequence[Hit], k: int) -> Sequence[Judgement]:  # noqa: ARG002
        """Judge the top k."""
        texts = [hit.document.text for hit in hits[:k]]
        shared = np.array([[rouge_l(*sorted((a, b))) for b in texts] for a in texts])
        np.fill_diagonal(shared, 0)
        labels, cohesion = np.zeros(len(texts), dtype=np.int32), np.zeros(len(texts))
        if shared.max() > self._rouge:
            vectors = self.vectors(texts)
            labels = _two_means(vectors)
            cohesion = _cohesion(vectors, labels)
        wording = np.where(labels[:, None] == labels, shared, 0).max(axis=1)
        judged = []
        for i, hit in enumerate(hits[:k]):
            reason = "Neither in a tight cluster nor alike in wording to another candidate of its cluster."
            if tight := bool(cohesion[i] > self._cosine):
                reason = f"In a cluster of mean cosine {cohesion[i]:.2f}."
            elif alike := bool(wording[i] > self._rouge):
                reason = f"Shares wording with another candidate of its cluster (ROUGE-L {wording[i]:.2f})."
            signals = {"cohesion": float(cohesion[i]), "rouge": float(wording[i])}
            suspicion = float(max(cohesion[i] / self._cosine, wording[i] / self._rouge))
            judged.append(Judgement(i, hit.score, reason, tight or alike, signals, suspicion=suspicion))
        return [*judged, *beyond(hits, k)]


def _two_means(vectors: Vectors) -> NDArray[np.int32]:
    """Cluster of each vector, 0 or 1, in standardised coordinates, as the authors' program does it."""
    from sklearn.cluster import KMeans

    spread = vectors.std(axis=0)
    scaled = (vectors - vectors.mean(axis=0)) / np.where(spread > 0, spread, 1)
    norms = np.linalg.norm(scaled, axis=1, keepdims=True)
    scaled /= np.where(norms > 0, norms, 1)
    return np.asarray(KMeans(n_clusters=2, n_init=10, max_iter=500, random_state=0).fit(scaled).labels_, dtype=np.int32)


def _cohesion(vectors: Vectors, labels: NDArray[np.int32]) -> NDArray[np.float64]:
    """Mean cosine between the members of each vector's cluster; of one that is alone, to all others."""
    cosines = vectors @ vectors.T
    apart = ~np.eye(len(vectors), dtype=bool)
    means = np.zeros(len(vectors))
    for i, label in enumerate(labels):
        members = labels == label
        pairs = apart & (members[:, None] & members if members.sum() > 1 else np.arange(len(vectors))[:, None] == i)
        means[i] = cosines[pairs].mean()
    return means


@lru_cache(maxsize=REMEMBERED)
def rouge_l(first: str, second: str) -> float:
    """ROUGE-L F1 of two texts: their longest common subsequence of words, 0 to 1 (Lin 2004)."""
    rows, columns = _words(first), _words(second)
    if not rows.size or not columns.size:
        return 0.0
    longest = np.zeros(len(columns) + 1, dtype=np.int32)
    for word in rows:
        longest[1:] = np.maximum.accumulate(np.maximum(longest[1:], longest[:-1] + (columns == word)))
    return 2 * int(longest[-1]) / (len(rows) + len(columns))


@lru_cache(maxsize=REMEMBERED)
def _words(text: str) -> NDArray[np.str_]:
    return np.array(re.findall(r"\w+", text.lower()), dtype=np.str_)
