"""Outlier: a document that is near to queries that have nothing to do with each other."""

from __future__ import annotations

import numpy as np

from ragguard.signals.base import Candidates, Scores, Signal
from ragguard.types import Vectors

SHARE = 0.9
"""Quantile of the similarities to the reference queries: nearer to one in ten of them than honest documents are."""


class Outlier(Signal):
    """How near a document is to the nearest tenth of unrelated queries: universal documents (corpus poisoning) and hubs are."""

    name = "outlier"
    meaning = "is near to many queries that have nothing to do with each other"
    advice = "Write about one subject on one page."
    computed = "query"
    cost = "one inner product for each reference query"

    def __init__(self, queries: Vectors) -> None:
        """Configure.

        Args:
            queries: Embeddings of reference queries, shape (queries, d).
        """
        self._queries = queries

    def __call__(self, candidates: Candidates) -> Scores:
        """Cosine."""
        centres = np.stack([profile.centre for profile in candidates.profiles])
        near = centres @ self._queries.T
        rank = int(SHARE * (near.shape[1] - 1))
        return np.asarray(np.partition(near, rank, axis=1)[:, rank], dtype=np.float64)
