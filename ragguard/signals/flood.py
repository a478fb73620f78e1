"""Flood: several candidates that say the same."""

from __future__ import annotations

import numpy as np

from ragguard.signals.base import Candidates, Scores, Signal

AGREEING = 3
"""Candidates that must resemble a document. With five lies a query the third-highest similarity to another candidate finds
66 % (nq), 100 % (hotpot) and 83 % (msmarco) of them at 1 % of benign candidates; with one lie nothing does (DESIGN section 5)."""


class Flood(Signal):
    """The third-highest similarity of a candidate to another one; -1 where there are fewer.

    Knows neither sources nor truth: what many honest documents say in the same words looks the same.
    """

    name = "flood"
    meaning = "says what three other candidates say, too"
    computed = "query"
    cost = "one inner product for each two candidates"

    def __call__(self, candidates: Candidates) -> Scores:
        """Cosine."""
        if len(candidates.profiles) <= AGREEING:
            return np.full(len(candidates.profiles), -1.0)
        centres = np.stack([profile.centre for profile in candidates.profiles])
        similar = centres @ centres.T
        np.fill_diagonal(similar, -2)
        return np.asarray(np.partition(similar, -AGREEING, axis=1)[:, -AGREEING], dtype=np.float64)
