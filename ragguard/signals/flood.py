"""Flood: several candidates that say the same."""

from __future__ import annotations

import numpy as np

from ragguard.signals.base import Candidates, Scores, Signal

AGREEING = 3
"""Candidates that must resemble a document. With five lies a query the third-highest similarity to another candidate finds
66 % (nq), 100 % (hotpot) and 83 % (msmarco) of them at 1 % of benign candidates; with one lie nothing does (DESIGN section 5)."""


MEMBER = 0.07
"""Documents that agree less than the most agreeing one by more than this are no part of the flood: honest answers resemble lies
about the same thing, and lies resemble each other more. On nq_dev with five lies it takes SR@5 from .84 to .87."""


LEAST = 0.01
"""Missing to 1 that is counted at least: identical texts differ by rounding."""


class Flood(Signal):
    """From the third-highest similarity of a candidate to another one; 0 where there are fewer, and for those not of the flood.

    Minus the logarithm of what is missing to 1, so that the difference between .8 and .9 is that between .9 and .95. Knows
    neither sources nor truth: what many honest documents say in the same words looks the same.
    """

    name = "flood"
    meaning = "says what three other candidates say, too"
    computed = "query"
    cost = "one inner product for each two candidates"

    def __call__(self, candidates: Candidates) -> Scores:
        """From cosines."""
        if len(candidates.profiles) <= AGREEING:
            return np.zeros(len(candidates.profiles))
        centres = np.stack([profile.centre for profile in candidates.profiles])
        similar = centres @ centres.T
        np.fill_diagonal(similar, -2)
        agreement = np.partition(similar, -AGREEING, axis=1)[:, -AGREEING].astype(np.float64)
        found: Scores = np.where(agreement >= agreement.max() - MEMBER, -np.log(LEAST + 1 - np.clip(agreement, 0, 1)), 0.0)
        return found
